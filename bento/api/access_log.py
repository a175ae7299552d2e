"""Lines of log about requests: each one at DEBUG, those that the service is to blame for at WARNING.

Belongs here: what such a line says, and how many a second. Does not belong here: how requests are answered. Upstream:
``bento.api.app``. Downstream: the process's log.

A line names the route, never the path as it came, nor the query or the caller's address.
"""

import logging
import time
from collections.abc import Callable
from time import perf_counter_ns

from shadow_platform.telemetry.context import RequestContext

LOGGER = logging.getLogger("shadow_platform.access")

LINES_PER_S = 20
"""A service that refuses everything would write more than it answers."""


class AccessLog:
    """Lines of one worker.

    Args:
        clock: monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second, self._n_lines, self._n_left_out = 0, 0, 0
        self._is_verbose = LOGGER.isEnabledFor(logging.DEBUG)

    def note(self, request: RequestContext, method: str, route: str, status: int, problem: str | None) -> None:
        """One answered request; ``problem``: kind of the problem document it was answered with."""
        if status >= 500:
            self._warn(request, method, route, status, problem)
        elif self._is_verbose:
            LOGGER.debug("%s %s %d", method, route, status, extra=_fields(request, method, route, status, problem))

    def _warn(self, request: RequestContext, method: str, route: str, status: int, problem: str | None) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._n_lines = second, 0
        self._n_lines += 1
        if self._n_lines > LINES_PER_S:
            self._n_left_out += 1
            return
        fields = _fields(request, method, route, status, problem)
        text = "%s %s %d %s, request %s"
        if self._n_left_out:
            fields["left_out"], self._n_left_out = self._n_left_out, 0
            text += f"; {fields['left_out']} more before it"
        LOGGER.warning(text, method, route, status, problem or "", request.request_id, extra=fields)


def _fields(request: RequestContext, method: str, route: str, status: int, problem: str | None) -> dict[str, object]:
    fields: dict[str, object] = {"method": method, "route": route, "status": status}
    if problem:
        fields["problem"] = problem
    fields["duration_ms"] = round((perf_counter_ns() - request.started) / 1e6, 3)
    return fields
