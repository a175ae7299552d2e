"""Threads of the numerical libraries (threadpoolctl).

Belongs here: what makes sums come out alike on every number of cores, and which kernels add them up. Does not belong
here: how many models are trained at once (the executor). Upstream: OpenBLAS or its like. Downstream: training, the
environment's fingerprint.

With two threads BLAS adds up in another order than with one, so that a linear model differs in its last digits between
a machine with two cores and one with four. Trees are grown by OpenMP, whose sums are of single-precision numbers in
double precision: they keep their threads, which is where the time goes.
"""

from contextlib import AbstractContextManager

import scipy.linalg  # noqa: F401  loads its BLAS, so that the limit reaches it
from threadpoolctl import threadpool_info, threadpool_limits


def one_blas_thread() -> AbstractContextManager[object]:
    """Within it, linear algebra adds up in one order."""
    limited: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limited


def blas_kernels() -> str:
    """Libraries of linear algebra and the processor they are built for: others add up in another order.

    >>> "openblas" in blas_kernels() or "mkl" in blas_kernels() or "blis" in blas_kernels()
    True
    """
    found = {
        f"{pool['internal_api']} {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found))
