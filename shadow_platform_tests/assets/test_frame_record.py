"""A frame says of which partitions it was made, each with the code and run that made it, and never of others."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.training import frame as frame_module
from shadow_platform.assets.training.sources import latest_materializations, snapshots, sources_of_frame
from shadow_platform.contracts.lineage import FrameRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource
from shadow_platform_tests import home_of_tiny
from shadow_platform_tests.home_of_tiny import EVENTS, RANGE, TinyHome
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

EVENTS_KEY, VIEW_KEY = dg.AssetKey(["tiny", "events"]), dg.AssetKey(["tiny", "visitor_history"])
AS_OF = datetime(2024, 1, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyHome]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield TinyHome(tmp_path_factory.mktemp("record") / "home", instance).make_data()


def _made(home: TinyHome, as_of: datetime = AS_OF) -> FrameRecord:
    metadata = home.materialize("training_frame", training_frame={"as_of": as_of.isoformat()})
    found = home.platform.lake().frame_record("tiny", metadata["fingerprint"], metadata["partitions_fingerprint"])
    assert found is not None
    return found


@pytest.fixture(scope="module")
def record(home: TinyHome) -> FrameRecord:
    return _made(home)


def test_every_partition_that_could_be_read_is_there_with_its_code_version_and_run(
    home: TinyHome, record: FrameRecord
) -> None:
    days = {asset: [p.partition for p in record.partitions if p.asset == asset] for asset in _assets(record)}
    first = FIRST_DAY.isoformat()
    windows = training.windows(USE_CASE.training, USE_CASE.label.horizon, AS_OF)
    oldest = (windows.fit.start - USE_CASE.views[0].ttl).date().isoformat()
    # The days before AS_OF and before the evaluation's end, which are midnights: nothing of the next day is read.
    assert set(days) == {"tiny/events", "tiny/visitor_history", "tiny/feature_definitions"}
    assert (days["tiny/events"][0], days["tiny/events"][-1]) == (first, "2024-01-23")
    assert (days["tiny/visitor_history"][0], days["tiny/visitor_history"][-1]) == (max(first, oldest), "2024-01-22")
    assert days["tiny/feature_definitions"] == [""]

    runs = {run.run_id for run in home.instance.get_runs()}
    versions = {asset: {p.code_version for p in record.partitions if p.asset == asset} for asset in days}
    assert versions["tiny/events"] == versions["tiny/feature_definitions"] == {"1"}
    assert [str(version)[:2] for version in versions["tiny/visitor_history"]] == ["1-"]
    assert all(p.data_version and p.run_id in runs and p.materialized_at for p in record.partitions)


def _assets(record: FrameRecord) -> set[str]:
    return {partition.asset for partition in record.partitions}


def test_the_record_agrees_with_the_frame(home: TinyHome, record: FrameRecord) -> None:
    frame = home.platform.lake().read_frame("tiny", record.fingerprint)

    assert record.n_rows == len(frame) <= record.n_requests
    assert record.as_of == AS_OF
    assert record.queries == training.queries_fingerprint(USE_CASE)
    assert record.partitions_fingerprint == training.partitions_fingerprint(record.partitions)
    assert training.frame_fingerprint(frame) == record.fingerprint


def test_the_asset_shows_days_and_code_versions_and_whose_column_a_feature_is(home: TinyHome) -> None:
    metadata = home.materialize("training_frame", training_frame={"as_of": AS_OF.isoformat()})

    assert "| tiny/events | 23: 2024-01-01 to 2024-01-23 | 1 |  |" in metadata["partitions"]
    lineage = metadata["dagster/column_lineage"].deps_by_column
    assert set(lineage) == {"visits_7d", "purchases_7d"}
    assert lineage["visits_7d"] == [dg.TableColumnDep(VIEW_KEY, "visits_7d")]


def test_making_events_again_with_other_code_makes_another_record_and_keeps_the_first(
    home: TinyHome, record: FrameRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer(use_case: UseCase) -> list[dg.AssetsDefinition]:
        return [
            asset.map_asset_specs(lambda spec: spec.replace_attributes(code_version="2"))
            for asset in build_event_assets(use_case)
        ]

    monkeypatch.setattr(home_of_tiny, "build_event_assets", newer)
    home.materialize("events", "quarantined_events", tags=RANGE)
    again = _made(home)

    assert again.fingerprint == record.fingerprint, "the same events make the same frame"
    assert {p.code_version for p in again.partitions if p.asset == "tiny/events"} == {"2"}
    lake = home.platform.lake()
    assert lake.frame_record("tiny", record.fingerprint) == record
    assert lake.frame_record("tiny", record.fingerprint, record.partitions_fingerprint) == record


def test_what_dagster_knows_nothing_of_is_listed_without_a_version(home: TinyHome) -> None:
    with dg.DagsterInstance.ephemeral() as other:
        sources = sources_of_frame(home.platform, USE_CASE, AS_OF)
        told = snapshots(other, sources, latest_materializations(other, sources))

    assert len(told) > len(FrameRecord.model_fields)
    assert {(p.code_version, p.data_version, p.run_id, p.materialized_at) for p in told} == {(None,) * 4}


def test_a_frame_without_views_names_its_events_alone(home: TinyHome) -> None:
    plain = tuple(feature for feature in USE_CASE.features if feature.view is None)
    sources = sources_of_frame(home.platform, replace(USE_CASE, views=(), features=plain), AS_OF)

    assert set(sources) == {EVENTS_KEY}


def test_a_day_made_again_while_it_is_read_is_never_told_as_read(
    home: TinyHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try sees a day replaced under its hands; the second is undisturbed, and tells the new day."""
    read = frame_module._point_in_time_frame
    tries: list[None] = []

    def disturbed(*arguments: object) -> object:
        tries.append(None)
        if len(tries) == 1:
            day = dict.fromkeys(RANGE, "2024-01-05")
            home.materialize(*EVENTS[1:], tags=day)
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(frame_module, "_point_in_time_frame", disturbed)
    monkeypatch.setattr(frame_module, "RETRY_AFTER_S", 0)
    made = _made(home)

    (day,) = (p for p in made.partitions if (p.asset, p.partition) == ("tiny/events", "2024-01-05"))
    latest = home.instance.fetch_materializations(
        dg.AssetRecordsFilter(EVENTS_KEY, asset_partitions=["2024-01-05"]), limit=1
    ).records[0]
    assert len(tries) == 2
    assert day.run_id == latest.run_id


