"""The shadow worker and the replay: every prediction once, whoever scores it and however often they restart."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bento.models import load_model
from bento.offsets import shadow_root
from bento.replay import replay
from bento.scoring import ExclusiveWork, Scorer, sent
from bento.shadow import Lane
from bento.shadow_metrics import ShadowMetrics
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.errors import AlreadyRunning
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import ShadowPolicy
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, line_bundle, raising_bundle
from shadow_platform_tests.bento.helpers import comparisons, deploy, outcomes, wait_until

NOW = datetime.now(UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def record(index: int, logged_at: datetime, cart: float | None = 20.0) -> PredictionRecord:
    requested_at = rfc3339(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=index))
    features = {"cart_value": cart, "channel": "mail"}
    return PredictionRecord(
        f"r-{index}", "shop", f"v-{index}", {}, requested_at, rfc3339(logged_at), features,
        {"request": 2, "online": 0, "imputed": 0}, None, "1", "hash", "champion", 1.0, 0.4, False, 0.5, 1.0,
    )  # fmt: skip


def log(layout: Layout, records: list[PredictionRecord]) -> None:
    sink = FileLogSink(layout.log("predictions", "shop"))
    sink.append_many(records)
    sink.close()


def model(digest: str, since: datetime = NOW, version: str = "2") -> DeployedModel:
    return DeployedModel(version=version, bundle_hash=digest, model_name="line", since=since)


@pytest.fixture
def metrics() -> ShadowMetrics:
    return ShadowMetrics(CollectorRegistry())


@pytest.fixture
def lane(layout: Layout, metrics: ShadowMetrics) -> Iterator[Lane]:
    found = Lane(layout, "shop", model(line_bundle(layout.bundles)), ShadowPolicy(), metrics)
    yield found
    found.stop()
    found.join(5.0)


def test_a_live_challenger_scores_from_its_deployment_on(layout: Layout, lane: Lane) -> None:
    old = [record(n, NOW - timedelta(seconds=1)) for n in range(3)]
    new = [record(n, NOW + timedelta(milliseconds=n)) for n in range(3, 1200)]
    log(layout, [*old, *new])
    lane.start()
    wait_until(lambda: len(comparisons(layout, "2")) == len(new), "every new prediction compared")
    assert {r.request_id for r in comparisons(layout, "2")} == {r.request_id for r in new}


def test_a_restart_continues_where_the_shadow_log_ends(layout: Layout, metrics: ShadowMetrics) -> None:
    deployed = model(line_bundle(layout.bundles))
    for start in (0, 700, 1400):
        log(layout, [record(n, NOW) for n in range(start, start + 700)])
        lane = Lane(layout, "shop", deployed, ShadowPolicy(), metrics)
        lane.start()
        wait_until(lambda n=start + 700: len(comparisons(layout, "2")) >= n, "compared")  # type: ignore[misc]
        lane.stop()
        lane.join(5.0)
    assert set(Counter(r.request_id for r in comparisons(layout, "2")).values()) == {1}


def test_a_batch_that_was_written_in_part_is_not_repeated(layout: Layout, metrics: ShadowMetrics) -> None:
    """A worker died within its write: complete lines of the batch stand, the torn one is scored again."""
    deployed = model(line_bundle(layout.bundles))
    log(layout, [record(n, NOW) for n in range(10)])
    scorer = Scorer(load_model(layout, deployed), ShadowPolicy(), is_replay=False)
    lines = FileLogSource(layout.log("predictions", "shop")).read({})
    sink = FileLogSink(shadow_root(layout, "shop", "2"))
    sink.append_many(scorer.records([found for found in map(sent, lines) if found]))
    segment = next(shadow_root(layout, "shop", "2").rglob("*.jsonl"))
    segment.write_bytes(segment.read_bytes()[:-700])
    n_whole = len(comparisons(layout, "2"))
    assert 0 < n_whole < 10
    lane = Lane(layout, "shop", deployed, ShadowPolicy(), metrics)
    lane.start()
    wait_until(lambda: len(comparisons(layout, "2")) == 10, "the rest compared")
    lane.stop()
    lane.join(5.0)
    assert {r.request_id for r in comparisons(layout, "2")} == {f"r-{n}" for n in range(10)}


def test_a_retired_challenger_compares_what_it_was_sent_and_ends(layout: Layout, lane: Lane) -> None:
    log(layout, [record(n, NOW) for n in range(5)])
    lane.start()
    lane.retire(NOW + timedelta(seconds=1))
    log(layout, [record(9, NOW + timedelta(seconds=2))])
    wait_until(lambda: not lane.is_alive, "the lane ends")
    assert len(comparisons(layout, "2")) == 5


def test_rows_that_fail_are_failed_and_the_others_compared(layout: Layout) -> None:
    scorer = Scorer(load_model(layout, model(raising_bundle(layout.bundles))), ShadowPolicy(), is_replay=False)
    log(layout, [record(n, NOW, cart=float(n * 10)) for n in range(20)])
    lines = FileLogSource(layout.log("predictions", "shop")).read({})
    got = scorer.records([found for found in map(sent, lines) if found])
    assert [r.outcome for r in got] == ["failed" if n * 10 > FAILS_ABOVE else "compared" for n in range(20)]
    assert "out of data bounds" in str(got[-1].challenger.error)


def test_old_predictions_are_dropped_with_their_reason_when_told(layout: Layout) -> None:
    policy = ShadowPolicy(max_lag_s=60)
    scorer = Scorer(load_model(layout, model(line_bundle(layout.bundles))), policy, is_replay=False)
    log(layout, [record(0, datetime.now(UTC) - timedelta(minutes=5)), record(1, datetime.now(UTC))])
    lines = FileLogSource(layout.log("predictions", "shop")).read({})
    got = scorer.records([found for found in map(sent, lines) if found])
    assert [(r.outcome, r.drop_reason) for r in got] == [("dropped", "lag"), ("compared", None)]


def test_a_replay_scores_a_past_period_once(layout: Layout) -> None:
    log(layout, [record(n, NOW - timedelta(minutes=1)) for n in range(48)])
    challenger = model(line_bundle(layout.bundles))
    day = datetime(2024, 1, 1, tzinfo=UTC)
    first = replay(layout, "shop", challenger, day, day + timedelta(days=1))
    assert (first.sent, first.compared, first.failed, first.dropped, first.known) == (24, 24, 0, 0, 0)
    assert {r.is_replay for r in comparisons(layout, "2")} == {True}
    everything = replay(layout, "shop", challenger)
    assert (everything.sent, everything.known) == (24, 24)
    assert set(Counter(r.request_id for r in comparisons(layout, "2")).values()) == {1}


def test_replay_and_live_never_score_the_same_prediction(layout: Layout, metrics: ShadowMetrics) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, [record(n, datetime.now(UTC) - timedelta(seconds=5)) for n in range(30)])
    deploy(layout, digest, {"2": digest})
    manifest = read_manifest(layout.manifest("shop"))
    assert manifest is not None
    deployed = manifest.challengers[0]
    lane = Lane(layout, "shop", deployed, ShadowPolicy(), metrics)
    lane.start()
    log(layout, [record(n, datetime.now(UTC) + timedelta(seconds=1)) for n in range(30, 60)])
    counts = replay(layout, "shop", deployed)
    wait_until(lambda: len(comparisons(layout, "2")) == 60, "both done")
    lane.stop()
    lane.join(5.0)
    assert counts.sent == 30
    assert Counter(r.is_replay for r in comparisons(layout, "2")) == {True: 30, False: 30}
    assert set(Counter(r.request_id for r in comparisons(layout, "2")).values()) == {1}


def test_a_replay_scores_again_what_was_dropped_live(layout: Layout) -> None:
    log(layout, [record(n, NOW - timedelta(minutes=5)) for n in range(4)])
    challenger = model(line_bundle(layout.bundles))
    scorer = Scorer(load_model(layout, challenger), ShadowPolicy(max_lag_s=1), is_replay=False)
    lines = FileLogSource(layout.log("predictions", "shop")).read({})
    FileLogSink(shadow_root(layout, "shop", "2")).append_many(
        scorer.records([found for found in map(sent, lines) if found])
    )
    assert outcomes(layout, "2") == {"dropped": 4}
    assert replay(layout, "shop", challenger).compared == 4


def test_an_unreadable_line_is_passed_over(layout: Layout, lane: Lane) -> None:
    log(layout, [record(0, NOW)])
    segment = next(layout.log("predictions", "shop").rglob("*.jsonl"))
    segment.write_bytes(b"{broken\n" + segment.read_bytes() + b'{"request_id": 1}\n')
    lane.start()
    wait_until(lambda: len(comparisons(layout, "2")) == 1, "the good line compared")


def test_the_same_replay_does_not_run_twice_at_once(layout: Layout) -> None:
    challenger = model(line_bundle(layout.bundles))
    with (
        ExclusiveWork(layout, "shop", "2", "replay"),
        pytest.raises(AlreadyRunning, match=r"shadow-shop-2-replay\.lock"),
    ):
        replay(layout, "shop", challenger)
