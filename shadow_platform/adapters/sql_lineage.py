"""Columns of events behind the columns of a query, read from its SQL with sqlglot.

Belongs here: following a column through common table expressions, unions and windows. Does not belong here: running
SQL (the lake). Upstream: a view's SQL, its event kinds. Downstream: ``dagster/column_lineage`` of feature assets.

What a value is made of counts, ordering included; what merely selects rows (joins, conditions) does not. A count of
rows is made of their keys. Names are compared without regard to case, as in DuckDB. Two things that sqlglot does not
follow are put right here: it matches the columns of a ``UNION ALL BY NAME`` by place, and it does not look into a whole
row that is handled as a value. Of a column whose name only running the SQL gives (``COLUMNS``, ``PIVOT``, a struct that
is unnested), nothing is said.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

LOGGER = logging.getLogger(__name__)

Columns = Mapping[str, Sequence[str]]
Found = set[tuple[str, str]]


def column_lineage(
    sql: str, names: Sequence[str], columns: Columns, keys: Columns
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Table and column of all that each named column of the result is made of, in order.

    A column that cannot be followed is absent, and logged: lineage is told of rows that have been written.

    Args:
        columns: of every table the query may read.
        keys: columns of every table that identify its rows.
    """
    frozen = tuple((table, tuple(columns[table]), tuple(keys[table])) for table in columns)
    return _lineage(sql, tuple(names), frozen)


@lru_cache(maxsize=64)
def _lineage(
    sql: str, names: tuple[str, ...], tables: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
) -> dict[str, tuple[tuple[str, str], ...]]:
    import sqlglot
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage

    schema: dict[str, Any] = {table: dict.fromkeys(columns, "VARCHAR") for table, columns, _ in tables}
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    try:
        query = _with_unions_by_place(sqlglot.parse_one(sql, dialect="duckdb"))
        behind = _Behind(query, schema, {table: key for table, _, key in tables})
        roots = {name.lower(): root for name, root in lineage(None, query, schema=schema, dialect="duckdb").items()}
        found = {name: tuple(sorted(behind.of(roots[name.lower()]))) for name in names if name.lower() in roots}
    # sqlglot meets what it does not know with any of these.
    except (SqlglotError, LookupError, ValueError, AttributeError, TypeError) as error:
        LOGGER.warning("no lineage of columns %s: %s", list(names), error)
        return {}
    if unknown := [name for name in names if name not in found]:
        LOGGER.warning("no lineage of columns %s: their names are not in the SQL", unknown)
    return found


class _Behind:
    """What lies behind one column of a result."""

    def __init__(self, query: Any, schema: Mapping[str, Mapping[str, str]], keys: Mapping[str, Sequence[str]]) -> None:
        self._query, self._keys = query, keys
        self._tables_by_name = {table.lower(): table for table in schema}
        self._columns = {table: {column.lower(): column for column in columns} for table, columns in schema.items()}

    def of(self, root: Any) -> Found:
        """Tables and columns behind the root node of a lineage."""
        found: Found = set()
        for node in root.walk():
            found |= self._fields_of_rows(node, root)
            if not node.downstream:
                found |= self._leaf(node)
        return found

    def _leaf(self, node: Any) -> Found:
        from sqlglot import exp

        if isinstance(node.source, exp.Table):
            table = self._tables_by_name.get(node.source.name.lower(), "")
            column = self._columns.get(table, {}).get(node.name.rpartition(".")[2].strip('"').lower())
            return {(table, column)} if column else set()
        if node.expression.unalias() in (exp.null(), exp.Literal.number(0)):
            return set()
        return {(table, column) for table in set(self._tables(node.source, set())) for column in self._keys[table]}

    def _fields_of_rows(self, node: Any, root: Any) -> Found:
        """Fields that the result takes out of whole rows which the node handles as values."""
        from sqlglot import exp

        rows = {row.name.lower() for row in node.expression.find_all(exp.TableColumn)} & self._tables_by_name.keys()
        named = {identifier.name.lower() for identifier in root.expression.unalias().find_all(exp.Identifier)}
        tables = [self._tables_by_name[row] for row in rows]
        return {(table, self._columns[table][name]) for table in tables for name in named & self._columns[table].keys()}

    def _tables(self, source: Any, seen: set[str]) -> Iterator[str]:
        """Tables that a query reads, through common table expressions."""
        from sqlglot import exp

        for table in source.find_all(exp.Table):
            if table.name.lower() in self._tables_by_name:
                yield self._tables_by_name[table.name.lower()]
            elif table.name not in seen:
                behind = [cte.this for cte in self._query.find_all(exp.CTE) if cte.alias == table.name]
                for query in behind:
                    yield from self._tables(query, seen | {table.name})


def _with_unions_by_place(query: Any) -> Any:
    """The query with every union by name written as one by place."""
    from sqlglot import exp

    for union in list(query.find_all(exp.SetOperation)):
        if union.args.get("by_name") and not isinstance(union.parent, exp.SetOperation):
            _pad(union, list(dict.fromkeys(_names(union))))
    return query


def _names(query: Any) -> Iterator[str]:
    from sqlglot import exp

    if isinstance(query, exp.SetOperation):
        yield from _names(query.this)
        yield from _names(query.expression)
    else:
        yield from query.unnest().named_selects


def _pad(query: Any, names: Sequence[str]) -> None:
    """Let every branch select all names in one order; what it does not have is null there."""
    from sqlglot import exp

    if isinstance(query, exp.SetOperation):
        query.set("by_name", None)
        _pad(query.this, names)
        _pad(query.expression, names)
    else:
        select: exp.Select = query.unnest()
        own = {column.alias_or_name: column for column in select.selects}
        select.set("expressions", [own.get(name) or exp.alias_(exp.null(), name) for name in names])
