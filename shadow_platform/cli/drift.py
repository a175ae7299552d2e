"""``shadow drift``: the verdict on two files, for cron and continuous integration.

Upstream: two files of feature rows. Downstream: an exit code, a text, a JSON verdict. The same code as the asset.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.use_case import DriftPolicy, Feature, FeatureKind
from shadow_platform.contracts.verdicts import DriftVerdict, Outcome
from shadow_platform.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd

EXIT_CODES = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INSUFFICIENT: 2}
RESERVED = ("score", "requested_at")


def compare_files(
    reference: Path | None,
    current: Path | None,
    threshold: float | None,
    simulate: float,
    output: Path | None,
) -> int:
    """Print the verdict, write it to ``output`` if given, and return the exit code: 0 pass, 1 fail, 2 cannot tell.

    Columns of the reference are features, numeric or categorical by their type; ``score`` and ``requested_at`` (UTC,
    without which rows count as independent) have their own meaning. ``simulate`` shifts the current file first.

    Raises:
        ShadowPlatformError: a file is not given or cannot be read, or an option is out of range.
    """
    settings = load_settings()
    limit = settings.drift_threshold if threshold is None else threshold
    if not 0 <= limit <= 1:
        raise ShadowPlatformError(f"--threshold {limit:g}: expected a share between 0 and 1")
    before_file = _required(reference or settings.drift_reference_path, "--reference", "DRIFT_REFERENCE_PATH")
    after_file = _required(current or settings.drift_current_path, "--current", "DRIFT_CURRENT_PATH")
    before, after = _read(before_file), _read(after_file)
    verdict = judge_frames(before, after, replace(DriftPolicy(), drift_threshold=limit), _digest(before_file), simulate)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(verdict.model_dump_json(indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{verdict.outcome.value}: {verdict.explanation}")
    return EXIT_CODES[verdict.outcome]


def judge_frames(
    before: "pd.DataFrame", after: "pd.DataFrame", policy: DriftPolicy, fingerprint: str, simulate: float = 0.0
) -> DriftVerdict:
    """Verdict on two frames whose columns are the features."""
    from shadow_platform.domain.drift import evaluate_drift, simulate_drift

    after = simulate_drift(after, simulate) if simulate else after
    start, end = _window(after)
    return evaluate_drift("files", features_of(before), before, after, policy, start, end, fingerprint)


def features_of(frame: "pd.DataFrame") -> list[Feature]:
    """Every column of a frame as a monitored feature: numbers and booleans numeric, all others categorical."""
    return [
        Feature(str(name), f"column {name}", kind=_kind(frame[name])) for name in frame.columns if name not in RESERVED
    ]


def _kind(column: "pd.Series[Any]") -> FeatureKind:
    import pandas as pd

    return "numeric" if pd.api.types.is_numeric_dtype(column) else "categorical"


def _required(path: Path | None, option: str, variable: str) -> Path:
    if path is None:
        raise ShadowPlatformError(f"no file to compare; give {option} FILE or set {variable}")
    if not path.is_file():
        raise ShadowPlatformError(f"{path} is not a file; expected CSV or Parquet with one column a feature")
    return path


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else pd.read_csv(path)
        if "requested_at" in frame.columns:
            frame["requested_at"] = pd.to_datetime(frame["requested_at"], utc=True)
    except (OSError, ValueError) as error:
        raise ShadowPlatformError(f"{path} cannot be read as CSV or Parquet: {error}") from error
    return frame


def _window(frame: "pd.DataFrame") -> tuple[datetime, datetime]:
    """First request to just behind the last; the epoch where the rows carry no time."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    if "requested_at" not in frame.columns or not frame["requested_at"].notna().any():
        return epoch, epoch
    times = frame["requested_at"]
    return times.min().to_pydatetime(), times.max().to_pydatetime() + timedelta(microseconds=1)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
