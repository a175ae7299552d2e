"""How windows reach a judge in another environment, and how its answers come back.

Belongs here: only what every environment has (pandas, pyarrow). Upstream: ``environments``, which writes. Downstream:
the judges, which read pairs of files and print one JSON line.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

Judge = Callable[[pd.DataFrame, pd.DataFrame], Mapping[str, bool]]


def write_windows(folder: Path, pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]]) -> int:
    """Write pairs of reference and window; returns how many."""
    n = 0
    for reference, current in pairs:
        reference.to_parquet(folder / f"{n:05d}-reference.parquet", index=False)
        current.to_parquet(folder / f"{n:05d}-current.parquet", index=False)
        n += 1
    return n


def answer(judge: Judge) -> None:
    """Judge every pair below the folder named on the command line; print each rule's answers and the CPU seconds."""
    warnings.simplefilter("ignore")
    fails: dict[str, list[bool]] = {}
    spent = 0.0
    for path in sorted(Path(sys.argv[1]).glob("*-reference.parquet")):
        reference = pd.read_parquet(path)
        current = pd.read_parquet(path.with_name(path.name.replace("reference", "current")))
        began = time.process_time()
        for rule, has_failed in judge(reference, current).items():
            fails.setdefault(rule, []).append(bool(has_failed))
        spent += time.process_time() - began
    print("\n" + json.dumps({"fails": fails, "cpu_s": spent}))


def features(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Numeric and categorical feature columns."""
    names = [str(name) for name in frame.columns if name not in ("score", "requested_at")]
    numeric = [name for name in names if pd.api.types.is_numeric_dtype(frame[name])]
    return numeric, [name for name in names if name not in numeric]


def imputed(frame: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Numbers with nulls replaced by the reference's median, for libraries that cannot read nulls."""
    numeric, _ = features(reference)
    return frame.fillna({name: reference[name].median() for name in numeric})
