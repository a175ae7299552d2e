"""Keeps a full device from killing a process by way of its metrics.

prometheus_client maps files with holes into memory. A number that is the first on a page needs a block of the device,
and when none is left the kernel answers the write with SIGBUS, which ends the process in the middle of its requests.
Hence the blocks are taken while there are some. Upstream: the folder BentoML names. Downstream: the worker.
"""

import logging
import os
from pathlib import Path

LOGGER = logging.getLogger("shadow_platform.metrics")

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def reserve_metric_files() -> None:
    """Give every metrics file of this process all the blocks it can need, as soon as there are some."""
    folder = os.environ.get(FOLDER_VARIABLE)
    for path in Path(folder).glob(f"*_{os.getpid()}.db") if folder else ():
        try:
            status = path.stat()
            if status.st_blocks * 512 < status.st_size:
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, status.st_size)
        except OSError as error:
            LOGGER.warning("%s cannot be given its blocks (%s); free space on the device", path, error)
