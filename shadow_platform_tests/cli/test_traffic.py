"""Replayed requests are sent so that the service takes them, whatever they are about."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from bento.answering.idempotency import check_key
from shadow_platform.cli.traffic import idempotency_key

AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


@given(subject=st.text())
@example(subject="Müller")
@example(subject="x" * 240)
def test_every_subject_gives_a_key_that_the_service_takes(subject: str) -> None:
    assert check_key(idempotency_key(subject, AT))


@given(one=st.text(), other=st.text(), seconds=st.integers(0, 5))
def test_a_key_is_the_same_for_the_same_request_alone(one: str, other: str, seconds: int) -> None:
    later = AT + timedelta(seconds=seconds)
    assert (idempotency_key(one, AT) == idempotency_key(other, later)) == ((one, AT) == (other, later))
