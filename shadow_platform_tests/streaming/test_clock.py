"""The stream's time goes on between messages, and follows them wherever they are."""

from datetime import UTC, datetime, timedelta

from shadow_platform.streaming.clock import StreamClock

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Watch:
    """Seconds that a test sets."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def test_no_time_is_known_before_the_first_message() -> None:
    assert StreamClock().now() is None


def test_time_goes_on_after_the_newest_message_and_an_older_one_does_not_move_it() -> None:
    watch = Watch()
    clock = StreamClock(watch)
    clock.saw(NOON)
    watch.seconds += 5
    assert clock.now() == NOON + 5 * SECOND
    clock.saw(NOON - SECOND)
    assert clock.now() == NOON + 5 * SECOND
    clock.saw(NOON + 60 * SECOND)
    assert clock.now() == NOON + 60 * SECOND


def test_a_message_of_before_this_process_counts_from_its_receipt() -> None:
    clock = StreamClock(Watch())

    clock.saw(NOON, ago=3 * SECOND)

    assert clock.now() == NOON + 3 * SECOND


def test_a_receipt_in_the_future_is_taken_as_now() -> None:
    clock = StreamClock(Watch())

    clock.saw(NOON, ago=-SECOND)

    assert clock.now() == NOON
