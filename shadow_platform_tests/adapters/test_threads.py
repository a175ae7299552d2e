"""Linear algebra gives the same digits on every number of cores while a model is made."""

import os
import subprocess
import sys

from threadpoolctl import threadpool_info

from shadow_platform.adapters.threads import blas_kernels, one_blas_thread

FIT = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from shadow_platform.adapters.threads import one_blas_thread
rng = np.random.default_rng(0)
x = rng.normal(size=(100_000, 25)).astype(np.float32)
y = x[:, 0] + rng.normal(size=len(x)) > 0
with one_blas_thread():
    print(LogisticRegression(max_iter=20).fit(x, y).coef_.tobytes().hex())
"""


def test_a_linear_model_is_the_same_whatever_number_of_threads_there_is() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FIT],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }

    assert len(said) == 1


def test_the_limit_ends_with_its_block() -> None:
    before = threadpool_info()
    with one_blas_thread():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}

    assert threadpool_info() == before


def test_the_kernels_are_those_in_use() -> None:
    architectures = {pool["architecture"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    assert all(architecture in blas_kernels() for architecture in architectures)
