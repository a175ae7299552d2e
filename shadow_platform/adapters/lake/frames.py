"""Training frames by fingerprint, and the records of how they came about.

Belongs here: which file a frame and its records are, and finding one by the start of its fingerprint. Does not belong
here: what a frame holds, its fingerprint (the training stage). Upstream: ``training_frame``. Downstream: training,
``shadow data pull``, lineage.

A frame's content may come about more than once, of other partitions that hold the same rows. A record is never
replaced: each making of other partitions, as of another time or by other SQL is told beside the ones before, so that
what a version says of its frame stays true.
"""

from pathlib import Path

import pandas as pd
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from shadow_platform.adapters.lake.parquet import read_frame, replaced_by, write_frame, written_or_explained
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.lineage import FrameRecord

LOCK_TIMEOUT_S = 60.0
_RECORDS = TypeAdapter(tuple[FrameRecord, ...])


def write(layout: Layout, use_case: str, frame: pd.DataFrame, record: FrameRecord) -> Path:
    """Path of the frame, kept with its record."""
    path = layout.frame(use_case, record.fingerprint)
    write_frame(path, frame, None, f"frame {record.fingerprint}")
    _add_record(layout, use_case, record)
    return path


def read(layout: Layout, use_case: str, fingerprint: str) -> pd.DataFrame:
    """The frame; raises ``LakeError`` when there is none."""
    path = layout.frame(use_case, fingerprint)
    if not path.exists():
        raise LakeError(
            f"frame {fingerprint!r} of {use_case} does not exist at {path}; bring the file back from a backup, or "
            "materialize training_frame with the same as_of: the same events make the same frame"
        )
    return read_frame([path])


def find(layout: Layout, use_case: str, prefix: str) -> str:
    """The one fingerprint that starts so; raises ``LakeError`` when there is none, or more than one."""
    known = sorted(path.stem for path in layout.frame(use_case, "any").parent.glob("*.parquet"))
    found = [fingerprint for fingerprint in known if fingerprint.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    told = ", ".join(fingerprint[:12] for fingerprint in found or known) or "none"
    what = "more than one frame" if found else "no frame"
    raise LakeError(f"{what} of {use_case} has a fingerprint that starts with {prefix!r}; there are: {told}")


def records(layout: Layout, use_case: str, fingerprint: str) -> tuple[FrameRecord, ...]:
    """How the frame came about, each time, the first first; empty when nobody recorded it."""
    path = layout.frame_record(use_case, fingerprint)
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise LakeError(
            f"{path} cannot be read as the records of a frame ({str(error).splitlines()[0]}); remove it and "
            "materialize training_frame again"
        ) from error


def _add_record(layout: Layout, use_case: str, record: FrameRecord) -> None:
    path = layout.frame_record(use_case, record.fingerprint)
    lock = layout.locks(f"frames/{use_case}")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with written_or_explained(f"record of frame {record.fingerprint}"), FileLock(lock, timeout=LOCK_TIMEOUT_S):
        known = records(layout, use_case, record.fingerprint)
        if any(_told(record) == _told(other) for other in known):
            return
        with replaced_by(path) as beside:
            beside.write_bytes(_RECORDS.dump_json((*known, record), indent=1))


def _told(record: FrameRecord) -> FrameRecord:
    """The record without its partitions, which their fingerprint stands for whenever and by whichever run made."""
    return record.model_copy(update={"partitions": ()})
