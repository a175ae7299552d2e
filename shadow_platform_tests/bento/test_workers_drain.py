"""What callers whose requests were taken in may rely on when the service is told to end."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from bento import serve
from bento.serve import free_port, running_service
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.callers import N_IN_FLIGHT, Callers
from shadow_platform_tests.bento.helpers import USE_CASE, deploy, predictions, settings_at

pytestmark = pytest.mark.processes


def test_a_service_that_is_told_to_end_finishes_what_it_took_in_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STOP_TIMEOUT_S", 90.0)
    settings = settings_at(tmp_path)
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles))
    with (
        running_service(settings, shop.NAME, free_port(), shadow=False, guard=False) as service,
        closing(Callers(service.url)) as connections,
    ):
        server, idle, callers = service.children[0].process, connections.one(), connections.begun()
        ending = threading.Thread(target=service.stop)
        ending.start()
        idle.wait_closed()
        ids = {caller.finish() for caller in callers}
        ending.join()
        assert server is not None
        assert server.returncode == 0
    assert ids == {record.request_id for record in predictions(layout)}
    assert len(predictions(layout)) == N_IN_FLIGHT
    assert list(layout.worker_states(USE_CASE).iterdir()) == []
