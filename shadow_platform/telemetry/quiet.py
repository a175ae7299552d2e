"""Keeps what libraries say of themselves away from whoever waits for a command or watches a journey.

Upstream: nothing. Downstream: the command line, the time machine, benchmarks.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Within it no warning of a library reaches the terminal; errors are raised as ever."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # Filters do not last: some of them are set anew by the libraries as they are imported.
    shown = warnings.showwarning
    warnings.showwarning = lambda *_, **__: None
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "skl2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        warnings.showwarning = shown
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
