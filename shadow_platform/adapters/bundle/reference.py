"""The frozen reference of a bundle, read without trusting the file.

Belongs here: Parquet to a frame. Does not belong here: what drift makes of it. Upstream: ``writing``. Downstream:
``Bundle.reference``.
"""

from pathlib import Path

import pandas as pd

from shadow_platform.contracts.errors import BundleError

ARROW_NOTE, UNREAD_NOTE = b"ARROW:schema", b"ARROW:unread"
FOOTER_END = 8  # length of the footer (four bytes), then PAR1


def read_reference(path: Path) -> pd.DataFrame:
    """Frame of the Parquet columns by their Parquet types; raises ``BundleError`` if they cannot be read.

    What Arrow and pandas noted of themselves in the file is left unread. Arrow would hand the bytes of an extension
    type to whatever some package registered under its name, as soon as it opens the file, and such code has unpickled
    them before (CVE-2023-47248).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        start = len(content) - FOOTER_END - int.from_bytes(content[-FOOTER_END:-4], "little")
        footer = content[max(start, 0) :].replace(ARROW_NOTE, UNREAD_NOTE)
        table = pq.read_table(pa.BufferReader(content[: max(start, 0)] + footer))
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise BundleError(f"{path} cannot be read ({error}); fetch the bundle again") from error
    return frame
