"""How a process notices that the ones above it are gone, however they ended.

Belongs here: the question alone; what to do then is the asking process's. Kept apart from the worker, so that a small
process need not import what answers requests. Upstream: bento.serve sets the variable. Downstream: every child of it.
"""

import os

import psutil

SUPERVISOR_VARIABLE = "SHADOW_SUPERVISOR_PID"


def is_orphan(first_parent: int | None, generation: int) -> bool:
    """Whether the processes above this one are gone.

    Under a supervisor, it must still be the ancestor (1: parent, 2: grandparent); comparing parents alone misses one
    that died while this process was starting. Without one, ``first_parent`` must still be the parent (``None``: any).
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return first_parent is not None and os.getppid() != first_parent
    ancestor = os.getppid()
    try:
        for _ in range(generation - 1):
            ancestor = psutil.Process(ancestor).ppid()
    except psutil.NoSuchProcess:
        return True
    return ancestor != int(supervisor)
