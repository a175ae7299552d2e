"""The verdict on two files: value by value when they are small, by profiles of streamed batches when they are not.

Belongs here: which of the two, and in how many passes. Does not belong here: any statistic (domain.drift). Upstream:
files, columns. Downstream: the command.

Of a large pair the reference is read twice: every k-th row fixes the cells, then all rows are counted in them; the
current file is read once. No more than a batch and the sample are in memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shadow_platform.cli.drift.columns import Columns, Extent, columns_of, expressions, extent_of, with_foreign_values
from shadow_platform.cli.drift.config import FilesConfig
from shadow_platform.cli.drift.files import DataFile, open_file
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.monitoring_verdicts import DriftReference, DriftVerdict
from shadow_platform.contracts.policies import DriftPolicy

if TYPE_CHECKING:
    import pandas as pd

    from shadow_platform.domain.drift.grid import Grid
    from shadow_platform.domain.drift.profiles import Profiles

Advance = Callable[[int], None]
Progress = Callable[[str, int | None], Advance]
USE_CASE = "files"
SAMPLE_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Side:
    """One file, ready to be read.

    Attributes:
        simulate: deviations by which its rows are shifted.
    """

    file: DataFile
    extent: Extent
    expressions: Mapping[str, str]
    simulate: float = 0.0

    def batches(self) -> "Iterator[pd.DataFrame]":
        """All rows, a part at a time; each part is shifted by its own deviations."""
        from shadow_platform.domain.drift import simulate_drift

        for batch in self.file.batches(self.expressions):
            frame = with_foreign_values(batch)
            yield simulate_drift(frame, self.simulate) if self.simulate else frame

    def sample(self, at_most: int = SAMPLE_ROWS) -> "pd.DataFrame":
        """All rows, or of more than ``at_most`` every k-th."""
        import pandas as pd

        step = max(1, -(-self.extent.n_rows // max(at_most, 1)))
        kept, position = [], 0
        for batch in self.batches():
            kept.append(batch.iloc[-position % step :: step])
            position += len(batch)
        return pd.concat(kept, ignore_index=True)

    def counted(self, grid: "Grid", advance: Advance) -> "Profiles":
        """All rows, counted by day in the cells of a grid."""
        from shadow_platform.domain.drift.profiles import empty_profiles, profiles_of

        counted = empty_profiles(grid)
        for batch in self.batches():
            counted = counted + profiles_of(batch, grid).by_day()
            advance(len(batch))
        return counted


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict on two files, and what it rests on."""

    verdict: DriftVerdict
    columns: Columns
    reference: Side
    current: Side


def compare(reference: Path, current: Path, config: FilesConfig, simulate: float, progress: Progress) -> Comparison:
    """Verdict on two files.

    Args:
        simulate: deviations by which the current file is shifted first.
        progress: told of each part of the work and its rows, returns what is to be told of rows done.

    Raises:
        ShadowPlatformError: a file cannot be read, or the two have no column in common.
    """
    progress("looking at both files", None)
    before_file, after_file = open_file(reference), open_file(current)
    columns = columns_of(before_file, config)
    _require_common(before_file, after_file, columns)
    before, after = (
        Side(file, extent_of(file, config), expressions(file, columns, config), shift)
        for file, shift in ((before_file, 0.0), (after_file, simulate))
    )
    is_small = max(before.extent.n_rows, after.extent.n_rows) <= config.policy.exact_rows
    judge = _by_value if is_small else _by_profiles
    return Comparison(judge(before, after, columns, config.policy, progress), columns, before, after)


def _require_common(before: DataFile, after: DataFile, columns: Columns) -> None:
    names = [feature.name for feature in columns.features]
    if not any(name in after.types for name in names):
        raise ShadowPlatformError(
            f"{after.path} has none of the columns of {before.path}: it has {', '.join(after.types)}; expected "
            f"{', '.join(names)}"
        )


def _by_value(before: Side, after: Side, columns: Columns, policy: DriftPolicy, progress: Progress) -> DriftVerdict:
    from shadow_platform.domain.drift import evaluate_drift

    progress("comparing value by value", None)
    frames, span = (_all(before), _all(after)), (after.extent.start, after.extent.end)
    return evaluate_drift(USE_CASE, columns.features, *frames, policy, *span, _origin(before))


def _by_profiles(before: Side, after: Side, columns: Columns, policy: DriftPolicy, progress: Progress) -> DriftVerdict:
    from shadow_platform.domain.drift.grid import reference_grid
    from shadow_platform.domain.drift.verdict import evaluate_profiles

    progress("fixing cells at quantiles of the reference", None)
    grid = reference_grid(columns.features, before.sample(), policy)
    known, counted = (
        side.counted(grid, progress(f"counting {side.file.path.name}", side.extent.n_rows)) for side in (before, after)
    )
    progress("comparing counts", None)
    span = after.extent.start, after.extent.end
    return evaluate_profiles(USE_CASE, columns.features, known, counted, policy, *span, _origin(before))


def _all(side: Side) -> "pd.DataFrame":
    return side.sample(side.extent.n_rows)


def _origin(before: Side) -> DriftReference:
    return DriftReference(kind="frozen", fingerprint=before.file.digest())
