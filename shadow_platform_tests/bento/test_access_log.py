"""Lines about requests: every one at DEBUG, failures of the service at WARNING, and never a flood of them."""

import logging
from collections.abc import Iterator

import pytest

from bento.api.access_log import LINES_PER_S, LOGGER, AccessLog
from shadow_platform.telemetry.context import RequestContext


class Time:
    """Seconds that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at_info() -> Iterator[None]:
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.setLevel(level)


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was said of requests; other threads may say something meanwhile."""
    return [record for record in caplog.records if record.name == LOGGER.name]


def request() -> RequestContext:
    found = RequestContext("018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11")
    found.model_version = "7"
    return found


def test_an_answered_request_is_a_line_at_debug_only(caplog: pytest.LogCaptureFixture, at_info: None) -> None:
    AccessLog().note(request(), "POST", "/predict", 200, None)
    assert lines(caplog) == []

    with caplog.at_level(logging.DEBUG, LOGGER.name):
        AccessLog().note(request(), "POST", "/predict", 200, None)
        AccessLog().note(request(), "POST", "/predict", 422, "invalid-request")
    assert [(r.levelname, r.getMessage()) for r in lines(caplog)] == [
        ("DEBUG", "POST /predict 200"),
        ("DEBUG", "POST /predict 422"),
    ]


def test_a_failure_of_the_service_is_a_warning_with_the_requests_id(
    caplog: pytest.LogCaptureFixture, at_info: None
) -> None:
    AccessLog().note(request(), "POST", "/predict", 503, "log-unavailable")

    (record,) = lines(caplog)
    assert record.levelname == "WARNING"
    assert record.getMessage() == ("POST /predict 503 log-unavailable, request 018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11")
    assert {"status": 503, "route": "/predict", "problem": "log-unavailable"}.items() <= vars(record).items()


def test_a_storm_of_failures_is_a_few_lines_a_second_that_count_the_rest(
    caplog: pytest.LogCaptureFixture, at_info: None
) -> None:
    clock = Time()
    log = AccessLog(clock)
    for _ in range(1_000):
        log.note(request(), "POST", "/predict", 503, "log-unavailable")
    assert len(lines(caplog)) == LINES_PER_S

    clock.now = 1.0
    log.note(request(), "POST", "/predict", 503, "log-unavailable")
    assert lines(caplog)[-1].getMessage().endswith(f"; {1_000 - LINES_PER_S} more before it")
    assert vars(lines(caplog)[-1])["left_out"] == 1_000 - LINES_PER_S
