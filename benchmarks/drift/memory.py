"""Memory of profiling Parquet files that grow, streamed: it must not grow with them.

Each size in a process of its own (``python -m benchmarks.drift.memory FILE``), so that its peak is its own. Belongs
here: writing the files in chunks below a temporary folder, reading them in batches. Upstream: worlds, domain.drift.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift.judging import POLICY, Setting, judge_counts
from benchmarks.drift.tables import Spent, Table
from benchmarks.drift.worlds import CATEGORIES, FEATURES, NUMBERS, World, rows
from shadow_platform.domain.drift.grid import reference_grid
from shadow_platform.domain.drift.profiles import Profiles, merge, profiles_of

SIZES = (1_000_000, 10_000_000, 50_000_000)
CHUNK_ROWS, DIFFERENT_CHUNKS, BATCH_ROWS = 500_000, 4, 100_000
REFERENCE_ROWS = 100_000
BYTES_A_ROW = 200
SPARE = 2.0
WORLD = World(day_effect=0.05)


def memory(scale: float, seed: int) -> Table:
    """Peak memory and seconds by rows of the window."""
    table = Table("Profile and verdict of a Parquet file, streamed", ("rows", "file GB", "CPU s", "rows/s", "peak MiB"))
    for n in (max(CHUNK_ROWS, round(size * scale)) for size in SIZES):
        with tempfile.TemporaryDirectory(prefix="drift-rows-") as folder:
            if shutil.disk_usage(folder).free < SPARE * BYTES_A_ROW * n:
                print(
                    f"  {n:,} rows left out: less than {SPARE * BYTES_A_ROW * n / 1e9:.0f} GB are free below {folder}"
                )
                continue
            path = Path(folder) / "window.parquet"
            write_rows(path, n, seed)
            size = path.stat().st_size / 1e9
            command = [sys.executable, "-m", "benchmarks.drift.memory", str(path), str(seed)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        rate = n / found["wall_s"]
        cells = [f"{n:,}", f"{size:.1f}", f"{found['cpu_s']:.0f}", f"{rate:,.0f}", f"{found['peak_mib']:,.0f}"]
        table.add(cells, found | {"n_rows": n, "file_gb": size})
    return table.end(f"Batches of {BATCH_ROWS:,} rows; the peak holds the interpreter and its libraries.")


def write_rows(path: Path, n: int, seed: int) -> None:
    """A window of ``n`` rows over 28 days, written chunk by chunk; from the fifth chunk on, chunks repeat."""
    rng = np.random.default_rng(seed)
    _, days = Setting(n, WORLD).days(rng)
    chunks = [
        pa.Table.from_pandas(rows(WORLD, days, CHUNK_ROWS, rng), preserve_index=False)
        for _ in range(min(DIFFERENT_CHUNKS, -(-n // CHUNK_ROWS)))
    ]
    with pq.ParquetWriter(path, chunks[0].schema, compression="none") as writer:
        for place, start in enumerate(range(0, n, CHUNK_ROWS)):
            chunk = chunks[place % len(chunks)].slice(0, min(CHUNK_ROWS, n - start))
            writer.write_table(chunk, row_group_size=BATCH_ROWS)


def judge_file(path: Path, seed: int) -> dict[str, float | str]:
    """Profile the file batch by batch and judge it; CPU and wall seconds, peak memory."""
    rng = np.random.default_rng(seed)
    before, after = Setting(REFERENCE_ROWS, WORLD).days(rng)
    reference = rows(WORLD, before, REFERENCE_ROWS, rng)
    grid = reference_grid(FEATURES, reference, POLICY)
    stored, window, spent, peak = profiles_of(reference, grid), None, Spent(), 0.0
    columns = [*NUMBERS, *CATEGORIES, "score", "requested_at"]
    file = pq.ParquetFile(path)
    # One by one: ``iter_batches`` keeps every group that it has read until the file is closed.
    for group in range(file.num_row_groups):
        counted: Profiles = profiles_of(file.read_row_group(group, columns).to_pandas(), grid).by_day()
        window = counted if window is None else merge([window, counted])
        peak = max(peak, resident_mib())
    assert window is not None
    verdict = judge_counts(stored, window, after)
    outcome = verdict.outcome.value
    return {"cpu_s": spent.cpu_s(), "wall_s": spent.wall_s(), "peak_mib": peak, "outcome": outcome}


def resident_mib() -> float:
    """Memory of this process; the kernel's own peak would begin with that of the process it was started by."""
    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    print(json.dumps(judge_file(Path(sys.argv[1]), int(sys.argv[2]))))
