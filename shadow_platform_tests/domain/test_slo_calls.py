"""One call is one slow or failed request, of the model that was asked for it."""

from dataclasses import replace

import pytest

from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.slo import Call, CallCounter
from shadow_platform_tests.domain.test_shadow import prediction

CHAMPION = replace(prediction(), model_version="1", variant="champion", is_fallback=False, latency_ms=3.0)
CANARY = replace(CHAMPION, model_version="2", variant="canary", latency_ms=4.0)
FALLBACK = replace(CHAMPION, is_fallback=True)


@pytest.mark.parametrize(
    ("record", "call"),
    [
        (CHAMPION, Call("champion", 3.0)),
        (CANARY, Call("canary", 4.0)),
        (FALLBACK, Call("canary", None)),
        (replace(CHAMPION, model_version="0"), None),
        (replace(CANARY, model_version="0"), None),
    ],
    ids=["champion", "canary", "fallback", "a champion before", "a canary before"],
)
def test_a_record_counts_for_the_model_that_was_asked(record: PredictionRecord, call: Call | None) -> None:
    assert CallCounter(champion_version="1", canary_version="2").call(record) == call


def test_without_champion_or_canary_nothing_counts_for_them() -> None:
    assert CallCounter(champion_version=None, canary_version="2").call(CHAMPION) is None
    for record in (CANARY, FALLBACK):
        assert CallCounter(champion_version="1", canary_version=None).call(record) is None


def test_rows_of_a_batch_are_one_call_and_each_fallback_is_a_failure() -> None:
    counter = CallCounter(champion_version="1", canary_version="2")
    rows = [CANARY, CANARY, FALLBACK, FALLBACK, CANARY, replace(CANARY, latency_ms=5.0), CHAMPION, CHAMPION]
    assert [call for call in map(counter.call, rows) if call] == [
        Call("canary", 4.0),
        Call("canary", None),
        Call("canary", None),
        Call("canary", 5.0),
        Call("champion", 3.0),
    ]
