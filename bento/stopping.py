"""How a signal tells a process to end, without the process waiting for itself.

``threading.Event`` must not be set by a signal handler: the handler runs in the main thread between any two of its
steps, and when one of them holds the event's lock (it does so whenever it begins or ends a ``wait``), ``set`` waits for
that lock for ever. ``queue.SimpleQueue`` may be used by handlers, but in Python 3.11 its ``get`` with a timeout that
passes too early waits for ever too. A pipe has neither fault. Upstream: signals. Downstream: the supervisor, the shadow
worker, the guard.
"""

import contextlib
import os
import select
import threading
import weakref


class StopEvent(threading.Event):
    """An event that a signal handler may set; once set it stays set, for the byte in the pipe is never read."""

    def __init__(self) -> None:
        super().__init__()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        for end in (self._reading, self._writing):
            weakref.finalize(self, os.close, end)

    def set(self) -> None:
        """Set it, from wherever."""
        with contextlib.suppress(BlockingIOError):  # a full pipe: it was set before
            os.write(self._writing, b"\0")

    def is_set(self) -> bool:
        """Whether it was set."""
        return self.wait(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set within the timeout, seconds."""
        ends = select.poll()
        ends.register(self._reading, select.POLLIN)
        return bool(ends.poll(None if timeout is None else timeout * 1000.0))
