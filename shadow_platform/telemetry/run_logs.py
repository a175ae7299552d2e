"""Dagster's runs in the words of the other processes: lines of log as JSON, and spans of runs and their steps.

``dagster.yaml`` names ``RunLogHandler`` among its handlers of Python logs, so that Dagster hands it every line and
event of a run in the process where it happens, whatever executor and launcher there are. Belongs here: reading these.
Does not belong here: what assets log. Upstream: Dagster's log manager. Downstream: stderr, the span sink.

Nothing of Dagster is imported with this module: webserver and daemon load it, too, with ``dagster.yaml``.
"""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from time import time_ns
from typing import Any

from shadow_platform.adapters.tracing import require_exporter
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.tracing import Span, SpanContext, SpanSink, child_of, context_of
from shadow_platform.settings import Settings, load_settings
from shadow_platform.telemetry.logs import JsonFormatter, formatter_of
from shadow_platform.telemetry.spans import open_spans

LOGGER = logging.getLogger("shadow_platform.runs")

PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
RUN_ENDS = {"PIPELINE_SUCCESS": None, "PIPELINE_FAILURE": "failed", "PIPELINE_CANCELED": "canceled"}
STEP_ENDS = {"STEP_SUCCESS": None, "STEP_SKIPPED": None, "STEP_FAILURE": "failed", "STEP_UP_FOR_RETRY": "retried"}
BETA = "Handling yaml-defined logging configuration"
"""How Dagster's warning about the part of ``dagster.yaml`` begins that names the handler."""
NO_CONSOLE = "default_system_loggers"
"""Dagster's function that says what runs log to when their configuration does not."""
MAX_OPEN = 10_000
"""Beginnings that wait for their end; of runs whose process was killed none comes."""


