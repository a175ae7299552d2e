"""Writes to Feast's registry while other machines write to it.

Belongs here: what to do when another came first. Does not belong here: what is registered (``store``). Upstream: the
SQL registry. Downstream: ``store``.
"""

from collections.abc import Callable
from typing import TypeVar

_Made = TypeVar("_Made")
MAX_ATTEMPTS = 10


def first_or_after(work: Callable[[], _Made]) -> _Made:
    """What ``work`` returns, done again when another made the same table or row between its look and its write.

    Feast looks whether a table or a row is there, then makes it. Who comes second is refused, and finds it the next
    time. The last attempt's error is raised.
    """
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return work()
        except (IntegrityError, ProgrammingError):
            continue
    return work()
