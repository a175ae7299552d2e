"""How fast raw events become validated Parquet and features, and how much memory that takes.

Run from the root of the repository: ``python -m benchmarks.events [--rows 1000000] [--use-case flights]
[--before CHECKOUT] [--days 600] [--file-rows 10000000]``. One recorded day is repeated under new ids until the raw
files hold that many rows; with ``--days``, many small days are sorted besides. ``--before`` lets the package of another
checkout do the same events stage on the same files. With ``--file-rows`` an exported CSV of so many rows is played as
an event source instead. Every stage runs in a process of its own, so that its peak of memory is its own.
Upstream: the events and features assets. Downstream: docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import EventSource, UseCase
from shadow_platform.scaffold.example import orders
from shadow_platform.use_cases import load_use_case

ROOT = Path(__file__).parents[1]
ROWS_PER_SMALL_FILE = 20
# Public assets only, so that older checkouts understand it.
_STAGE = """
import json, logging, resource, sys, time
import dagster as dg
from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

home, name, first, last, stage = sys.argv[1:]
logging.disable(logging.CRITICAL)
use_case = load_use_case(name)
stages = {"events": ["events", "quarantined_events"], "features": [view.name for view in use_case.views]}
assets = build_event_assets(use_case) if stage == "events" else build_feature_assets(use_case)
began, cpu = time.perf_counter(), time.process_time()
result = dg.materialize(
    assets,
    selection=[dg.AssetKey([name, asset]) for asset in stages[stage]],
    resources={"platform": PlatformResource(shadow_home=home)},
    tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
)
assert result.success
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps([time.perf_counter() - began, time.process_time() - cpu, peak]))
"""
_FILE = """
import json, resource, sys, time
from datetime import timedelta
from pathlib import Path
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.use_case_kit.files import EventFile, FileSource
from shadow_platform.use_case_kit.schemas import event_schema, flag, measured, moment, text

path, names = Path(sys.argv[1]), {"order_id": text(), "customer_id": text()}
categories = {"category": text(), "channel": text()}
numbers = {"price_eur": measured(0, 1e6), "discount_pct": measured(0, 100)}
orders = EventKind("orders", "Ordered", event_schema({**names, **categories, **numbers}))
outcomes = EventKind("outcomes", "Came back", event_schema({**names, "asked_at": moment(), "is_returned": flag()}))
came_back = {"event_at": "returned_at", "asked_at": "ordered_at"}
began, cpu = time.perf_counter(), time.process_time()
source = FileSource(
    EventFile(orders, path, {"event_at": "ordered_at"}),
    EventFile(outcomes, path, came_back, present="returned_at"),
)
day, n_rows = source.first_day(), 0
while day <= source.last_day():
    n_rows += sum(map(len, source.received_on(day).values()))
    day += timedelta(days=1)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps([time.perf_counter() - began, time.process_time() - cpu, peak, n_rows]))
"""


def _busy_day(use_case: UseCase, source: EventSource) -> tuple[date, Mapping[str, Sequence[Mapping[str, Any]]]]:
    """First day on which events of most kinds come."""
    days = [use_case.first_partition + timedelta(days=offset) for offset in range(60)]
    return max(((day, source.received_on(day)) for day in days), key=lambda found: sum(map(bool, found[1].values())))


def _copies(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> Iterator[str]:
    copy = 0
    while rows:
        yield from (json.dumps({**row, key[0]: f"{row[key[0]]}-{copy}"}) for row in rows)
        copy += 1


def _write_large(layout: Layout, use_case: UseCase, n_rows: int) -> date:
    day, received = _busy_day(use_case, use_case.source())
    n_received = sum(map(len, received.values()))
    for kind in use_case.events:
        rows = received[kind.name]
        path = layout.raw_events(use_case.name, kind.name, day)
        path.parent.mkdir(parents=True)
        with path.open("w", encoding="utf-8") as file:
            lines = islice(_copies(rows, kind.key), n_rows * len(rows) // n_received)
            file.writelines(f"{line}\n" for line in lines)
    return day


def _write_small(layout: Layout, use_case: UseCase, n_days: int) -> tuple[date, date]:
    source, first = use_case.source(), use_case.first_partition
    for offset in range(n_days):
        day = first + timedelta(days=offset)
        received = source.received_on(day)
        for kind in use_case.events:
            path = layout.raw_events(use_case.name, kind.name, day)
            path.parent.mkdir(parents=True)
            path.write_text("".join(f"{json.dumps(row)}\n" for row in received[kind.name][:ROWS_PER_SMALL_FILE]))
    return first, day


def _run(title: str, checkout: Path, home: Path, use_case: str, days: tuple[date, date], stage: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", _STAGE, str(home), use_case, *map(str, days), stage]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
    seconds, cpu, peak = json.loads(done.stdout.splitlines()[-1])
    print(f"  {title:<40}{seconds:9.1f} s {cpu:9.1f} CPU-s {peak:8.2f} GB", flush=True)
    return float(cpu)


def _play_file(path: Path, n_rows: int) -> None:
    """Print what it takes to read every day of an exported CSV, whose rows are in no order of time."""
    header, *lines = orders().to_csv(index=False).splitlines()
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{header}\n")
        file.writelines(f"{copy}-{line}\n" for copy in range(n_rows // len(lines)) for line in lines)
        file.writelines(f"last-{line}\n" for line in lines[: n_rows % len(lines)])
    done = subprocess.run([sys.executable, "-c", _FILE, path], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, cpu, peak, n_events = json.loads(done.stdout)
    print(f"{path.name}: {n_rows:,} rows, {path.stat().st_size / 1e9:.2f} GB, {n_events:,} events of two kinds")
    print(f"  {'event source, every day read':<40}{seconds:9.1f} s {cpu:9.1f} CPU-s {peak:8.2f} GB")


def _compare(use_case: str, layout: Layout, days: tuple[date, date], before: Path | None) -> None:
    earlier = _run("events stage, before", before, layout.home, use_case, days, "events") if before else None
    now = _run("events stage", ROOT, layout.home, use_case, days, "events")
    if earlier is not None:
        print(f"  CPU time is {earlier / now:.1f} times less")
    _run("features stage", ROOT, layout.home, use_case, days, "features")


def main() -> None:
    """Print seconds, CPU seconds and peak memory of each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--use-case", default="flights")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--days", type=int, default=0)
    parser.add_argument("--file-rows", type=int, default=0)
    given = parser.parse_args()
    if given.file_rows:
        with tempfile.TemporaryDirectory() as folder:
            _play_file(Path(folder) / "orders.csv", given.file_rows)
        return
    use_case = load_use_case(given.use_case)
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder) / "large")
        day = _write_large(layout, use_case, given.rows)
        print(f"{given.use_case}: {given.rows:,} events of one day, {len(use_case.events)} files")
        _compare(given.use_case, layout, (day, day), given.before)
        if given.days:
            layout = Layout(Path(folder) / "small")
            days = _write_small(layout, use_case, given.days)
            print(f"{given.use_case}: {given.days} days of {len(use_case.events)} small files each")
            _compare(given.use_case, layout, days, given.before)


if __name__ == "__main__":
    main()
