"""Guarantees of the training assets: a point-in-time frame, versions that account for themselves, nothing half-done."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.training import PARITY_CHECK, QUALITY_CHECK, build_training_assets
from shadow_platform.cli.importing import land_file
from shadow_platform.contracts.errors import NotEnoughData
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import MODEL_EXPERIMENTS, MODEL_METRICS, MODEL_VERSIONS, PREDICTIONS
from shadow_platform.contracts.use_case import ModelSpec, QualityPolicy, Range, UseCase
from shadow_platform.domain.training import frame_fingerprint
from shadow_platform.resources import PlatformResource
from shadow_platform.use_case_kit.models import logistic_regression
from shadow_platform_tests.cli.importing import corrections
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

N_DAYS = 30
START = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
FRAME, CHAMPION, CHALLENGER = ("tiny/training_frame", "tiny/champion_model", "tiny/challenger_model")


class _History(FeastStore):
    """Latest row of the tiny use case's one view, by the lake's own events, which need no feature assets."""

    def historical(self, requests: pd.DataFrame) -> pd.DataFrame:
        window = {"start": START, "end": requests["requested_at"].max().to_pydatetime()}
        (view,) = self.use_case.views
        rows = Lake(self.layout).events_sql(view.sql, self.use_case, self.use_case.events, window)
        left = requests.reset_index(names="place").sort_values("requested_at")
        found = pd.merge_asof(
            left,
            rows.sort_values("event_at"),
            left_on="requested_at",
            right_on="event_at",
            by="visitor_id",
            tolerance=view.ttl,
        )
        return found.sort_values("place").reset_index(drop=True)


class _Platform(PlatformResource):
    """The platform with a quick feature store."""

    def feature_store(self, use_case: UseCase) -> Any:
        return _History(self.layout, self.settings.feast_repo_path, use_case)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with thirty days of events and a first training of both roles."""
    folder = tmp_path_factory.mktemp("training") / "home"
    lake, source = Lake(Layout(folder)), USE_CASE.source()
    for offset in range(N_DAYS):
        day = FIRST_DAY + timedelta(days=offset)
        for name, rows in source.received_on(day).items():
            kind = next(kind for kind in USE_CASE.events if kind.name == name)
            columns = list(kind.schema.columns)
            lake.write_events(USE_CASE, kind, day, kind.schema.validate(pd.DataFrame(list(rows))[columns]))
    return folder


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def _materialize(home, instance, *names, use_case=USE_CASE, config=None, raise_on_error=True):
    keys = [dg.AssetKey(name.split("/")) for name in names]
    ops = {name.replace("/", "__"): {"config": value} for name, value in (config or {}).items()}
    return dg.materialize(
        build_training_assets(use_case),
        selection=dg.AssetSelection.assets(*keys),
        instance=instance,
        resources={"platform": _Platform(shadow_home=str(home))},
        run_config={"ops": ops},
        raise_on_error=raise_on_error,
    )


def _metadata(result, name) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(name.replace("/", "__"))
    return {key: value.value for key, value in event.metadata.items()}


@pytest.fixture(scope="module")
def first(home, instance):
    """Result of the first training."""
    return _materialize(home, instance, FRAME, CHAMPION, CHALLENGER)


def _platform(home: Path) -> PlatformResource:
    return PlatformResource(shadow_home=str(home))


def test_frame_holds_every_matured_request_once_with_what_was_known(home, first):
    made = _metadata(first, FRAME)
    frame = _platform(home).lake().read_frame("tiny", made["fingerprint"])
    as_of = START + timedelta(days=N_DAYS)
    assert made["as_of"] == as_of.isoformat()
    assert frame_fingerprint(frame) == made["fingerprint"]
    assert made["dagster/row_count"] == len(frame) == 200 * (21 - 1)
    assert not frame.duplicated(["subject_id", "requested_at"]).any()
    assert frame["known_at"].max() <= as_of
    assert frame["requested_at"].min() >= as_of - USE_CASE.training.window
    assert frame["requested_at"].max() < as_of - USE_CASE.label.horizon
    assert made["base_rate"] == pytest.approx(frame["label"].mean())
    assert made["requests_without_label"] == 0
    assert frame["visits_7d"].notna().mean() > 0.9


def test_earlier_as_of_sees_no_event_received_later(home, instance, first, tmp_path):
    as_of = START + timedelta(days=25)
    made = _metadata(_materialize(home, instance, FRAME, config={FRAME: {"as_of": as_of.isoformat()}}), FRAME)
    (tmp_path / "lake" / "events").mkdir(parents=True)
    past = Lake(Layout(tmp_path))
    present = _platform(home).lake()
    for kind in USE_CASE.events:
        for day in present.event_days(USE_CASE, kind):
            if day < as_of.date():
                target = past.layout.events("tiny", kind.name, day)
                target.parent.mkdir(parents=True)
                target.write_bytes(present.layout.events("tiny", kind.name, day).read_bytes())
    alone = _metadata(_materialize(tmp_path, instance, FRAME), FRAME)
    assert alone["fingerprint"] == made["fingerprint"]
    _materialize(home, instance, FRAME)


