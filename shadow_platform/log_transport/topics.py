"""Which topic a log goes through, and what one message says: a line, the segment it is from, and where it stood there.

Belongs here: names, and the form of a message both ways. Does not belong here: sending and receiving. Upstream:
settings. Downstream: relay, lander; whoever else reads the topics finds one JSON record a message.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shadow_platform.adapters.kafka import KafkaSettings, ensure_topics
from shadow_platform.adapters.landing import SEGMENT
from shadow_platform.contracts.errors import SettingsError, StreamError
from shadow_platform.contracts.stream import Message

LOGGER = logging.getLogger("shadow_platform.log_transport")

LOGS = ("predictions", "failures", "shadow", "transitions", "rollouts")
SERVED_LOGS = "predictions,failures"
"""What a machine writes that only answers."""
OFFSET_HEADER, HOST_HEADER = "offset", "host"
RETRY_S = 5.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class SentLine:
    """One line of a log on its way.

    Attributes:
        segment: file relative to the log's root.
        start: byte of the segment at which the line begins.
        line: without its line end.
        host: machine that wrote it, for people.
    """

    segment: str
    start: int
    line: bytes
    host: str = ""

    @property
    def end(self) -> int:
        """Offset of the byte behind the line and its end."""
        return self.start + len(self.line) + 1


def topic_of(prefix: str, log: str, use_case: str) -> str:
    """Topic of one log of one use case.

    >>> topic_of("shadow", "predictions", "shop")
    'shadow.predictions.shop'
    """
    return f"{prefix}.{log}.{use_case}"


def parse_logs(text: str) -> tuple[str, ...]:
    """Names of logs, from a comma-separated list; raises ``SettingsError``."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in LOGS]
    if unknown or not names:
        raise SettingsError(f"--logs {text!r}: expected one or more of {', '.join(LOGS)}, separated by commas")
    return names


def received(message: Message) -> SentLine | None:
    """The line of a message; ``None`` when no relay sent it."""
    try:
        segment = (message.key or b"").decode("ascii")
        headers = dict(message.headers)
        start, host = int(headers[OFFSET_HEADER]), (headers.get(HOST_HEADER) or b"").decode(errors="replace")
    except (KeyError, TypeError, ValueError):
        return None
    if message.value is None or start < 0 or b"\n" in message.value or SEGMENT.fullmatch(segment) is None:
        return None
    return SentLine(segment, start, message.value, host)


def wait_for_topics(
    kafka: KafkaSettings, topics: Sequence[str], is_stopped: Callable[[], bool], count_error: Callable[[], None]
) -> None:
    """Return when the topics exist, those that are missing made by the broker's defaults; or when told to stop."""
    said = ""
    while not is_stopped():
        try:
            ensure_topics(kafka, topics)
            return
        except StreamError as error:
            count_error()
            if str(error) != said:
                LOGGER.error("%s; trying again every %g s", error, RETRY_S)
            said = str(error)
        deadline = time.monotonic() + RETRY_S
        while not is_stopped() and time.monotonic() < deadline:
            time.sleep(POLL_S)
