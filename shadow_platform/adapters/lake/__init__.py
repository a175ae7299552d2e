"""The lake: events, features and published tables as Parquet files, read and written through DuckDB.

``store`` holds the entry class, ``parquet`` the typed and atomic file access, ``log_tables`` the way from append-only
log to table, ``warehouse`` the file of views that analysts open. Does not belong here: what the rows mean.
Upstream: contracts. Downstream: resources, and through them every asset.
"""

from shadow_platform.adapters.lake.store import Lake

__all__ = ["Lake"]
