"""Events from files that somebody exported: CSV, Parquet or JSON lines become raw rows without a line of code.

``reading`` knows the formats, ``values`` what JSON holds, ``source`` places rows on their days, ``spool`` keeps them
there until they are asked for: memory is bounded by a day's rows, whatever the size of the file. Does not belong here:
judging a value; what does not convert stays as it was written, and a row that is none is handed on as it stands, so
that the events stage puts both into quarantine with the reason. Upstream: files, event schemas. Downstream: use cases
whose events lie in files.
"""

from shadow_platform.use_case_kit.files.source import EventFile, FileSource

__all__ = ["EventFile", "FileSource"]
