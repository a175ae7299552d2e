"""A lane: every prediction once, whatever its challenger does."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bento.shadowing.lane_process import ChallengerLost, LaneProcess
from bento.shadowing.lane_progress import read_progress
from bento.shadowing.scoring import Scorer
from bento.shadowing.shadow_metrics import ShadowMetrics
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import SourceOffset
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import Circuit, CircuitPolicy, IsolationPolicy, Score, ShadowPolicy
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, hanging_bundle, line_bundle, raising_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, comparisons, outcomes, wait_until
from shadow_platform_tests.bento.shadowed import NOW, has_each_once, lane_of, log, model, problem, record

EVERYTHING = ShadowPolicy()
QUICK = IsolationPolicy(max_batch_s=1.0)
ROW = {"cart_value": 20.0, "channel": "mail"}
POISON = {"cart_value": FAILS_ABOVE + 1, "channel": "mail"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_live_challenger_scores_from_its_deployment_on(layout: Layout) -> None:
    old = [record(n, NOW - timedelta(seconds=1)) for n in range(3)]
    new = [record(n, NOW + timedelta(milliseconds=n)) for n in range(3, 1200)]
    log(layout, [*old, *new])
    segment = next(layout.log("predictions", USE_CASE).rglob("*.jsonl"))
    segment.write_bytes(b"{broken\n" + segment.read_bytes() + b'{"request_id": 1}\n')
    with lane_of(layout, model(line_bundle(layout.bundles))):
        wait_until(lambda: has_each_once(layout, len(new)), "every new prediction compared")
    assert {r.request_id for r in comparisons(layout, "2")} == {r.request_id for r in new}
    assert outcomes(layout, "2") == {"compared": len(new)}


def test_a_line_of_wrong_types_does_not_stop_the_lane(layout: Layout) -> None:
    wrong: list[dict[str, Any]] = [{"logged_at": "yesterday"}, {"logged_at": rfc3339(NOW)[:-1]}, {"logged_at": 7}]
    wrong += [{"probability": "high"}, {"probability": None}, {"request_id": 7}, {"features": "none"}]
    good = asdict(record(1, NOW))
    sink = FileLogSink(layout.log("predictions", USE_CASE))
    sink.append_many([*[good | change for change in wrong], asdict(record(2, NOW))])
    sink.close()
    with lane_of(layout, model(line_bundle(layout.bundles), sample_rate=0.999999)):
        wait_until(lambda: any(r.request_id == "r-2" for r in comparisons(layout, "2")), "the good line compared")
    assert {(r.request_id, r.outcome) for r in comparisons(layout, "2")} == {("r-1", "failed"), ("r-2", "compared")}


def test_a_retired_challenger_compares_what_it_was_due_and_ends(layout: Layout) -> None:
    log(layout, [record(n, NOW) for n in range(5)])
    with lane_of(layout, model(line_bundle(layout.bundles))) as lane:
        lane.retire(NOW + timedelta(milliseconds=1))
        log(layout, [record(9, NOW + timedelta(seconds=2))])
        wait_until(lambda: not lane.is_alive, "the lane ends")
    assert has_each_once(layout, 5)
    assert not layout.shadow_progress(USE_CASE, "2").exists()


def test_rows_that_raise_fail_and_the_others_are_compared(layout: Layout) -> None:
    log(layout, [record(n, NOW, cart=float(n * 10)) for n in range(20)])
    with lane_of(layout, model(raising_bundle(layout.bundles))):
        wait_until(lambda: has_each_once(layout, 20), "every prediction recorded")
    got = sorted(comparisons(layout, "2"), key=lambda r: r.source.end)
    assert [r.outcome for r in got] == ["failed" if n * 10 > FAILS_ABOVE else "compared" for n in range(20)]
    assert "out of data bounds" in str(got[-1].challenger.error)


def test_exactly_the_prediction_that_hangs_the_model_fails_and_the_rest_is_compared(layout: Layout) -> None:
    poison = 7
    log(layout, [record(n, NOW, cart=FAILS_ABOVE + 1 if n == poison else 20.0) for n in range(30)])
    with lane_of(layout, model(hanging_bundle(layout.bundles)), isolation=QUICK):
        wait_until(lambda: has_each_once(layout, 30), "every prediction recorded")
    failed = [r for r in comparisons(layout, "2") if r.outcome == "failed"]
    assert [(r.request_id, r.challenger.error) for r in failed] == [(f"r-{poison}", "killed after 1 s")]
    assert outcomes(layout, "2") == {"compared": 29, "failed": 1}


def test_a_model_whose_process_is_stopped_is_replaced_and_nothing_fails(layout: Layout) -> None:
    with lane_of(layout, model(line_bundle(layout.bundles)), isolation=QUICK) as lane:
        log(layout, [record(0, NOW)])
        wait_until(lambda: has_each_once(layout, 1), "it runs")
        stopped = lane.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        log(layout, [record(n, NOW) for n in range(1, 600)])
        wait_until(lambda: has_each_once(layout, 600), "another process goes on")
        assert lane.pid != stopped
    assert outcomes(layout, "2") == {"compared": 600}


def test_how_a_process_was_lost_is_told(layout: Layout) -> None:
    process = LaneProcess(layout.bundles / hanging_bundle(layout.bundles), "2", IsolationPolicy())
    assert process.score([ROW])[0].error is None
    assert process.threshold == 0.5
    busy = psutil.Process(process.pid)
    before = busy.cpu_times().user
    killer = threading.Thread(target=_kill_when_busy, args=(busy, before, signal.SIGSEGV))
    killer.start()
    with pytest.raises(ChallengerLost, match="process died: SIGSEGV"):
        process.score([POISON])
    killer.join()
    assert process.score([ROW])[0].error is None
    process.close()
    assert process.pid is None


def _kill_when_busy(process: psutil.Process, before: float, number: signal.Signals) -> None:
    wait_until(lambda: process.cpu_times().user > before + 0.2, "it counts")
    process.send_signal(number)


def test_a_model_that_leaks_fails_by_itself(layout: Layout) -> None:
    """The limit is on data, so a model that cannot even be loaded within it is refused, not the machine's problem."""
    bundle = layout.bundles / line_bundle(layout.bundles)
    with pytest.raises(BundleError, match="challenger 2 does not start: "):
        LaneProcess(bundle, "2", IsolationPolicy(max_memory_mib=16)).score([ROW])


