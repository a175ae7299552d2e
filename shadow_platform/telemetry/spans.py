"""Where the spans of a process go: to the collector that the settings name, or nowhere.

Belongs here: opening the exporter, and what every span says of its process. Does not belong here: making spans.
Upstream: settings. Downstream: ``adapters.tracing``.
"""

import os
import socket

from shadow_platform import __version__
from shadow_platform.contracts.tracing import SpanSink
from shadow_platform.settings import Settings

SERVICE_NAME = "shadow-platform"


def open_spans(settings: Settings, process: str, use_case: str | None = None) -> SpanSink | None:
    """The sink of this process's spans; ``None`` while tracing is off, and then nothing of it is imported.

    Raises:
        SettingsError: a collector is named, and the exporter is not installed.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    from shadow_platform.adapters.tracing import OtlpSpans

    about = {
        "service.name": f"{SERVICE_NAME}-{process}",
        "service.namespace": SERVICE_NAME,
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "deployment.environment.name": settings.environment,
    }
    if use_case is not None:
        about["shadow.use_case"] = use_case
    return OtlpSpans(settings.otel_exporter_otlp_endpoint, about)