def test_frame_takes_imported_labels_and_leaves_out_those_that_a_decision_hid(home, instance, first, tmp_path):
    base = _platform(home).lake().read_frame("tiny", _metadata(first, FRAME)["fingerprint"])
    shutil.copytree(home / "lake", tmp_path / "home" / "lake")
    lake, corrected, hidden = Lake(Layout(tmp_path / "home")), base.head(5), base.iloc[5:8]
    known_at = START + timedelta(days=N_DAYS - 2)
    corrections(corrected, known_at).to_csv(tmp_path / "labels.csv", index=False)
    land_file(_platform(lake.layout.home), USE_CASE, tmp_path / "labels.csv", None, known_at + timedelta(days=9))
    answers = hidden[["subject_id", "requested_at"]].assign(use_case="tiny", request_id=hidden["subject_id"])
    for day, rows in answers.assign(prediction=True).groupby(answers["requested_at"].dt.date):
        lake.write_table(PREDICTIONS, "tiny", day, rows.reindex(columns=list(PREDICTIONS.column_names)))
    use_case = replace(USE_CASE, label=replace(USE_CASE.label, hidden_by="platform"))

    with dg.DagsterInstance.ephemeral() as own:
        made = _metadata(_materialize(lake.layout.home, own, FRAME, use_case=use_case), FRAME)

    frame = lake.read_frame("tiny", made["fingerprint"]).set_index("subject_id")
    assert (made["imported_labels"], made["censored_labels"]) == (5, 3)
    labelled = frame.index[frame["label"].notna()]
    assert set(labelled) == set(base["subject_id"]) - set(hidden["subject_id"])
    assert set(hidden["subject_id"]) <= set(frame.index), "they are asked again, so the drift reference needs them"
    assert frame.loc[corrected["subject_id"], "label"].tolist() == (~corrected["label"]).tolist()
    assert set(frame.loc[corrected["subject_id"], "known_at"]) == {known_at}


def test_roles_train_their_own_family_and_are_registered(home, first):
    registry = _platform(home).registry()
    champion, challenger = (_metadata(first, name) for name in (CHAMPION, CHALLENGER))
    assert (champion["model"], challenger["model"]) == ("line", "trees")
    for made in (champion, challenger):
        version = registry.get("tiny", made["version"])
        assert (version.bundle_hash, version.run_id) == (made["bundle_hash"], made["mlflow_run_id"])
        assert version.aliases == ()
        assert version.tags["trigger"] == "bootstrap"
        assert made["plots"].count("data:image/png;base64,") == 7
    assert challenger["roc_auc"] > champion["roc_auc"] > 0.6


def test_bundle_answers_and_brings_its_reference(home, first):
    platform = _platform(home)
    made = _metadata(first, CHALLENGER)
    bundle = Bundle.load(platform.registry().fetch_bundle("tiny", made["version"], platform.layout.bundles))
    bundle.selftest()
    frame = platform.lake().read_frame("tiny", bundle.manifest.fingerprints["data"])
    reference = bundle.reference()
    assert list(reference.columns) == [*USE_CASE.feature_names, "score", "requested_at"]
    assert reference["score"].notna().all()
    assert 0.7 * len(frame) < len(reference) < len(frame)
    judged = reference[reference["requested_at"] >= bundle.manifest.evaluation_start]
    np.testing.assert_allclose(bundle.predict(bundle.encode_frame(judged)[0]), judged["score"], atol=1e-5)
    assert len(judged) == bundle.manifest.n_evaluation
    assert set(bundle.manifest.fingerprints) == {"data", "features", "code", "configuration", "environment"}


def test_parity_and_quality_checks_pass_and_block(first):
    evaluations = first.get_asset_check_evaluations()
    assert {(e.asset_key.to_user_string(), e.check_name, e.passed) for e in evaluations} == {
        (name, check, True) for name in (CHAMPION, CHALLENGER) for check in (PARITY_CHECK, QUALITY_CHECK)
    }
    specs = [spec for asset in build_training_assets(USE_CASE) for spec in asset.check_specs]
    assert all(spec.blocking for spec in specs)


def test_tables_account_for_every_training(home, first):
    lake = _platform(home).lake()
    versions = lake.read_table(MODEL_VERSIONS, USE_CASE).set_index("version")
    experiments = lake.read_table(MODEL_EXPERIMENTS, USE_CASE)
    for name in (CHAMPION, CHALLENGER):
        made = _metadata(first, name)
        row = versions.loc[made["version"]]
        assert row["bundle_hash"] == made["bundle_hash"]
        assert json.loads(row["metrics"])["roc_auc"] == made["roc_auc"]
        assert json.loads(row["fingerprints"])["data"] == made["frame"]
        (experiment,) = experiments[experiments["run_id"] == made["mlflow_run_id"]].to_dict("records")
        assert (experiment["is_registered"], experiment["version"]) == (True, made["version"])


