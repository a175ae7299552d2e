"""What ``GET /shadow/*`` shows of a challenger, at a cost that does not grow with its log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bento.shadowing import shadow_view
from bento.shadowing.lane_progress import Progress, write_progress
from bento.shadowing.offsets import shadow_records, shadow_root, skip_to_tail
from bento.shadowing.shadow_view import ShadowView
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ShadowRecord, SourceOffset
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import Challenger, Score, compare
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, deploy
from shadow_platform_tests.bento.shadowed import log, record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def manifest(layout: Layout) -> DeploymentManifest:
    digest = line_bundle(layout.bundles)
    deploy(layout, digest, {"2": digest})
    found = read_manifest(layout.manifest(USE_CASE))
    assert found is not None
    return found


def shadow(layout: Layout, first: int, last: int, *scores: Score, is_replay: bool = False) -> None:
    """Append comparisons as a lane does."""
    now = datetime.now(UTC)
    sink = FileLogSink(shadow_root(layout, USE_CASE, "2"))
    given = scores or (Score(0.6, 0.1),)
    sink.append_many([_record(n, now, given[n % len(given)], is_replay) for n in range(first, last)])
    sink.close()


def _record(n: int, now: datetime, score: Score, is_replay: bool) -> ShadowRecord:
    offset, challenger = SourceOffset("elsewhere", n + 1), Challenger("2", 0.5)
    return compare(record(n, now), offset, challenger, score, compared_at=rfc3339(now), is_replay=is_replay)


def only(view: ShadowView, manifest: DeploymentManifest) -> dict[str, Any]:
    challengers = view.comparison(manifest, "1h", datetime.now(UTC))["challengers"]
    assert len(challengers) == 1
    found: dict[str, Any] = challengers[0]
    return found


def test_a_challenger_shows_its_outcomes_policy_circuit_and_lag(layout: Layout, manifest: DeploymentManifest) -> None:
    view = ShadowView(layout, shop.USE_CASE)
    before = only(view, manifest)
    assert (before["sent"], before["circuit"], before["problem"]) == (0, None, "no shadow worker has reported yet")
    shadow(layout, 0, 30, Score(0.6, 0.1), Score(error="process died: SIGSEGV"), Score(drop_reason="circuit_open"))
    model = manifest.challengers[0].model_copy(update={"sample_rate": 0.5, "max_lag_s": 60.0})
    progress = Progress(deployed=model, after={}, covered={}, circuit="open")
    write_progress(layout.shadow_progress(USE_CASE, "2"), progress)
    log(layout, [record(n, datetime.now(UTC) + timedelta(seconds=1)) for n in range(7)])
    got = only(view, manifest.model_copy(update={"challengers": (model,)}))
    assert (got["sent"], got["compared"], got["failed"], got["dropped"]) == (30, 10, 10, 10)
    assert (got["drop_reasons"], got["errors"]) == ({"circuit_open": 10}, {"process died: SIGSEGV": 10})
    assert (got["sample_rate"], got["max_lag_s"], got["circuit"], got["problem"]) == (0.5, 60.0, "open", None)
    assert got["lag_records"] == 7


def test_progress_of_an_earlier_deployment_says_nothing(layout: Layout, manifest: DeploymentManifest) -> None:
    earlier = manifest.challengers[0].model_copy(update={"since": datetime(2024, 1, 1, tzinfo=UTC)})
    write_progress(layout.shadow_progress(USE_CASE, "2"), Progress(deployed=earlier, after={}, covered={}))
    assert only(ShadowView(layout, shop.USE_CASE), manifest)["circuit"] is None


def test_a_long_log_is_read_from_its_tail_and_followed(
    layout: Layout, manifest: DeploymentManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, 3000, 1000):
        shadow(layout, first, first + 1000)
    monkeypatch.setattr(shadow_view, "TAIL_BYTES", 200_000)
    view = ShadowView(layout, shop.USE_CASE)
    n_tail = only(view, manifest)["sent"]
    assert 100 < n_tail < 1000
    latest = view.logs(manifest, "1000", None)["records"]
    assert latest[0]["outcome"] == "compared"
    assert "r-2999" in {r["request_id"] for r in latest}
    shadow(layout, 3000, 3010)
    assert only(view, manifest)["sent"] == n_tail + 10


def test_a_replay_is_shown_but_neither_counted_nor_in_the_way_of_live_records(
    layout: Layout, manifest: DeploymentManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_view, "KEPT_RECORDS", 50)
    monkeypatch.setattr(shadow_view, "TAIL_BYTES", 20_000)
    view = ShadowView(layout, shop.USE_CASE)
    shadow(layout, 0, 5)
    assert only(view, manifest)["sent"] == 5
    shadow(layout, 5, 10)
    shadow(layout, 10, 210, is_replay=True)
    for shown in (view, ShadowView(layout, shop.USE_CASE)):
        assert only(shown, manifest)["sent"] == 10
        assert {r["is_replay"] for r in shown.logs(manifest, "1000", None)["records"]} == {True, False}


@pytest.mark.parametrize("n_bytes", [0, 1, 700, 5_000, 10**9])
def test_the_tail_of_a_log_is_whole_records_and_never_more_than_asked(layout: Layout, n_bytes: int) -> None:
    for first in range(0, 40, 10):
        shadow(layout, first, first + 10)
    source, position = FileLogSource(shadow_root(layout, USE_CASE, "2")), dict[str, int]()
    skip_to_tail(source, position, n_bytes)
    n_behind = sum(size - position.get(segment, 0) for segment, size in source.segments())
    assert n_behind <= n_bytes
    got = [r.request_id for r in shadow_records(source, position)]
    assert got == [f"r-{n}" for n in range(40 - len(got), 40)]
    assert n_bytes < 10**9 or len(got) == 40
