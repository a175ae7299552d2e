"""``warehouse.duckdb``: a file of commented views over the tables' Parquet files, for analysts and auditors.

No process of the platform ever holds it open for writing: it is built beside its place and moved there, so that a
client who keeps it open blocks nobody and is blocked by nobody. Does not belong here: rows.
Upstream: table schemas, Parquet files. Downstream: any DuckDB client.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from shadow_platform.adapters.lake.parquet import files_relation, identifier, literal, new_database, replaced_by
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import TableSchema

# Readable by DuckDB clients from 1.4 on.
STORAGE_VERSION = "v1.4.0"
PARTITIONS = "use_case=*/dt=*/data.parquet"


def partitions(layout: Layout, schemas: Sequence[TableSchema]) -> list[Path]:
    """Files behind the views of some tables, in order."""
    return sorted(path for schema in schemas for path in (layout.tables / schema.name).glob(PARTITIONS))


def table_view(layout: Layout, schema: TableSchema) -> str:
    """SQL over every partition of every use case of a table; zero rows of the right types while there is none."""
    folder = layout.tables / schema.name
    files = [folder / PARTITIONS] if next(folder.glob(PARTITIONS), None) is not None else []
    return files_relation(files, {column.name: column.type for column in schema.columns})


def create_views(
    con: duckdb.DuckDBPyConnection, layout: Layout, schemas: Sequence[TableSchema], catalog: str | None = None
) -> None:
    """Create one view a table, in ``catalog`` or for the session alone."""
    target = f"VIEW {identifier(catalog)}.main." if catalog else "TEMP VIEW "
    for schema in schemas:
        con.execute(f"CREATE {target}{identifier(schema.name)} AS {table_view(layout, schema)}")


def publish(layout: Layout, schemas: Sequence[TableSchema]) -> None:
    """Replace ``warehouse.duckdb`` by views over the files that now exist.

    Raises:
        LakeError: a Parquet file is corrupt, or the file cannot be written; the old warehouse then stays.
    """
    try:
        with replaced_by(layout.warehouse) as beside, new_database() as con:
            con.execute(f"ATTACH {literal(str(beside))} AS built (STORAGE_VERSION {literal(STORAGE_VERSION)})")
            create_views(con, layout, schemas, "built")
            for schema in schemas:
                _comment(con, schema)
            con.execute("DETACH built")
            beside.chmod(0o444)
    except (duckdb.Error, OSError) as error:
        raise LakeError(
            f"{layout.warehouse} could not be published, the former one stands: {error}; "
            "if a Parquet file is named, delete it and materialize its partition again"
        ) from error


def _comment(con: duckdb.DuckDBPyConnection, schema: TableSchema) -> None:
    view = f"built.main.{identifier(schema.name)}"
    note = f"{schema.grain}; key: {', '.join(schema.key)}; partitioned by the UTC day of {schema.time_column}"
    con.execute(f"COMMENT ON VIEW {view} IS {literal(note)}")
    for column in schema.columns:
        con.execute(f"COMMENT ON COLUMN {view}.{identifier(column.name)} IS {literal(column.comment)}")
