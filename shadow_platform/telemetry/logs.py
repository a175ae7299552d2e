"""How a process logs: text for people, or one JSON object a line for collectors, neither with anybody's data.

Belongs here: the formatters, what they leave out, and setting a process up. Does not belong here: what is logged.
Upstream: settings, the request under way. Downstream: every process that runs on; ``telemetry.run_logs`` for Dagster's.

Passwords and tokens are blanked in every line (``contracts.redaction``). An error's text may quote the value that
raised it, and so does a traceback: processes that handle feature values name the error's type and where it was raised,
and quote it only with ``LOG_LEVEL=DEBUG``. What Python would print of an error that nobody catches is logged like that.
"""

import json
import logging
import os
import sys
import threading
import traceback
from copy import copy
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson

from shadow_platform.contracts.errors import BundleError, SettingsError, UseCaseError
from shadow_platform.contracts.redaction import redact
from shadow_platform.settings import Settings
from shadow_platform.telemetry.context import REQUEST

LOGGER = logging.getLogger("shadow_platform.process")

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS = (
    *("request_id", "model_version", "trace_id", "method", "route", "status", "problem", "duration_ms", "left_out"),
    *("run_id", "job", "step", "partition"),
)
"""What a line may carry besides its message; other packages' extra values are nobody's business."""

TALKATIVE = ("httpcore", "httpx", "urllib3")
"""Clients that log a line a call at INFO, with its whole address."""

ABOUT_THE_DEPLOYMENT = (OSError, BundleError, SettingsError, UseCaseError)
"""Errors whose text is about files and settings, never about a row."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def problem_of(error: BaseException) -> str:
    """What may be said of an error at any level: its type, and the text of one that is about the deployment.

    >>> problem_of(ValueError("income of 12000")), problem_of(FileNotFoundError(2, "No such file", "a.json"))
    ('ValueError', "FileNotFoundError: [Errno 2] No such file: 'a.json'")
    """
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ABOUT_THE_DEPLOYMENT) else name


class Tracebacks:
    """Text of exceptions: in full, or without the words of any error that may quote a value."""

    def __init__(self, *, quotes_errors: bool) -> None:
        self._quotes_errors = quotes_errors

    def text(self, found: ExcInfo) -> str:
        """The traceback with its causes, oldest first."""
        error = found[1]
        if error is None:
            return ""
        if self._quotes_errors:
            return "".join(traceback.format_exception(error)).rstrip()
        parts: list[str] = []
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            frames = traceback.extract_tb(error.__traceback__)
            lines = [f'  File "{f.filename}", line {f.lineno}, in {f.name}' for f in frames]
            parts.append("\n".join([*lines, problem_of(error)]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(parts))


def message_of(record: logging.LogRecord, *, quotes_errors: bool) -> str:
    """The message; of asyncio's its first line, because the others quote errors that nobody waited for."""
    message = record.getMessage()
    return message.partition("\n")[0] if record.name == "asyncio" and not quotes_errors else message


class TextFormatter(logging.Formatter):
    """A formatter's lines without secrets, and without words of errors that may quote a value."""

    def __init__(self, *, quotes_errors: bool, inner: logging.Formatter | None = None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter(TEXT)
        self._quotes_errors = quotes_errors
        self._tracebacks = Tracebacks(quotes_errors=quotes_errors)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        record = copy(record)
        record.msg, record.args = message_of(record, quotes_errors=self._quotes_errors), ()
        if record.exc_info:
            record.exc_text = self._tracebacks.text(record.exc_info)
        return redact(self._inner.format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    Args:
        process: role of this process.
        use_case: what it works for, if for one.
    """

    def __init__(self, process: str, use_case: str | None = None, *, quotes_errors: bool = True) -> None:
        super().__init__()
        self._own = {"process": process, "pid": os.getpid()} | ({"use_case": use_case} if use_case else {})
        self._quotes_errors = quotes_errors
        self._tracebacks = Tracebacks(quotes_errors=quotes_errors)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(message_of(record, quotes_errors=self._quotes_errors)),
            **self._own,
        }
        request = REQUEST.get()
        if request.request_id:
            known = (request.request_id, request.model_version, request.trace_id)
            line |= dict(zip(FIELDS[:3], known, strict=True))
        # BentoML's filter gives every record a request_id, of a context that is not ours: None.
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["stack"] = redact(self._tracebacks.text(record.exc_info))
        elif record.exc_text:
            line["stack"] = redact(record.exc_text)
        if record.stack_info:
            line["stack"] = redact(f"{line.get('stack', '')}\n{record.stack_info}".strip())
        known_only = {name: value for name, value in line.items() if value is not None}
        try:
            return orjson.dumps(known_only, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        except TypeError:  # half a surrogate pair is no text to orjson
            return json.dumps(known_only, default=str)


def formatter_of(
    settings: Settings, process: str, use_case: str | None = None, inner: logging.Formatter | None = None
) -> logging.Formatter:
    """The formatter that the settings ask for; ``inner`` makes the lines of text."""
    quotes_errors = settings.log_level == "DEBUG"
    if settings.log_format == "json":
        return JsonFormatter(process, use_case, quotes_errors=quotes_errors)
    return TextFormatter(quotes_errors=quotes_errors, inner=inner)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is stderr when the line is written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(settings: Settings, process: str, use_case: str | None = None) -> None:
    """Log to stderr from now on, instead of what an earlier call set up; handlers of others stay."""
    root, handler = logging.getLogger(), StderrHandler()
    handler.setFormatter(formatter_of(settings, process, use_case))
    for known in [known for known in root.handlers if isinstance(known, StderrHandler)]:
        root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    _capture(settings)


def adopt_logging(settings: Settings, process: str, use_case: str | None = None) -> None:
    """Keep the handlers that a server set up, and let them write this platform's lines; its own loggers' level too.

    Other packages stay at WARNING, as servers have them: their INFO is a line a request.
    """
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    handlers = {handler for logger in (logging.getLogger(), *known) for handler in logger.handlers}
    # Until the server sets its own up, Python's last resort writes, and would do so with a whole traceback.
    for handler in handlers | {logging.lastResort}:
        if handler is not None and not isinstance(handler.formatter, TextFormatter | JsonFormatter):
            handler.setFormatter(formatter_of(settings, process, use_case, handler.formatter))
    logging.getLogger("shadow_platform").setLevel(settings.log_level)
    _capture(settings)


def _capture(settings: Settings) -> None:
    """Have what Python itself would print, with all its words, logged instead; what others do with it stays."""
    if settings.log_format == "json":
        logging.captureWarnings(True)
    sys.excepthook = _log_end
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_end_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        LOGGER.warning("interrupted")
    else:
        LOGGER.critical("this process ends by an error", exc_info=(kind, error, trace))


def _log_end_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        LOGGER.critical("thread %s ends by an error", name, exc_info=args.exc_value)


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is not None:
        LOGGER.error("an error was raised where nothing can catch it", exc_info=args.exc_value)


def fail(logger: logging.Logger, error: BaseException, prefix: str = "") -> None:
    """Say why this process ends: on a line of its own for people, or as a line of log where those are read.

    Args:
        prefix: what the line for people begins with.
    """
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        logger.error("%s", error)
    else:
        print(f"{prefix}{redact(str(error))}", file=sys.stderr)


def say(settings: Settings, logger: logging.Logger, text: str) -> None:
    """Tell what people should know of a running process: a line for them, or a line of log where those are read."""
    if settings.log_format == "json":
        logger.info("%s", text)
    else:
        print(text, flush=True)
