"""Which columns of two files are features, of which kind, and how each is read.

Belongs here: kinds by type, names of rows left out, casts. Does not belong here: reading (``files``), comparing.
Upstream: files, the configuration. Downstream: ``comparing``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shadow_platform.cli.drift.config import FilesConfig
from shadow_platform.cli.drift.files import UNTYPED, DataFile, quoted
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.use_case import Feature, FeatureKind

if TYPE_CHECKING:
    import pandas as pd

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
PLAIN = (*WHOLE, "FLOAT", "DOUBLE", "BOOLEAN")
NUMBERS = (*PLAIN, "HUGEINT", "UHUGEINT", "DECIMAL", '"NULL"')
TEXTS = ("VARCHAR", "ENUM", "UUID", UNTYPED)
RESERVED = ("requested_at", "score", "weight")
TIMES = ("TIMESTAMP", "DATE", "VARCHAR", UNTYPED)
# Text that hardly repeats is a name of the row, and every new row brings a new one.
MAX_DISTINCT_SHARE, MIN_VALUES = 0.5, 100
FOREIGN = "not a number: "


@dataclass(frozen=True, slots=True)
class Columns:
    """What of the reference is compared.

    Attributes:
        left_out: column -> why.
    """

    features: tuple[Feature, ...]
    left_out: dict[str, str]


def columns_of(reference: DataFile, config: FilesConfig) -> Columns:
    """Every column of the reference as a feature, except those of special meaning and those that cannot be compared.

    Raises:
        ShadowPlatformError: the configuration names a column that is not there or not compared, or none is left.
    """
    _require_columns(reference, config)
    kinds: dict[str, FeatureKind] = {}
    left_out: dict[str, str] = {}
    for name, kind in _kinds(reference, config).items():
        if kind in ("numeric", "categorical"):
            kinds[name] = kind  # type: ignore[assignment]
        else:
            left_out[name] = kind if name in RESERVED else f"{kind}; to compare it, give its kind in --config"
    if not kinds:
        raise ShadowPlatformError(f"{reference.path} has no column to compare: {left_out or list(reference.types)}")
    counts = config.monitored
    for name in counts or ():
        if name not in kinds:
            reason = left_out.get(name, "is the time, the score or the weight")
            raise ShadowPlatformError(f"monitored: {name!r} of {reference.path} is not compared: it {reason}")
    return Columns(
        tuple(
            Feature(name, f"column {name}", kind, is_monitored=counts is None or name in counts)
            for name, kind in kinds.items()
        ),
        left_out,
    )


def expressions(file: DataFile, columns: Columns, config: FilesConfig) -> dict[str, str]:
    """Column as the platform knows it -> SQL that reads it from the file; columns the file lacks are left out."""
    read: dict[str, str] = {}
    for feature in columns.features:
        if feature.name in file.types:
            read |= _cast(feature.name, feature.name, file.types[feature.name], feature.kind)
    for name, known in config.special.items():
        if name not in file.types:
            continue
        read |= (
            {known: _time(file, name)} if known == "requested_at" else _cast(name, known, file.types[name], "numeric")
        )
    return read


def with_foreign_values(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The frame with a text in place of every value that should have been a number."""
    marks = [name for name in frame.columns if name.startswith(FOREIGN)]
    for mark in marks:
        wrong = frame[mark].to_numpy(dtype=bool, na_value=False)
        if wrong.any():
            name = mark.removeprefix(FOREIGN)
            frame[name] = frame[name].astype(object).mask(wrong, "not a number")
    return frame.drop(columns=marks)


@dataclass(frozen=True, slots=True)
class Extent:
    """Rows of a file, and when the first and the last happened; the epoch without times."""

    n_rows: int
    start: datetime
    end: datetime


def extent_of(file: DataFile, config: FilesConfig) -> Extent:
    """Rows and times.

    Raises:
        ShadowPlatformError: a row has no time although the file has times, a score is text, or a weight is no weight.
    """
    epoch, name = datetime(1970, 1, 1, tzinfo=UTC), config.time_column
    at = _time(file, name) if name in file.types else None
    if at is not None and not file.types[name].startswith(TIMES):
        raise ShadowPlatformError(
            f"{file.path}: column {name!r} is of type {file.types[name]}; expected times, or another time_column"
        )
    times = {"timed": f"count({at})", "first": f"epoch_us(min({at}))", "last": f"epoch_us(max({at}))"} if at else {}
    found = file.totals({"n": "count(*)"} | times | _faults(file, config))
    _refuse_faults(file, config, found)
    if at is None:
        return Extent(found["n"], epoch, epoch)
    if found["timed"] < found["n"]:
        raise ShadowPlatformError(
            f"{file.path}: {found['n'] - found['timed']:,} of {found['n']:,} rows have no readable time in {name!r}; "
            "expected one like 2024-05-01T12:00:00Z in every row, or none in any"
        )
    first, last = (epoch + timedelta(microseconds=found[moment]) for moment in ("first", "last"))
    return Extent(found["n"], first, last + timedelta(microseconds=1) if found["n"] else last)


