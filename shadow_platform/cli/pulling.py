"""Writes a training frame to a file: the very rows a model was trained on, checked against their fingerprint.

Belongs here: finding the frame, telling each row's part, the file formats. Does not belong here: making a frame
(assets). Upstream: registry, bundles, the lake. Downstream: notebooks, spreadsheets, auditors.
"""

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from shadow_platform.adapters.lake.parquet import replaced_by, written_or_explained
from shadow_platform.cli.models.sources import Versions
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.errors import LakeError, RegistryError, ShadowPlatformError
from shadow_platform.contracts.model_card import ModelCard
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource

CONSOLE = Console()
CHUNK_ROWS = 100_000
MIN_FINGERPRINT_DIGITS = 6
PART, GAP = "part", "gap"
Write = Callable[[pd.DataFrame], None]


@dataclass(frozen=True, slots=True)
class FrameToPull:
    """A frame, and the windows by which a training split it."""

    fingerprint: str
    windows: training.Windows


def pull_frame(use_case_name: str, named: str, output: Path) -> None:
    """Write the frame that a version or a fingerprint names, whole or not at all.

    Raises:
        ShadowPlatformError: nothing is named so, the frame is gone or altered, or the file cannot be written.
    """
    writer = FORMATS.get(output.suffix.lower())
    if writer is None:
        raise ShadowPlatformError(f"{output.name}: extension {output.suffix!r} is none of {', '.join(FORMATS)}")
    versions = Versions(use_case_name)
    wanted = _wanted(versions, named)
    frame = verified_frame(versions.platform, versions.use_case, wanted.fingerprint)
    column = _free_name(frame)
    frame[column] = parts_of(frame, wanted.windows)
    _write(frame, output, writer)
    counts = ", ".join(f"{n:,} {part}" for part, n in frame[column].value_counts().items())
    CONSOLE.print(
        f"{output}: {len(frame):,} rows of frame {wanted.fingerprint} (column {column}: {counts})", soft_wrap=True
    )


def _free_name(frame: pd.DataFrame) -> str:
    """Name of the column of parts: ``part``, with as many underscores as keep it apart from the frame's own."""
    name = PART
    while name in frame:
        name += "_"
    return name


def verified_frame(platform: PlatformResource, use_case: UseCase, fingerprint: str) -> pd.DataFrame:
    """The frame with this fingerprint; raises ``LakeError`` when it is gone, or no longer what it was."""
    frame = platform.lake().read_frame(use_case, fingerprint)
    found = training.frame_fingerprint(frame)
    if found != fingerprint:
        raise LakeError(
            f"frame {fingerprint} of {use_case.name} was altered: its content has fingerprint {found}; bring it back "
            "from a backup, or materialize training_frame with the same as_of"
        )
    return frame


def parts_of(frame: pd.DataFrame, windows: training.Windows) -> "pd.Series[Any]":
    """Part of each row: fit, calibration, evaluation, hidden (it has no label), or gap (it was left out)."""
    part = training.parts_of_rows(frame, windows)
    return pd.Series(part, index=frame.index, dtype=object).replace("", GAP)


def _wanted(versions: Versions, named: str) -> FrameToPull:
    """A version if there is one of that name, else the frame whose fingerprint starts so."""
    try:
        summary = versions.summary(named)
    except RegistryError as error:
        if not _is_fingerprint(named):
            raise RegistryError(
                f"{error}; a frame is named by {MIN_FINGERPRINT_DIGITS} or more digits of its fingerprint"
            ) from error
        return _by_fingerprint(versions.platform, versions.use_case, named)
    bundle = versions.platform.bundle(versions.use_case, str(summary.version))
    return FrameToPull(
        bundle.manifest.fingerprints["data"], windows_of(versions.use_case, bundle.manifest, bundle.card())
    )


def _is_fingerprint(named: str) -> bool:
    return len(named) >= MIN_FINGERPRINT_DIGITS and not set(named.lower()) - set("0123456789abcdef")


def _by_fingerprint(platform: PlatformResource, use_case: UseCase, prefix: str) -> FrameToPull:
    fingerprint = platform.lake().find_frame(use_case, prefix)
    record = platform.lake().frame_record(use_case, fingerprint)
    if record is None:
        raise LakeError(
            f"nobody recorded as of when frame {fingerprint} was made, so its parts cannot be told; "
            "pull it by a version that was trained on it"
        )
    windows = training.windows(use_case.training, use_case.label.horizon, record.as_of)
    return FrameToPull(fingerprint, windows)


def windows_of(use_case: UseCase, manifest: BundleManifest, card: ModelCard | None) -> training.Windows:
    """Windows by which a version split its frame, whatever the policy says today.

    Raises:
        ShadowPlatformError: its bundle has no card to tell, and the policy was changed since.
    """
    if card is not None:
        told = {part.name: training.Window(part.start, part.end) for part in card.parts}
        fit, calibration, evaluation = (told[name] for name in training.PARTS)
        return training.Windows(fit, calibration, evaluation, gap=calibration.start - fit.end)
    windows = training.windows(use_case.training, use_case.label.horizon, manifest.trained_as_of)
    if (windows.evaluation.start, windows.evaluation.end) != (manifest.evaluation_start, manifest.evaluation_end):
        raise ShadowPlatformError(
            f"the training policy of {use_case.name} was changed since, and the bundle has no card that tells the "
            f"windows of then; pull the frame by its fingerprint {manifest.fingerprints['data'][:12]} to split it by "
            "the policy of today"
        )
    return windows


def _write(frame: pd.DataFrame, output: Path, writer: "Writer") -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} rows"))
    with (
        Progress(*columns, TimeElapsedColumn(), console=CONSOLE, transient=True) as progress,
        written_or_explained(str(output)),
        replaced_by(output) as beside,
        writer(beside, frame) as write,
    ):
        task = progress.add_task(output.name, total=len(frame))
        for start in range(0, len(frame), CHUNK_ROWS):
            chunk = frame.iloc[start : start + CHUNK_ROWS]
            write(chunk)
            progress.advance(task, len(chunk))


@contextmanager
def _parquet(path: Path, frame: pd.DataFrame) -> Iterator[Write]:
    schema = pa.Table.from_pandas(frame, preserve_index=False).schema.remove_metadata()
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        yield lambda chunk: file.write_table(pa.Table.from_pandas(chunk, schema, preserve_index=False))


@contextmanager
def _csv(path: Path, frame: pd.DataFrame) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(frame.columns)
        yield lambda chunk: rows.writerows(_texts(chunk).itertuples(index=False, name=None))


@contextmanager
def _json_lines(path: Path, frame: pd.DataFrame) -> Iterator[Write]:
    names = list(frame.columns)
    with path.open("wb") as file:
        yield lambda chunk: file.writelines(
            orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
            for row in _texts(chunk).itertuples(index=False, name=None)
        )


def _texts(chunk: pd.DataFrame) -> pd.DataFrame:
    """Rows of plain Python values; times as RFC 3339, nothing as None. Floats keep every digit."""
    plain = {}
    for name, column in chunk.items():
        is_time = isinstance(column.dtype, pd.DatetimeTZDtype)
        values = column.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if is_time else column
        plain[name] = values.astype(object).where(values.notna(), None)
    return pd.DataFrame(plain)


Writer = Callable[[Path, pd.DataFrame], AbstractContextManager[Write]]
FORMATS: dict[str, Writer] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".pq": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
