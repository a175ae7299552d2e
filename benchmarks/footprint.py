"""What a home takes on disk for each request, and how long its backup and its return take.

``python -m benchmarks.footprint HOME``: bytes a line of each log, bytes a row of each table, then backup, check and
restore into a folder beside, which is removed. Upstream: a home that a demo or a service left. Downstream:
docs/benchmarks.md, docs/capacity.md.
"""

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pyarrow.parquet as pq

from shadow_platform import __version__
from shadow_platform.adapters.backup import check, restore, write
from shadow_platform.contracts.layout import Layout


def log_lines(layout: Layout) -> dict[str, tuple[int, int]]:
    """Lines and bytes of each log of each use case."""
    found: dict[str, tuple[int, int]] = {}
    for folder in sorted((layout.home / "log").glob("*/use_case=*")):
        segments = [path.read_bytes() for path in folder.rglob("*.jsonl")]
        name = f"{folder.parent.name}, {folder.name.removeprefix('use_case=')}"
        found[name] = (sum(text.count(b"\n") for text in segments), sum(map(len, segments)))
    return found


def table_rows(layout: Layout) -> dict[str, tuple[int, int]]:
    """Rows and bytes of each table of each use case."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for path in sorted(layout.tables.glob("*/use_case=*/dt=*/data.parquet")):
        name = f"{path.parts[-4]}, {path.parts[-3].removeprefix('use_case=')}"
        rows, size = found[name]
        found[name] = (rows + pq.read_metadata(path).num_rows, size + path.stat().st_size)
    return dict(found)


def timed(what: str, act: Callable[[], object], n_bytes: int) -> None:
    """Print wall and CPU seconds of one step, and megabytes a second."""
    wall, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    act()
    seconds, now = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(f"{what}: {seconds:.1f} s, {cpu:.1f} CPU-s, {n_bytes / 1e6 / seconds:,.0f} MB/s")


def main() -> None:
    """Print the figures of one home."""
    parser = argparse.ArgumentParser(description="Bytes a request of a home, and the time of its backup.")
    parser.add_argument("home", type=Path)
    layout = Layout(parser.parse_args().home.resolve())
    for kind, counts in (("line of log", log_lines(layout)), ("row of table", table_rows(layout))):
        for name, (n, size) in counts.items():
            if n:
                print(f"bytes a {kind} {name}: {size / n:,.0f} ({n:,}, {size / 1e6:,.1f} MB)")
    with tempfile.TemporaryDirectory(dir=layout.home.parent, prefix=".footprint-") as folder:
        archive, back = Path(folder) / "home.tar", Path(folder) / "back"
        contents = []
        size = sum(path.stat().st_size for path in layout.home.rglob("*") if path.is_file())
        timed("backup", lambda: contents.append(write(layout.home, archive, __version__, nullcontext).contents), size)
        print(f"{len(contents[0].entries):,} files, {contents[0].n_bytes / 1e6:,.1f} MB")
        timed("check", lambda: check(archive), size)
        timed("restore", lambda: restore(archive, back), size)


if __name__ == "__main__":
    main()
