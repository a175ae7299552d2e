"""What is said of an online store that is away: why, and neither whose features were asked for nor by whom."""

import asyncio
import threading

import pytest
import redis.exceptions

from bento.answering.online import OnlineStoreAway
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.telemetry.context import REQUEST, RequestContext
from shadow_platform.telemetry.logs import JsonFormatter
from shadow_platform_tests.bento.test_online import FakeStore, gate, opened, refused, store

__all__ = ["gate", "store"]


def _from(error: FeatureStoreError, cause: Exception) -> FeatureStoreError:
    error.__cause__ = cause
    return error


QUOTING = ValueError("no number: marker-4711")
AWAY = redis.exceptions.ConnectionError("Error 111 connecting to cache:6379")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (QUOTING, "ValueError"),
        (_from(FeatureStoreError("view 'v' cannot be read online: marker-4711"), QUOTING), "FeatureStoreError: Value"),
        (_from(FeatureStoreError(f"view 'v' cannot be read online: {AWAY}"), AWAY), "Error 111 connecting"),
        (FeatureStoreError("there is no view 'v'; apply it"), "there is no view 'v'; apply it"),
    ],
)
def test_words_of_a_failed_lookup_are_said_unless_they_may_quote_a_value(
    store: FakeStore, error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> None:
        raise error

    reader = opened(store)
    store.manner = failing
    with caplog.at_level("INFO"):
        assert refused(reader) == "error"

    assert said in caplog.text
    assert "marker-4711" not in f"{caplog.text} {reader.problem}"


def test_a_line_about_the_store_is_about_no_single_request(
    store: FakeStore, gate: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = opened(store, timeout_s=0.05)
    store.manner = gate.wait
    monkeypatch.setattr(caplog.handler, "formatter", JsonFormatter("service"))

    async def first_of_many() -> None:
        REQUEST.set(RequestContext("018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11"))
        await reader.read([{"visitor_id": "visitor-01"}])

    with pytest.raises(OnlineStoreAway):
        asyncio.run(first_of_many())

    assert "longer than 50 ms" in caplog.text
    assert "018d0c1f" not in caplog.text
