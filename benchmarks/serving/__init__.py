"""Serving against its peers and against its own floor: throughput, latency under load, batches, memory.

``python -m benchmarks.serving`` (docs/benchmarks.md quotes it). Belongs here: one model in all its forms (``models``),
the processes that answer with it (``platform``, ``peers``, ``foreign``), independent load generators (``load``), one
module a measurement, and ratios against targets (``report``). Does not belong here: the cost of a lookup alone
(``benchmarks.online``). Upstream: the service as users start it. Downstream: docs/benchmarks.md.

Contenders take turns within one run, so that a busy machine disturbs all alike; a ratio is the median of the ratios of
neighbouring runs, with the smallest and the largest.
"""