def test_a_challenger_that_does_not_start_waits_and_says_why(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    (layout.bundles / digest).rename(layout.bundles / "elsewhere")
    log(layout, [record(0, NOW)])
    with lane_of(layout, model(digest)):
        wait_until(lambda: "cannot be read" in problem(layout), "it says why")
        assert comparisons(layout, "2") == []
        (layout.bundles / "elsewhere").rename(layout.bundles / digest)
        wait_until(lambda: has_each_once(layout, 1), "compared once the bundle is there")
        wait_until(lambda: not problem(layout), "the problem is gone")


def test_a_problem_at_the_start_keeps_how_far_the_last_run_came(layout: Layout) -> None:
    deployed, path = model(line_bundle(layout.bundles)), layout.shadow_progress(USE_CASE, "2")
    log(layout, [record(n, NOW) for n in range(5)])
    with lane_of(layout, deployed):
        wait_until(lambda: (p := read_progress(path)) is not None and bool(p.covered), "saved")
    before = read_progress(path)
    assert before is not None
    (layout.bundles / deployed.bundle_hash).rename(layout.bundles / "elsewhere")
    log(layout, [record(5, NOW)])
    with lane_of(layout, deployed):
        wait_until(lambda: bool(problem(layout)), "it says why")
    got = read_progress(path)
    assert got is not None
    assert (got.after, got.covered) == (before.after, before.covered)


class Fragile:
    """A model that takes its process with it over some rows, and counts how often."""

    threshold = 0.5

    def __init__(self, poison: set[int]) -> None:
        self.poison = poison
        self.n_lost = 0

    def score(self, rows: Sequence[Mapping[str, Any]]) -> list[Score]:
        if any(row["cart_value"] in self.poison for row in rows):
            self.n_lost += 1
            raise ChallengerLost("process died: SIGSEGV")
        return [Score(0.5, 0.1) for _ in rows]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.integers(1, 5))
