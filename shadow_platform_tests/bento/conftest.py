"""One running service a module: starting it costs seconds, so tests share it and leave it as they found it."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from bento.serve import RunningService, free_port, running_service
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import deploy, settings_at


@dataclass(frozen=True)
class Shop:
    """A service of use case ``shop`` with champion 1 and challenger 2 in the shadow."""

    service: RunningService
    layout: Layout
    client: httpx.Client


@pytest.fixture(scope="module")
def shop_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shared service."""
    settings = settings_at(
        tmp_path_factory.mktemp("shop"), max_batch_size=50, max_concurrency=8, explain_timeout_ms=30_000.0
    )
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    with (
        running_service(settings, shop.NAME, free_port()) as service,
        httpx.Client(base_url=service.url, timeout=60.0) as client,
    ):
        yield Shop(service, layout, client)