def _faults(file: DataFile, config: FilesConfig) -> dict[str, str]:
    """SQL that counts scores that are text, weights that are none, and weights above 0."""
    counted: dict[str, str] = {}
    if config.score_column in file.types:
        score = quoted(config.score_column)
        counted["worded"] = f"count({score}) - count({_double(file, config.score_column)})"
    if config.weight_column in file.types:
        weight = _double(file, config.weight_column)
        counted["unweighted"] = f"count(*) - count(*) FILTER (isfinite({weight}) AND {weight} >= 0)"
        counted["weighted"] = f"count(*) FILTER ({weight} > 0)"
    return counted


def _refuse_faults(file: DataFile, config: FilesConfig, found: Mapping[str, int]) -> None:
    n, score, weight = f"{found['n']:,}", config.score_column, config.weight_column
    if found.get("worded"):
        raise ShadowPlatformError(
            f"{file.path}: {found['worded']:,} of {n} rows have text in the score column {score!r}; expected the "
            "model's probability or nothing, or another score_column"
        )
    if found.get("unweighted"):
        raise ShadowPlatformError(
            f"{file.path}: {found['unweighted']:,} of {n} rows have no weight in {weight!r}; expected a finite number "
            "of at least 0 in every row, or another weight_column"
        )
    if found["n"] and found.get("weighted") == 0:
        raise ShadowPlatformError(f"{file.path}: all {n} weights in {weight!r} are 0; expected one above 0")


def _require_columns(reference: DataFile, config: FilesConfig) -> None:
    for field, names in (("kinds", config.kinds), ("monitored", config.monitored or ())):
        for name in names:
            if name not in reference.types:
                known = ", ".join(reference.types)
                raise ShadowPlatformError(
                    f"{field}: {name!r} is no column of {reference.path}; expected one of {known}"
                )


def _kinds(reference: DataFile, config: FilesConfig) -> dict[str, str]:
    """Column -> its kind, or why it has none."""
    candidates = [name for name in reference.types if name not in config.special]
    kind_of = {name: _base(reference.types[name]) for name in candidates}
    asked = [name for name in candidates if name not in config.kinds and kind_of[name] in TEXTS]
    aggregates: dict[str, str] = {}
    for place, name in enumerate(asked):
        column = quoted(name)
        aggregates |= {f"n{place}": f"count({column})", f"distinct{place}": f"approx_count_distinct({column})"}
        aggregates[f"numbers{place}"] = f"count({_number(column)})" if reference.types[name] == UNTYPED else "0"
    totals = reference.totals(aggregates) if aggregates else {}
    kinds: dict[str, str] = {}
    for name in candidates:
        if name in RESERVED:
            kinds[name] = "has a name that means something else here"
        elif name in config.kinds:
            kinds[name] = config.kinds[name]
        elif name in asked:
            place = asked.index(name)
            kinds[name] = _kind_of_text(*(totals[f"{of}{place}"] for of in ("n", "numbers", "distinct")))
            if reference.types[name] != UNTYPED and not totals[f"n{place}"]:
                kinds[name] = "categorical"
        else:
            kinds[name] = "numeric" if kind_of[name] in NUMBERS else f"is of type {reference.types[name]}"
    return kinds


def _kind_of_text(n: int, numbers: int, distinct: int) -> str:
    if numbers == n:
        return "numeric"
    if n >= MIN_VALUES and distinct > MAX_DISTINCT_SHARE * n:
        return f"seems to name its rows (about {distinct:,} different texts in {n:,} rows)"
    return "categorical"


def _base(type_name: str) -> str:
    """A type without its parameters; nested types stay as they are."""
    return type_name if type_name.endswith("]") else type_name.partition("(")[0]


# DuckDB casts a bare column while it reads a CSV, and then a wrong value is an error in spite of TRY: hence trim.
def _number(column: str) -> str:
    truth = f"CASE lower(trim({column})) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 END"
    return f"coalesce(TRY_CAST(trim({column}) AS DOUBLE), {truth})"


def _double(file: DataFile, name: str) -> str:
    """A column as numbers, null where it holds anything else."""
    column, base = quoted(name), _base(file.types[name])
    if base == UNTYPED:
        return _number(column)
    return f"CAST({column} AS DOUBLE)" if base in NUMBERS else "CAST(NULL AS DOUBLE)"


def _time(file: DataFile, name: str) -> str:
    text = f"trim({quoted(name)})" if _base(file.types[name]) in TEXTS else quoted(name)
    return f"TRY_CAST({text} AS TIMESTAMPTZ)"


def _cast(name: str, known: str, type_name: str, kind: FeatureKind) -> dict[str, str]:
    column, base = quoted(name), _base(type_name)
    if kind == "categorical":
        return {known: column if base in PLAIN else f"CAST({column} AS VARCHAR)"}
    if base == UNTYPED:
        number = _number(column)
        return {known: number, FOREIGN + known: f"{column} IS NOT NULL AND {number} IS NULL"}
    return {known: f"CAST({column} AS {'DOUBLE' if base in NUMBERS else 'VARCHAR'})"}
