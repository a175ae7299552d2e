"""Guarantees of the loop on the simulated products, where the truth is known: one small world of each, played through.

Everything is real but the world. What the platform concludes is held against the simulator's own truth, which the
platform never sees.
"""

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.end_to_end.played import Played
from shadow_platform_tests.end_to_end.test_loop import shadow

pytestmark = pytest.mark.timeout(3600)
SIMULATED = tuple(name for name in use_case_names() if load_use_case(name).simulation)


@pytest.fixture(scope="module", params=SIMULATED)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One product after its demo."""
    home = tmp_path_factory.mktemp(request.param) / "data"
    done = shadow(home, "demo", "--use-case", request.param)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Played(request.param, home)


def test_every_request_of_the_world_is_answered_and_compared_once(played: Played) -> None:
    answered = played.sql(
        "SELECT count(*) AS n, count(DISTINCT (subject_id, requested_at)) AS n_distinct FROM predictions"
    )
    assert (answered["n"][0], answered["n_distinct"][0]) == (len(played.truth), len(played.truth))
    assert played.answers()["true_probability"].notna().all()
    lost = played.sql("SELECT count(*) AS n FROM predictions ANTI JOIN shadow_comparisons USING (request_id)")
    assert lost["n"][0] == 0


def test_drift_is_found_after_it_was_injected_and_starts_one_retraining(played: Played) -> None:
    injected = pd.Timestamp(min(drift.start for drift in played.simulator.plan.drifts or ()), tz="UTC")
    verdicts = played.sql("SELECT window_end, outcome FROM drift_verdicts ORDER BY window_end")
    ends = pd.to_datetime(verdicts["window_end"], utc=True)
    assert "fail" not in set(verdicts["outcome"][ends <= injected])
    assert "fail" in set(verdicts["outcome"][ends > injected])
    with dg.DagsterInstance.from_config(str(played.home / "dagster")) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name=f"{played.use_case.name}_retrain"))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]


def test_no_model_beats_the_ceiling_and_each_is_better_than_chance(played: Played) -> None:
    for version, rows in played.answers().groupby("model_version"):
        ceiling = roc_auc_score(rows["label"], rows["true_probability"])
        reached = roc_auc_score(rows["label"], rows["probability"])
        assert 0.55 < reached < ceiling + 0.01, version


def test_whoever_is_promoted_is_truly_better_than_whom_it_replaced(played: Played) -> None:
    decisions = played.sql("SELECT champion_version, challenger_version, decision, criteria FROM gate_decisions")
    assert set(decisions["decision"]) <= {"promote", "wait", "reject"}
    assert all('"limit"' in criteria and '"n"' in criteria for criteria in decisions["criteria"])
    losses = {
        str(version): log_loss(rows["label"], np.clip(rows["probability"], 0.01, 0.99))
        for version, rows in played.answers().groupby("model_version")
    }
    for row in decisions[decisions["decision"] == "promote"].itertuples(index=False):
        assert losses[str(row.challenger_version)] < losses[str(row.champion_version)]
    manifest = PlatformResource(shadow_home=str(played.home)).manifest(played.use_case)
    assert manifest is not None
    has_begun = manifest.canary if played.use_case.rollout.canary_steps else manifest.previous
    assert (has_begun is not None) == ("promote" in set(decisions["decision"]))


def test_a_label_agrees_with_the_truth_and_is_never_known_early(played: Played) -> None:
    labels = played.sql("SELECT subject_id, requested_at, label, event_at, known_at FROM labels")
    assert len(labels) > 0
    assert (labels["known_at"] >= labels["event_at"]).all()
    assert (labels["known_at"] > labels["requested_at"]).all()
    assert (labels["known_at"] <= labels["requested_at"] + played.use_case.label.horizon).all()
    joined = labels.assign(requested_at=pd.to_datetime(labels["requested_at"], utc=True).dt.floor("ms")).merge(
        played.truth.assign(requested_at=played.truth["requested_at"].dt.floor("ms")),
        on=["subject_id", "requested_at"],
        suffixes=("", "_true"),
    )
    assert len(joined) > 0
    assert (joined["label"] == joined["label_true"]).mean() > 0.999


def test_a_decision_that_hides_its_label_leaves_none(played: Played) -> None:
    hidden = played.sql(
        """SELECT count(*) FILTER (l.label IS NOT NULL) AS n_labelled, count(*) AS n
           FROM predictions p LEFT JOIN labels l USING (subject_id, requested_at)
           WHERE p.prediction AND NOT p.is_explored"""
    )
    if played.use_case.label.hidden_by == "platform":
        assert hidden["n_labelled"][0] == 0
        assert hidden["n"][0] > 0
    estimators = set(played.sql("SELECT DISTINCT estimator FROM performance_daily WHERE n_labelled > 0")["estimator"])
    if not played.use_case.label.hidden_by:
        assert estimators == {"all_labels"}
    elif played.use_case.exploration:
        assert "inverse_propensity" in estimators
    else:
        assert "not_identifiable" in estimators


def test_the_injected_drift_is_on_record_and_no_other_table_was_made_from_it(played: Played) -> None:
    rows = played.sql("SELECT DISTINCT injection, kind, shape, size FROM simulated_drift ORDER BY injection")
    plan = [(n, d.kind, d.shape, d.size) for n, d in enumerate(played.simulator.plan.drifts or (), start=1)]
    assert list(rows.itertuples(index=False, name=None)) == plan