def test_whatever_is_poisonous_progress_is_made_and_its_cost_is_bounded(
    n: int, poison: set[int], max_lost: int
) -> None:
    fragile = Fragile(poison)
    circuit = Circuit(CircuitPolicy(max_lost=max_lost))
    scorer = Scorer(fragile, "2", is_replay=False, circuit=circuit, clock=lambda: 0.0)
    batch = [(record(i, datetime.now(UTC), cart=i), SourceOffset("s", i)) for i in range(n)]
    got = scorer.records(batch, EVERYTHING)
    bad = [i for i in range(n) if i in poison]
    opened_at = bad[max_lost - 1] if len(bad) >= max_lost else n
    expected = ["failed" if i in poison else "compared" if i < opened_at else "dropped" for i in range(opened_at + 1)]
    assert [r.outcome for r in got] == (expected + ["dropped"] * n)[:n]
    assert fragile.n_lost <= 1 + 2 * max_lost


def test_a_challenger_that_keeps_failing_is_let_alone_then_probed_and_taken_back(layout: Layout) -> None:
    now, fragile = [0.0], Fragile({1})
    policy = CircuitPolicy(max_lost=1, pause_s=30, probes=2)
    scorer = Scorer(fragile, "2", is_replay=False, circuit=Circuit(policy), clock=lambda: now[0])
    good = (record(0, NOW, cart=0), SourceOffset("s", 1))
    bad = (record(1, NOW, cart=1), SourceOffset("s", 2))

    def reasons(*batch: Any) -> list[str]:
        return [r.drop_reason or r.outcome for r in scorer.records(batch, EVERYTHING)]

    assert reasons(bad) == ["failed"]
    n_lost = fragile.n_lost
    assert reasons(good, bad, good) == ["circuit_open"] * 3
    assert fragile.n_lost == n_lost, "an open circuit costs no scoring"
    now[0] = 31.0
    assert reasons(bad, good) == ["failed", "circuit_open"], "the probe fails"
    now[0] = 62.0
    assert reasons(good, good, bad) == ["compared", "compared", "circuit_open"], "the probes succeed"
    assert scorer.circuit.state == "closed"
    assert reasons(good, good) == ["compared", "compared"]


def test_an_open_circuit_is_recorded_shown_and_costs_nothing(layout: Layout, registry: CollectorRegistry) -> None:
    log(layout, [record(n, NOW, cart=FAILS_ABOVE + 1) for n in range(40)])
    metrics = ShadowMetrics(registry)
    circuit = Circuit(CircuitPolicy(max_in_a_row=10, pause_s=3600))
    with lane_of(layout, model(raising_bundle(layout.bundles)), metrics=metrics, circuit=circuit) as lane:
        wait_until(lambda: has_each_once(layout, 40), "recorded")
        log(layout, [record(n, NOW) for n in range(40, 80)])
        wait_until(lambda: has_each_once(layout, 80), "dropped")
        path = layout.shadow_progress(USE_CASE, "2")
        wait_until(lambda: (p := read_progress(path)) is not None and p.circuit == "open", "the state is saved")
        lane.report()
    assert outcomes(layout, "2") == {"failed": 40, "dropped": 40}
    assert {r.drop_reason for r in comparisons(layout, "2") if r.outcome == "dropped"} == {"circuit_open"}
    value = registry.get_sample_value
    assert value("shadow_circuit_state", {"challenger": "2"}) == 2
    assert value("shadow_predictions_total", {"challenger": "2", "outcome": "failed"}) == 40
    assert value("shadow_dropped_total", {"challenger": "2", "reason": "circuit_open"}) == 40
    assert value("shadow_errors_total", {"challenger": "2", "kind": "InvalidArgument"}) == 40


