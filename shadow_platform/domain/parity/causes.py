"""Why a served value is not the one that training computes for the request.

Belongs here: the causes, and what each of them asks for. Does not belong here: finding them. Downstream: the other
files of the stage, the check's description, the page docs/feature-parity.md.
"""

from collections.abc import Mapping
from enum import StrEnum


class Cause(StrEnum):
    """What a comparison of one served value ends with; each value has exactly one."""

    SAME = "same"
    IN_TRANSIT = "in_transit"
    STALE_ONLINE = "stale_online"
    LATE_DATA = "late_data"
    CODE_CHANGE = "code_change"
    TIME_SHIFT = "time_shift"
    EXPIRED = "expired"
    NULL_FILLED = "null_filled"
    DEFAULT_USED = "default_used"
    DERIVED_DIFFERS = "derived_differs"
    UNEXPLAINED = "unexplained"


CAUSES = tuple(Cause)
NOT_COMPARED = -1


def code(cause: Cause) -> int:
    """Place of a cause in ``CAUSES``: millions of causes are kept as small integers."""
    return CAUSES.index(cause)


EXPECTED = frozenset({Cause.SAME, Cause.IN_TRANSIT})
"""No fault: a row takes its time from being made to being online."""

MEANING: Mapping[Cause, str] = {
    Cause.SAME: "the value is the one that training computes",
    Cause.IN_TRANSIT: "a newer row had been made, too short a time ago to be online",
    Cause.STALE_ONLINE: "a newer row had been due online: look at the last runs of online_features, or at the stream",
    Cause.LATE_DATA: "the row that training finds was made after the answer: look at what came late, then train again",
    Cause.CODE_CHANGE: "the view's SQL has changed since the served row was made: materialize it online, train again",
    Cause.TIME_SHIFT: "served rows carry the time of another row: correct the time zone of whatever writes them",
    Cause.EXPIRED: "the service took another time to live than is declared now: deploy one definition everywhere",
    Cause.NULL_FILLED: "a constant was served where there is no value: take the filling out, the model imputes",
    Cause.DEFAULT_USED: "nothing was read though a row had been due online: materialize online_features, ask the store",
    Cause.DERIVED_DIFFERS: "the derivation gives another value for the same inputs: deploy one definition everywhere",
    Cause.UNEXPLAINED: "no evidence names a cause: compare the example with the rows of its entity",
}
"""What each cause means, and what to do."""