def test_the_day_that_a_midnight_opens_changes_nothing(home: TinyHome) -> None:
    sources = sources_of_frame(home.platform, USE_CASE, AS_OF)

    assert sources_of_frame(home.platform, USE_CASE, AS_OF - timedelta(microseconds=1)) == sources
    later = sources_of_frame(home.platform, USE_CASE, AS_OF + timedelta(microseconds=1))
    for key in (EVENTS_KEY, VIEW_KEY):
        assert len(later[key]) == len(sources[key]) + 1
    assert sources_of_frame(home.platform, USE_CASE, AS_OF.astimezone(timezone(timedelta(hours=-9)))) == sources


def frame_and_reader() -> dg.JobDefinition:
    """The training frame and a step below it that says which frame it took, and fails when told to."""

    @dg.asset(key=["tiny", "reader"], deps=[["tiny", "training_frame"]])
    def reader(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        if context.run.tags.get("test/fails"):
            raise RuntimeError("as a training whose machine went down")
        return dg.MaterializeResult(
            metadata={"fingerprint": frame_module.frame_in_force(context, USE_CASE).fingerprint}
        )

    definitions = dg.Definitions(
        assets=[frame_module.build_training_frame(USE_CASE), reader],
        jobs=[dg.define_asset_job("training", executor_def=dg.in_process_executor)],
        resources={"platform": PlatformResource()},
    )
    return definitions.resolve_job_def("training")


def test_a_training_that_is_executed_again_takes_its_own_frame_whatever_was_made_since(
    home: TinyHome, record: FrameRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Dagster's run retries do: from the failed step on, under another run id.

    The third run is the second's successor, which made no frame either.
    """
    monkeypatch.setenv("SHADOW_HOME", str(home.home))
    job, instance = dg.reconstructable(frame_and_reader), home.instance
    config = {"ops": {"tiny__training_frame": {"config": {"as_of": AS_OF.isoformat()}}}}
    run_ids: list[str] = []
    for tries in range(3):
        again = dg.ReexecutionOptions.from_failure(run_ids[-1], instance) if run_ids else None
        tags = {"test/fails": "yes"} if tries < 2 else {}
        with dg.execute_job(
            job, instance, config, tags=tags, raise_on_error=False, reexecution_options=again
        ) as result:
            run_ids.append(result.run_id)
            assert result.success is (tries == 2)
        _made(home, AS_OF - timedelta(days=1 + tries))

    (taken,) = result.get_asset_materialization_events()
    assert taken.materialization.metadata["fingerprint"].value == record.fingerprint
    assert len(set(run_ids)) == 3


def test_many_days_of_many_assets_are_told_by_few_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(510)]
    keys = [dg.AssetKey(["wide", name]) for name in "ab"]
    with dg.DagsterInstance.ephemeral() as instance:
        for key in keys:
            for day in days:
                instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))
        queries: list[str] = []
        for name in ("fetch_materializations", "get_latest_storage_id_by_partition"):
            real = getattr(instance, name)

            def counted(*arguments: object, _real: object = real, _name: str = name, **named: object) -> object:
                queries.append(_name)
                return _real(*arguments, **named)  # type: ignore[operator]

            monkeypatch.setattr(instance, name, counted)
        sources = dict.fromkeys(keys, days)
        told = snapshots(instance, sources, latest_materializations(instance, sources))

    assert [(p.asset, p.partition) for p in told] == [(f"wide/{name}", day) for name in "ab" for day in days]
    assert all(p.materialized_at for p in told)
    assert len(queries) == 2 * (1 + 2)
