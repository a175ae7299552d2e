"""What a table is: columns with types and comments, a grain, a key, a day.

Upstream: nothing. Downstream: every table.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: DuckDB type and comment."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table: ``time_column`` decides the daily partition a row lies in; ``key`` is unique."""

    name: str
    grain: str
    time_column: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(column.name for column in self.columns)


def columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    """``use_case`` and what the table adds: name, DuckDB type, comment."""
    return (Column("use_case", "VARCHAR", "use case the row belongs to"), *(Column(*row) for row in rows))
