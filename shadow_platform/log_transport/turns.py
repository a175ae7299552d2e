"""One log of one home is relayed or landed, and by one process at a time.

Belongs here: waiting for one's turn. Does not belong here: the work. Upstream: the command line. Downstream: relay,
lander: two landers would append the same line twice, and a relay beside a lander would send what came from elsewhere.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from shadow_platform.contracts.layout import Layout

LOGGER = logging.getLogger("shadow_platform.log_transport")

RETRY_S = 0.5


@contextmanager
def turn(layout: Layout, use_case: str, logs: Sequence[str], is_stopped: Callable[[], bool]) -> Iterator[bool]:
    """Hold the logs of a home; false when told to stop before they were free.

    A second process waits, and takes over when the first ends, however it ends.
    """
    with ExitStack() as held:
        for log in sorted(logs):
            lock = _lock_of(layout, use_case, log)
            if not _acquired(lock, log, is_stopped):
                yield False
                return
            held.callback(lock.release)
        yield True


def is_taken(layout: Layout, use_case: str, logs: Sequence[str]) -> bool:
    """Whether another process relays or lands one of these logs of a home."""
    with ExitStack() as held:
        for log in sorted(logs):
            lock = _lock_of(layout, use_case, log)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            held.callback(lock.release)
    return False


def _lock_of(layout: Layout, use_case: str, log: str) -> FileLock:
    path = layout.locks(f"transport-{use_case}-{log}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def _acquired(lock: FileLock, log: str, is_stopped: Callable[[], bool]) -> bool:
    has_said = False
    while not is_stopped():
        try:
            lock.acquire(timeout=RETRY_S)
            return True
        except Timeout:
            if not has_said:
                LOGGER.warning(
                    "another process relays or lands the %s of this home (%s); waiting until it ends, to take over",
                    log,
                    lock.lock_file,
                )
            has_said = True
    return False