def test_mlflow_run_holds_parameters_metrics_plots_and_outcome(home, first):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=_platform(home).settings.mlflow_uri)
    made = _metadata(first, CHALLENGER)
    run = client.get_run(made["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "trees"
    assert run.data.params["estimator.n_estimators"] == "40"
    assert run.data.metrics["roc_auc"] == made["roc_auc"]
    assert run.data.tags["dagster_run_id"] == first.run_id
    plots = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "plots")}
    assert {f"plots/{name}.png" for name in ("gain", "precision_recall", "reliability", "roc", "scores")} <= plots


def test_same_training_gives_the_version_it_has_and_a_later_frame_a_new_one(home, instance, first):
    again = _metadata(_materialize(home, instance, FRAME, CHAMPION), CHAMPION)
    assert again["version"] == _metadata(first, CHAMPION)["version"]
    as_of = (START + timedelta(days=27)).isoformat()
    config = {FRAME: {"as_of": as_of}, CHALLENGER: {"trigger": "drift", "model": "line", "seed": 5}}
    later = _metadata(_materialize(home, instance, FRAME, CHALLENGER, config=config), CHALLENGER)
    version = _platform(home).registry().get("tiny", later["version"])
    assert (version.model_name, version.tags["trigger"]) == ("line", "drift")
    assert version.tags["trained_as_of"] == as_of
    assert int(version.version) > int(again["version"])


def test_a_version_is_kept_though_feast_cannot_name_its_features_until_it_is_made_again(home, instance, first):
    store, away, config = _platform(home).feature_store(USE_CASE), home / "away", {CHAMPION: {"seed": 9}}
    store.layout.feast.rename(away)
    store.layout.feast.write_text("where a folder should be")
    version = _metadata(_materialize(home, instance, CHAMPION, config=config), CHAMPION)["version"]
    assert _platform(home).registry().get("tiny", version).model_name == "line"
    store.layout.feast.unlink()
    away.rename(store.layout.feast)
    assert f"tiny_v{version}" not in _services(store)
    assert _metadata(_materialize(home, instance, CHAMPION, config=config), CHAMPION)["version"] == version
    assert {f"tiny_v{version}", f"tiny_v{_metadata(first, CHALLENGER)['version']}"} <= _services(store)


def _services(store: FeastStore) -> set[str]:
    import feast

    return {service.name for service in feast.FeatureStore(config=store.config).list_feature_services()}


def _wrong(features, n_levels, seed, /, **parameters):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=10, categorical_features=[1], random_state=seed)