def test_the_sample_rate_and_lag_limit_change_while_it_runs(layout: Layout) -> None:
    deployed = model(line_bundle(layout.bundles), sample_rate=0.25)
    with lane_of(layout, deployed) as lane:
        log(layout, [record(n, datetime.now(UTC)) for n in range(400)])
        wait_until(lambda: has_each_once(layout, 400), "sampled")
        n_sampled = outcomes(layout, "2")["compared"]
        assert 60 < n_sampled < 140
        lane.update(deployed.model_copy(update={"sample_rate": 1.0}))
        log(layout, [record(n, datetime.now(UTC)) for n in range(400, 500)])
        wait_until(lambda: has_each_once(layout, 500), "all")
        lane.update(deployed.model_copy(update={"sample_rate": 1.0, "max_lag_s": 0.001}))
        log(layout, [record(n, NOW) for n in range(500, 550)])
        wait_until(lambda: has_each_once(layout, 550), "too late")
    reasons = Counter(r.drop_reason for r in comparisons(layout, "2"))
    assert reasons == {None: n_sampled + 100, "sampling": 400 - n_sampled, "lag": 50}


def test_agreement_lag_and_latency_are_metrics_and_own_answers_do_not_count(
    layout: Layout, registry: CollectorRegistry
) -> None:
    """The champion says 0.4 of every cart; so does the challenger of a cart of 20, but not of one of 60."""
    metrics = ShadowMetrics(registry)
    log(layout, [record(n, NOW, cart=20.0 if n < 6 else 60.0) for n in range(8)])
    log(layout, [record(n, NOW, cart=60.0, version="2") for n in range(8, 20)])
    deployed = model(line_bundle(layout.bundles), since=NOW - timedelta(hours=1))
    with lane_of(layout, deployed, metrics=metrics) as lane:
        value = registry.get_sample_value

        def lag_s() -> float | None:
            lane.report()
            return value("shadow_lag_seconds", {"challenger": "2"})

        wait_until(lambda: has_each_once(layout, 20), "compared")
        wait_until(lambda: lag_s() == 0.0, "a lane that compared everything does not lag")
        assert value("model_agreement_rate", {"challenger": "2"}) == pytest.approx(6 / 8)
        assert value("shadow_latency_ms_count", {"challenger": "2"}) == 20
        stopped = lane.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        log(layout, [record(20, datetime.now(UTC)), record(21, datetime.now(UTC) - timedelta(minutes=5))])
        wait_until(lambda: (lag_s() or 0.0) >= 300, "a lane that waits for its model lags visibly")
        os.kill(stopped, signal.SIGCONT)
        metrics.forget("2")
        assert value("shadow_predictions_total", {"challenger": "2", "outcome": "compared"}) in (20, 22)


def test_the_last_batch_of_a_full_log_is_not_repeated(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused append leaves the lane with what the log says, and it goes on when there is space again."""
    is_full = threading.Event()
    append = FileLogSink.append_many

    def refuse(self: FileLogSink, records: Sequence[object]) -> None:
        if is_full.is_set():
            append(self, records[: len(records) // 2])
            raise OSError("no space left on device")
        append(self, records)

    monkeypatch.setattr(FileLogSink, "append_many", refuse)
    with lane_of(layout, model(line_bundle(layout.bundles))):
        log(layout, [record(n, NOW) for n in range(10)])
        wait_until(lambda: has_each_once(layout, 10), "compared")
        is_full.set()
        source = FileLogSink(layout.log("predictions", USE_CASE))
        append(source, [record(n, NOW) for n in range(10, 30)])
        source.close()
        wait_until(lambda: len(comparisons(layout, "2")) >= 20, "half a batch stands")
        is_full.clear()
        wait_until(lambda: has_each_once(layout, 30), "each once")
