"""When the rows of a day were made, and by which code: what tells late data and code changes from everything else.

Upstream: the records of materializations. Downstream: ``explaining``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shadow_platform.domain.parity.values import Mask


@dataclass(frozen=True, slots=True)
class Making:
    """What became of the partitions of some rows, relative to the answers that were given.

    Attributes:
        is_late: made, or made again, after the answer.
        is_corrected: made more than once before the answer, so that the online store may hold an earlier version.
        is_recoded: made by more than one version of the code.
        is_recoded_since: made by other code than that in force at the answer.
    """

    is_late: Mask
    is_corrected: Mask
    is_recoded: Mask
    is_recoded_since: Mask


class Partitions:
    """Materializations of one view.

    Args:
        made: ``day, made_at, code_version``, one row a materialization of a day's partition; a day without any was not
            made here, and nothing is concluded from that.
    """

    def __init__(self, made: pd.DataFrame) -> None:
        ordered = made.sort_values("made_at", kind="stable")
        self._made = dict(iter(ordered.groupby("day")))

    def of(self, event_at: pd.Series, logged_at: pd.Series) -> Making:
        """What became of the partitions that hold rows of these times; nothing for NaT."""
        days = event_at.dt.date

        def tell(conclude: Callable[[pd.DataFrame, pd.Series], Mask]) -> Mask:
            told = np.zeros(len(days), dtype=bool)
            for day in set(days.dropna()) & self._made.keys():
                is_of_day = (days == day).to_numpy()
                told[is_of_day] = conclude(self._made[day], logged_at[is_of_day])
            return told

        return Making(
            is_late=tell(lambda made, at: (made["made_at"].iloc[-1] > at).to_numpy()),
            is_corrected=tell(lambda made, at: _n_before(made, at) > 1),
            is_recoded=tell(lambda made, at: np.full(len(at), made["code_version"].nunique() > 1)),
            is_recoded_since=tell(_is_recoded_since),
        )


def _n_before(made: pd.DataFrame, at: pd.Series) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    return np.asarray(made["made_at"].searchsorted(at, side="right"), dtype=np.intp)


def _is_recoded_since(made: pd.DataFrame, at: pd.Series) -> Mask:
    codes, n_before = made["code_version"].to_numpy(), _n_before(made, at)
    return np.asarray((n_before > 0) & (codes[np.maximum(n_before, 1) - 1] != codes[-1]), dtype=bool)