def test_model_that_fails_parity_is_recorded_but_never_registered(home, instance, first):
    import mlflow

    platform = _platform(home)
    before = platform.registry().versions("tiny")
    use_case = replace(USE_CASE, models=(ModelSpec("wrong", _wrong),))
    result = _materialize(home, instance, CHAMPION, use_case=use_case, raise_on_error=False)
    assert not result.success
    passed = {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    assert passed == {PARITY_CHECK: False, QUALITY_CHECK: True}
    assert platform.registry().versions("tiny") == before
    experiments = platform.lake().read_table(MODEL_EXPERIMENTS, USE_CASE)
    (row,) = experiments[experiments["model_name"] == "wrong"].to_dict("records")
    assert row["is_registered"] is False
    assert "parity" in row["archived_reason"]
    assert pd.isna(row["version"])
    client = mlflow.MlflowClient(tracking_uri=platform.settings.mlflow_uri)
    assert client.get_run(row["run_id"]).info.status == "FAILED"


def test_model_below_a_limit_of_its_use_case_is_archived_with_the_reason(home, instance, first):
    platform = _platform(home)
    before = platform.registry().versions("tiny")
    use_case = replace(USE_CASE, quality=QualityPolicy(min_roc_auc=0.99))
    config = {CHAMPION: {"seed": 11}}

    result = _materialize(home, instance, CHAMPION, use_case=use_case, config=config, raise_on_error=False)

    passed = {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    assert passed == {PARITY_CHECK: True, QUALITY_CHECK: False}
    assert not result.success
    assert platform.registry().versions("tiny") == before
    experiments = platform.lake().read_table(MODEL_EXPERIMENTS, USE_CASE)
    (archived,) = experiments[experiments["archived_reason"].fillna("").str.contains("0.99")].to_dict("records")
    assert archived["is_registered"] is False
    metrics = platform.lake().read_table(MODEL_METRICS, USE_CASE)
    assert archived["run_id"] in set(metrics["run_id"])


def test_model_metrics_are_those_of_the_asset_and_have_no_interval_over_few_days(home, first):
    made = _metadata(first, CHALLENGER)
    metrics = _platform(home).lake().read_table(MODEL_METRICS, USE_CASE)
    mine = metrics[metrics["run_id"] == made["mlflow_run_id"]]

    overall = mine[mine["segment_feature"] == ""].set_index("metric")
    assert {"roc_auc", "log_loss", "brier", "average_precision"} <= set(overall.index)
    assert {name: made[name] for name in ("roc_auc", "log_loss")} == overall["value"][["roc_auc", "log_loss"]].to_dict()
    assert overall["low"].isna().all()


def test_bundle_holds_a_card_that_tells_what_the_manifest_does(home, first):
    platform = _platform(home)
    made = _metadata(first, CHALLENGER)
    folder = platform.registry().fetch_bundle("tiny", made["version"], platform.layout.bundles)
    bundle = Bundle.load(folder)
    card = bundle.card()

    assert card is not None
    assert card.fingerprints == bundle.manifest.fingerprints
    assert {part.name: part.n for part in card.parts}["evaluation"] == bundle.manifest.n_evaluation
    assert [feature.name for feature in card.features] == list(USE_CASE.feature_names)
    assert {item.feature for item in card.importances} == set(USE_CASE.feature_names)
    assert USE_CASE.title in (folder / "card.html").read_text(encoding="utf-8")


def test_search_is_kept_in_the_run_and_its_parameters_in_the_version(home, instance, first):
    import mlflow

    searched = ModelSpec(
        "searched", logistic_regression(penalty_c=0.5), search={"penalty_c": Range(1e-3, 10.0, is_log=True)}
    )
    use_case = replace(USE_CASE, models=(searched,))
    config = {CHAMPION: {"search_trials": 3}}

    made = _metadata(_materialize(home, instance, CHAMPION, use_case=use_case, config=config), CHAMPION)

    platform = _platform(home)
    client = mlflow.MlflowClient(tracking_uri=platform.settings.mlflow_uri)
    metrics = client.get_run(made["mlflow_run_id"]).data.metrics
    assert metrics["search_log_loss"] <= metrics["search_default_log_loss"]
    bundle = Bundle.load(platform.registry().fetch_bundle("tiny", made["version"], platform.layout.bundles))
    assert 1e-3 <= float(bundle.manifest.parameters["penalty_c"]) <= 10.0
    assert "search.csv" in {artifact.path for artifact in client.list_artifacts(made["mlflow_run_id"])}


def test_search_leaves_the_number_of_steps_to_early_stop(home, instance, first):
    policy = replace(USE_CASE.training, early_stop_share=0.3)
    eager = replace(
        USE_CASE.model("trees"),
        name="eager",
        parameters={"n_estimators": 40, "max_depth": 3, "learning_rate": 0.8},
        search={"max_depth": Range(1, 4, is_integer=True), "n_estimators": Range(10, 80, is_integer=True)},
    )
    use_case = replace(USE_CASE, models=(eager,), training=policy)
    platform = _platform(home)

    made = _metadata(_materialize(home, instance, CHAMPION, use_case=use_case), CHAMPION)
    config = {CHAMPION: {"search_trials": 1}}  # the defaults win, as there is nothing else
    searched = _metadata(_materialize(home, instance, CHAMPION, use_case=use_case, config=config), CHAMPION)

    bundles = [
        Bundle.load(platform.registry().fetch_bundle("tiny", version, platform.layout.bundles))
        for version in (made["version"], searched["version"])
    ]
    assert bundles[0].manifest.parameters == bundles[1].manifest.parameters
    assert int(bundles[0].manifest.parameters["n_estimators"]) < 40


def test_failing_training_leaves_a_failed_run_and_no_version(home, instance, first):
    import mlflow

    platform = _platform(home)
    before = platform.registry().versions("tiny")
    use_case = replace(USE_CASE, training=replace(USE_CASE.training, min_rows=10**6))
    with pytest.raises(NotEnoughData, match=r"fit part .* expected at least 1000000"):
        _materialize(home, instance, CHAMPION, use_case=use_case)
    assert platform.registry().versions("tiny") == before
    client = mlflow.MlflowClient(tracking_uri=platform.settings.mlflow_uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (latest, *_) = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert latest.info.status == "FAILED"


def test_nothing_to_train_on_says_what_to_do(tmp_path):
    with dg.DagsterInstance.ephemeral() as empty:
        with pytest.raises(NotEnoughData, match="use case tiny has no events; materialize tiny/events first"):
            _materialize(tmp_path, empty, FRAME)
        with pytest.raises(NotEnoughData, match="tiny/training_frame was never materialized"):
            _materialize(tmp_path, empty, CHAMPION)
