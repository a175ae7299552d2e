"""Spans reach a collector as OTLP; one that refuses, hangs or is not there holds nobody up."""

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import util

import pytest

from shadow_platform.adapters import tracing
from shadow_platform.adapters.tracing import CLOSE_TIMEOUT_S, OtlpSpans
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.tracing import Span, SpanContext
from shadow_platform.settings import Settings
from shadow_platform.telemetry.spans import open_spans
from shadow_platform_tests.otlp import Collector, collecting
from shadow_platform_tests.processes import free_port

PARENT, PLACE, OTHER = SpanContext(1, 2), SpanContext(1, 3), SpanContext(7, 8)
PATIENCE_S = 30.0
SPAN = Span("model", PLACE, 1_000, 3_000, PARENT, {"shadow.predictions": 2}, (OTHER,), "server", "internal-error")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends waits as long for its last spans as a busy machine takes for them."""
    for name in ("CLOSE_TIMEOUT_S", "EXPORT_TIMEOUT_S"):
        monkeypatch.setattr(tracing, name, PATIENCE_S)


@pytest.mark.usefixtures("patient")
def test_a_span_arrives_with_everything_it_says(collector: Collector) -> None:
    spans = OtlpSpans(collector.url, {"service.name": "shadow-platform-service"})
    spans.emit(SPAN)
    spans.close()

    (received,) = collector.spans
    assert (received.service, received.name, received.kind) == ("shadow-platform-service", "model", 2)
    assert received.context == (f"{1:032x}", f"{3:016x}")
    assert received.parent == f"{2:016x}"
    assert received.links == ((f"{7:032x}", f"{8:016x}"),)
    assert (received.started_ns, received.ended_ns) == (1_000, 3_000)
    assert received.attributes == {"shadow.predictions": 2}
    assert (received.is_error, received.problem) == (True, "internal-error")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_the_address_may_be_the_collectors_or_that_of_its_traces(collector: Collector, path: str) -> None:
    spans = OtlpSpans(collector.url + path, {"service.name": "s"})
    spans.emit(SPAN)
    spans.close()

    assert len(collector.spans) == 1


@pytest.mark.parametrize("mode", ["refuse", "hang", "away"])
def test_a_collector_that_takes_nothing_holds_nobody_up(collector: Collector, mode: str) -> None:
    if mode != "away":
        collector.mode = mode  # type: ignore[assignment]
    url = f"http://127.0.0.1:{free_port()}" if mode == "away" else collector.url
    spans = OtlpSpans(url, {"service.name": "s"})
    began, n_slow = time.monotonic(), 0
    for _ in range(10_000):
        one = time.monotonic()
        spans.emit(SPAN)
        n_slow += time.monotonic() - one >= 0.5
    emitted = time.monotonic()
    spans.close()

    # Were one emit in 512 to wait for the collector, twenty were slow; a busy machine delays one or two.
    assert n_slow < 5
    assert emitted - began < PATIENCE_S
    assert time.monotonic() - emitted < CLOSE_TIMEOUT_S + PATIENCE_S


def test_spans_are_sent_when_the_process_ends_by_itself(collector: Collector) -> None:
    script = (
        "from shadow_platform.adapters import tracing\n"
        "from shadow_platform_tests.adapters.test_tracing import SPAN\n"
        f"tracing.CLOSE_TIMEOUT_S = tracing.EXPORT_TIMEOUT_S = {PATIENCE_S}\n"
        f"tracing.OtlpSpans({collector.url!r}, {{'service.name': 's'}}).emit(SPAN)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=150)

    assert len(collector.spans) == 1


def test_without_a_collector_nothing_is_imported_or_made() -> None:
    script = (
        "import sys\n"
        "from shadow_platform.settings import Settings\n"
        "from shadow_platform.telemetry.spans import open_spans\n"
        "assert open_spans(Settings(_env_file=None), 'service') is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, timeout=150, capture_output=True, text=True)

    assert told.stdout.strip() == "[]"


def test_a_missing_exporter_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda name: None if name == tracing.EXPORTER else util.find_spec(name))
    settings = Settings(otel_exporter_otlp_endpoint="http://collector:4318")

    with pytest.raises(
        SettingsError, match=r"opentelemetry-exporter-otlp-proto-http is not installed; install it: pip"
    ):
        open_spans(settings, "service")
