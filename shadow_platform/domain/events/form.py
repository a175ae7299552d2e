"""What the rows of an event kind must look like, read from its schema once.

Belongs here: the JSON type of every column, and what is left for the schema to check once types are right. Does not
belong here: looking at rows. Upstream: the event kind. Downstream: decoding, rules.
"""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from shadow_platform.contracts.use_case import EventKind


@dataclass(frozen=True, slots=True)
class JsonType:
    """A JSON type that a column takes: the Python types it decodes to, and its words in a reason."""

    python: frozenset[type]
    expected: str
    arrow: pa.DataType


NUMBER = JsonType(frozenset({int, float}), "a number", pa.float64())
INTEGER = JsonType(frozenset({int}), "a whole number", pa.int64())
BOOLEAN = JsonType(frozenset({bool}), "true or false", pa.bool_())
TEXT = JsonType(frozenset({str}), "a string", pa.string())
TIME = JsonType(frozenset({str}), "an RFC 3339 time with its offset from UTC", pa.string())
_BY_PREFIX = {"datetime": TIME, "float": NUMBER, "bool": BOOLEAN, "int": INTEGER, "uint": INTEGER}
# Decoding gives these itself, so that the schema need neither convert nor check them again.
_DECODED = frozenset({"float64", "int64", "bool", "str", "datetime64[us, UTC]"})
_NO_NULL = frozenset({"int64", "bool"})


@dataclass(frozen=True, slots=True)
class RowForm:
    """The form of a kind's rows.

    Attributes:
        json_types: JSON type of every column, in the schema's order.
        decoded: columns whose dtype decoding gives.
        filled: columns of dtypes that cannot hold a null.
        arrow: schema of the raw objects, ``schema_version`` included.
        checks: the kind's schema without what decoding has already done.
        patterns: regular expressions of text columns that the schema checks value by value.
        other_checks: ``checks`` without the patterns.
    """

    kind: EventKind
    json_types: dict[str, JsonType]
    decoded: frozenset[str]
    filled: frozenset[str]
    arrow: pa.Schema
    checks: Any
    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    other_checks: Any

    @classmethod
    def of(cls, kind: EventKind) -> "RowForm":
        """The form of a kind."""
        dtypes = {name: str(column.dtype) for name, column in kind.schema.columns.items()}
        json_types = {name: _json_type(dtype) for name, dtype in dtypes.items()}
        decoded = frozenset(name for name, dtype in dtypes.items() if dtype in _DECODED)
        fields = [(name, json_type.arrow) for name, json_type in json_types.items()]
        checks = kind.schema.update_columns({name: {"dtype": None, "coerce": False} for name in decoded})
        by_column = {name: checks.columns[name].checks for name in decoded if json_types[name] is TEXT}
        others = {name: [c for c in column if not _is_pattern(c)] for name, column in by_column.items()}
        return cls(
            kind=kind,
            json_types=json_types,
            decoded=decoded,
            filled=frozenset(name for name, dtype in dtypes.items() if dtype in _NO_NULL),
            arrow=pa.schema([*fields, ("schema_version", pa.int64())]),
            checks=checks,
            patterns=tuple(
                (name, re.compile(check.statistics["pattern"]))
                for name, column in by_column.items()
                for check in column
                if _is_pattern(check)
            ),
            other_checks=checks.update_columns({name: {"checks": column} for name, column in others.items()}),
        )

    def checks_for(self, frame: pd.DataFrame) -> Any:
        """What is left to check of a frame: all, unless every distinct text matches its pattern.

        The schema matches every value, repeated or not, which takes two thirds of the time of the whole stage.
        """
        is_matched = all(all(map(p.match, frame[name].dropna().unique())) for name, p in self.patterns)
        return self.other_checks if is_matched else self.checks


def _is_pattern(check: Any) -> bool:
    return check.name == "str_matches" and check.ignore_na and not check.raise_warning


def _json_type(dtype: str) -> JsonType:
    lowered = dtype.lower()
    return next((found for prefix, found in _BY_PREFIX.items() if lowered.startswith(prefix)), TEXT)