class RunSpans:
    """Makes a span of every run and step that ends in this process; the step's parent is the run's, wherever it ran."""

    def __init__(self, sink: SpanSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._began: dict[tuple[str, str], int] = {}
        self._assets: dict[tuple[str, str], set[str]] = {}

    def note(self, meta: Mapping[str, Any]) -> None:
        """Take notice of one event."""
        event, run_id = meta["dagster_event"], meta["run_id"]
        if event is None or not run_id:
            return
        kind, step = event.event_type_value, meta["step_key"] or ""
        if kind in ("PIPELINE_START", "STEP_START"):
            with self._lock:
                if len(self._began) >= MAX_OPEN:
                    self._began.clear()
                    self._assets.clear()
                self._began[run_id, step if kind == "STEP_START" else ""] = time_ns()
        elif kind == "ASSET_MATERIALIZATION":
            with self._lock:
                self._assets.setdefault((run_id, step), set()).add(event.asset_key.to_user_string())
        elif kind in STEP_ENDS:
            self._end(meta, run_id, step, STEP_ENDS[kind])
        elif kind in RUN_ENDS:
            self._end(meta, run_id, "", RUN_ENDS[kind])

    def _end(self, meta: Mapping[str, Any], run_id: str, step: str, problem: str | None) -> None:
        ended, run = time_ns(), context_of(run_id)
        with self._lock:
            began = self._began.pop((run_id, step), ended)
            assets = self._assets.pop((run_id, step), set())
        attributes = {"dagster.run_id": run_id, "dagster.job": str(meta["job_name"] or "")}
        if partition := partition_of(meta):
            attributes["dagster.partition"] = partition
        if step:
            attributes["dagster.step"] = step
        if assets:
            attributes["dagster.assets"] = ", ".join(sorted(assets))
        place, parent = (_step_of(run, step), run) if step else (run, None)
        name = f"step {step}" if step else f"run {meta['job_name']}"
        self._sink.emit(Span(name, place, began, ended, parent, attributes, problem=problem))


def _step_of(run: SpanContext, step: str) -> SpanContext:
    return child_of(run, context_of(f"step {step}").span_id)


def partition_of(meta: Mapping[str, Any]) -> str | None:
    """Partition of a run, or the first and the last of its range; ``None`` without any."""
    tags = meta["job_tags"]
    found = [tags[tag] for tag in PARTITION_TAGS if tags.get(tag)]
    return "..".join(dict.fromkeys(found)) or None


class RunLogHandler(logging.Handler):
    """What ``dagster.yaml`` names; does nothing while logs are text and nothing is traced."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__(level)
        self._state = _state()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line or event of a run."""
        meta = getattr(record, "dagster_meta", None)
        if meta is None:
            return
        try:
            if self._state.spans is not None:
                self._state.spans.note(meta)
            if self._state.formatter is not None and record.levelno >= self._state.level:
                plain = _plain(record, meta, quotes_errors=self._state.quotes_errors)
                print(self._state.formatter.format(plain), file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001 - no run fails because of what is said about it
            self.handleError(record)


class _State:
    """What all handlers of this process share: Dagster makes a new one for every run and step."""

    def __init__(self, settings: Settings) -> None:
        self.level = logging.getLevelName(settings.log_level)
        is_json = settings.log_format == "json"
        quotes_errors = settings.log_level == "DEBUG"
        self.quotes_errors = quotes_errors
        self.formatter = JsonFormatter("dagster-run", quotes_errors=quotes_errors) if is_json else None
        self.spans: RunSpans | None = None
        try:
            sink = open_spans(settings, "dagster")
        except SettingsError as error:
            LOGGER.error("%s", error)
        else:
            self.spans = RunSpans(sink) if sink else None


@cache
def _state() -> _State:
    return _State(load_settings())


def take_over_runs(settings: Settings) -> None:
    """Prepare a process that loads the definitions: it may execute runs, or serve the code to those that do.

    With JSON the handler's lines take the place of Dagster's console, and the code server's handlers write such lines
    too. There is no setting for the former; a test holds that it has an effect.

    Raises:
        SettingsError: a collector is named, and the exporter is not installed.
    """
    import dagster as dg

    warnings.filterwarnings("ignore", BETA, dg.BetaWarning)
    # A process of one step sets its handlers up before it loads the definitions.
    known = os.environ.get("PYTHONWARNINGS", "")
    if BETA not in known:
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (known, f"ignore:{BETA}")))
    if settings.otel_exporter_otlp_endpoint is not None:
        require_exporter()
    if settings.log_format != "json":
        return
    from dagster._core.execution import context_creation_job

    setattr(context_creation_job, NO_CONSOLE, lambda _instance: [])
    for handler in logging.getLogger("dagster").handlers:
        handler.setFormatter(formatter_of(settings, "dagster-code"))


def _plain(record: logging.LogRecord, meta: Mapping[str, Any], *, quotes_errors: bool) -> logging.LogRecord:
    """The record without Dagster's prefix, and with its facts as fields."""
    facts = {"run_id": meta["run_id"], "job": meta["job_name"], "step": meta["step_key"]}
    plain = logging.makeLogRecord({**record.__dict__, **facts, "msg": meta["orig_message"], "args": ()})
    plain.partition = partition_of(meta)
    if meta["run_id"]:
        plain.trace_id = f"{context_of(meta['run_id']).trace_id:032x}"
    error = getattr(getattr(meta["dagster_event"], "event_specific_data", None), "error", None)
    if error is not None:
        plain.exc_info = None
        plain.exc_text = error.to_string() if quotes_errors else _stack_of(error)
    return plain


def _stack_of(error: Any) -> str:
    """Types and places of an error and its causes, oldest first, without its words, which may quote values."""
    parts: list[str] = []
    while error is not None:
        lines = [line.strip().partition("\n")[0] for line in error.stack]
        parts.append("\n".join([*(f"  {line}" for line in lines), str(error.cls_name)]))
        error = error.cause
    return "\n".join(reversed(parts))
