"""Memory of a serving worker over half a million requests: a line through its samples, flat or not.

Belongs here: sampling and the fit. Upstream: ``platform``, ``load``. Downstream: ``report``.
"""

from pathlib import Path

import numpy as np
import psutil
from scipy.stats import theilslopes

from benchmarks.serving.load import Contender, closed_loop
from benchmarks.serving.models import ONLINE, REQUEST
from benchmarks.serving.platform import Platform, running_platform
from benchmarks.serving.report import Effort, Ratio, Report, Spread

SAMPLE_S = 2
WARM_UP_SHARE = 0.2
"""Share of the requests before the fit begins: caches and arenas fill."""
FLAT = 0.02
"""Growth over the whole run, as a share of the resident memory, up to which a worker counts as flat."""
MIB = 1024.0 * 1024.0


def memory(folder: Path, effort: Effort, report: Report, n_requests: int) -> None:
    """Each way to ask in turn, with a fresh worker."""
    ways = (("features in the request", False), ("with idempotency keys", True))
    for name, keyed in ways:
        with running_platform(folder / f"keyed-{keyed}", REQUEST) as platform:
            contender = platform.contender(name, "request", [platform.bundles.challenger], keyed=keyed)
            _sample(platform, contender, n_requests, report)
    with running_platform(folder / "online", ONLINE, effort.n_entities) as platform:
        name = "features from the online store"
        contender = platform.contender(name, "uniform", [platform.bundles.challenger])
        _sample(platform, contender, n_requests, report)


def _sample(platform: Platform, contender: Contender, n_requests: int, report: Report) -> None:
    contender.before()
    (pid,) = platform.service.worker_pids
    worker = psutil.Process(pid)
    counts, rss, pss = [], [], []
    n = 0
    while n < n_requests:
        n += closed_loop(contender.url, contender.script, SAMPLE_S).n
        held = worker.memory_full_info()
        counts.append(n)
        rss.append(held.rss / MIB)
        pss.append(held.pss / MIB)
        if len(counts) % 10 == 1:
            print(f"  {contender.name:46} {n:9,} requests  RSS {rss[-1]:7.1f}  PSS {pss[-1]:7.1f} MiB", flush=True)
    contender.after()
    fitted = np.array(counts) >= WARM_UP_SHARE * n_requests
    slope, _, low, high = theilslopes(np.array(pss)[fitted], np.array(counts)[fitted])
    per_100k = [value * 1e5 for value in (low, slope, high)]
    part = f"memory of one worker over {n_requests:,} requests, MiB"
    report.add(part, contender.name, {"RSS": rss, "PSS": pss, "PSS per 100,000 requests (fit, 95 %)": per_100k})
    growth = Spread.of([value * n_requests / pss[-1] for value in (low, slope, high)])
    report.ratios.append(Ratio(f"memory growth over the run, share: {contender.name}", growth, "<=", FLAT))
