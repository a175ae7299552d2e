"""Lines of log: what a JSON line has, what no line may have, and that text stays what it was."""

import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform import cli
from shadow_platform.contracts.errors import StreamError
from shadow_platform.contracts.redaction import redact
from shadow_platform.settings import Settings
from shadow_platform.telemetry.context import REQUEST, RequestContext
from shadow_platform.telemetry.logs import (
    JsonFormatter,
    StderrHandler,
    TextFormatter,
    configure_logging,
    fail,
    formatter_of,
    say,
)

LOGGER = logging.getLogger("shadow_platform.some_room")
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.fixture(autouse=True)
def usual_logging() -> Iterator[None]:
    """Leave the process's loggers as they were; what a command set up in this process before is not there meanwhile."""
    root = logging.getLogger()
    level, handlers, hook = root.level, list(root.handlers), sys.excepthook
    root.handlers[:] = [handler for handler in handlers if not isinstance(handler, StderrHandler)]
    yield
    sys.excepthook = hook
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def line_of(formatter: logging.Formatter, message: str, *args: object, exc_info: Any = None, extra: Any = None) -> str:
    """The line of one record of this room."""
    record = LOGGER.makeRecord(LOGGER.name, logging.WARNING, __file__, 1, message, args, exc_info, extra=extra)
    return formatter.format(record)


def failing(value: str) -> Any:
    """What ``exc_info`` is within an ``except``, of an error that quotes a value and the one that caused it."""
    try:
        try:
            float(value)
        except ValueError as error:
            raise LookupError(f"no row of {value}") from error
    except LookupError:
        return sys.exc_info()


def test_a_json_line_says_when_what_who_and_for_which_request() -> None:
    request = RequestContext("018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11", TRACEPARENT)
    request.model_version = "7"
    token = REQUEST.set(request)
    try:
        line = json.loads(line_of(JsonFormatter("service", "churn"), "%d rows", 3, extra={"status": 503, "secret": 1}))
    finally:
        REQUEST.reset(token)

    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset().total_seconds() == 0  # type: ignore[union-attr]
    assert line.pop("pid") > 0
    assert line == {
        "level": "WARNING",
        "logger": "shadow_platform.some_room",
        "message": "3 rows",
        "process": "service",
        "use_case": "churn",
        "request_id": "018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11",
        "model_version": "7",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "status": 503,
    }


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_logged_is_one_json_object_on_one_line(text: str) -> None:
    line = line_of(JsonFormatter("service"), "%s", text)

    assert "\n" not in line
    assert set(json.loads(line)) >= {"timestamp", "level", "logger", "message", "process", "pid"}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_is_named_and_placed_and_not_quoted(log_format: Literal["text", "json"]) -> None:
    formatter = formatter_of(Settings(log_format=log_format), "service")
    line = line_of(formatter, "no answer", exc_info=failing("marker-4711"))

    assert "marker-4711" not in line
    assert "ValueError" in line
    assert "LookupError" in line
    assert "in failing" in line
    assert log_format == "text" or ("\n" not in line and line.index("ValueError") < line.index("LookupError"))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_debug_quotes_errors(log_format: Literal["text", "json"]) -> None:
    formatter = formatter_of(Settings(log_format=log_format, log_level="DEBUG"), "service")

    assert "no row of marker-4711" in line_of(formatter, "no answer", exc_info=failing("marker-4711"))


def test_what_only_the_system_words_is_quoted() -> None:
    try:
        raise PermissionError(13, "Permission denied", "segment.jsonl")
    except PermissionError:
        line = line_of(JsonFormatter("service", quotes_errors=False), "log", exc_info=sys.exc_info())

    assert "Permission denied" in json.loads(line)["stack"]


@pytest.mark.parametrize(
    "formatter", [JsonFormatter("service", quotes_errors=False), TextFormatter(quotes_errors=False)]
)
def test_an_error_that_nobody_waited_for_is_not_quoted_by_asyncio(formatter: logging.Formatter) -> None:
    record = logging.getLogger("asyncio").makeRecord(
        "asyncio",
        logging.ERROR,
        "f",
        1,
        "Future exception was never retrieved\nfuture: ValueError('marker-4711')",
        (),
        None,
    )
    line = formatter.format(record)

    assert "never retrieved" in line
    assert "marker-4711" not in line


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("redis://:hunter2@cache:6379/0 is away", "hunter2"),
        ("connect to postgresql+psycopg2://shadow:hun-ter_2@db/shadow failed", "hun-ter_2"),
        ("Authorization: Bearer abcdefghijklmnop0123 refused", "abcdefghijklmnop0123"),
        ("host=db password=hunter2 dbname=shadow", "hunter2"),
        ("api_key: hunter2", "hunter2"),
        ("redis://:hun@ter2@cache:6379 is away", "ter2"),
        ("redis://:hun/ter2@cache:6379 is away", "ter2"),
        ("git+https://hunter2@example.com/shop.git", "hunter2"),
        ("AWS_SECRET_ACCESS_KEY=hunter2 was refused", "hunter2"),
        ("MLFLOW_TRACKING_PASSWORD=hunter2", "hunter2"),
        ("PREDICT_TOKENS=hunter1,hunter2", "hunter2"),
        ("connect(**{'password': 'hunt er2', 'host': 'db'})", "er2"),
        ('{"token": "hunter2"}', "hunter2"),
        (r'"{\"token\": \"hunter2\"}"', "hunter2"),
        ("Authorization: Basic aHVudGVyOjI= refused", "aHVudGVyOjI="),
        ("(b'authorization', b'Basic aHVudGVyOjI=')", "aHVudGVyOjI="),
        ("OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20abcdefghijklmnop0123", "abcdefghijklmnop0123"),
    ],
)
def test_passwords_and_tokens_are_blanked_in_every_format(text: str, secret: str) -> None:
    assert secret not in redact(text)
    for formatter in (JsonFormatter("service"), TextFormatter(quotes_errors=True)):
        assert secret not in line_of(formatter, "%s", text)
        assert "***" in line_of(formatter, "%s", text)


@pytest.mark.parametrize(
    "text",
    [
        "GET http://127.0.0.1:8000/ready took 3 ms",
        "mail ops@example.com about https://example.com/runbook",
        "a basic configuration of 3 tokens per second",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_redaction_of_a_long_line_takes_no_time() -> None:
    began = time.thread_time()
    redact("://" * 20_000 + "secret" * 20_000 + "token " * 5_000)

    assert time.thread_time() - began < 1.0


def test_text_stays_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(), "shadow")
    LOGGER.info("challenger %s is in the shadow", "3")

    stamp, _, rest = capsys.readouterr().err.strip().partition(" INFO ")
    assert datetime.fromisoformat(stamp)
    assert rest == "shadow_platform.some_room: challenger 3 is in the shadow"


def test_a_process_is_set_up_once_however_often_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for level in ("INFO", "WARNING"):
        configure_logging(Settings(log_format="json", log_level=level), "stream", "fraud")
    LOGGER.info("too quiet")
    LOGGER.warning("heard")

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["process"] == "stream"
    assert sum(isinstance(handler, StderrHandler) for handler in logging.getLogger().handlers) == 1


def test_the_last_words_of_a_process_are_a_line_like_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(log_format="json")
    configure_logging(settings, "guard")
    fail(LOGGER, ValueError("no use case"))
    say(settings, LOGGER, "ready")

    told = capsys.readouterr()
    assert [json.loads(line)["message"] for line in told.err.splitlines()] == ["no use case", "ready"]
    assert told.out == ""


UNCAUGHT = """
import logging, sys, threading
from shadow_platform.settings import Settings
from shadow_platform.telemetry.logs import adopt_logging, configure_logging

class Unloved:
    def __del__(self):
        raise ValueError("customer marker-4711")

def raising():
    raise ValueError("customer marker-4711 at redis://:hunter2@cache")

log_format, setting_up = sys.argv[1:]
if setting_up == "adopt":
    logging.getLogger().addHandler(logging.StreamHandler())
set_up = configure_logging if setting_up == "configure" else adopt_logging
set_up(Settings(log_format=log_format), "stream", "churn")
thread = threading.Thread(target=raising, name="reading")
thread.start()
thread.join()
unloved = Unloved()
del unloved
raising()
"""


@pytest.mark.parametrize("setting_up", ["configure", "adopt", "adopt before there is a handler"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_that_nobody_catches_is_a_line_like_the_others(log_format: str, setting_up: str) -> None:
    command = [sys.executable, "-c", UNCAUGHT, log_format, setting_up]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150.0, check=False)

    assert ended.returncode == 1
    assert "marker-4711" not in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "thread reading ends by an error" in ended.stderr
    assert "this process ends by an error" in ended.stderr
    assert ended.stderr.count("ValueError") == 3
    if log_format == "json":
        lines = [json.loads(line) for line in ended.stderr.splitlines()]
        assert [line["level"] for line in lines] == ["CRITICAL", "ERROR", "CRITICAL"]
        assert all("in " in line["stack"] for line in lines)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_expected_error_that_ends_a_command_is_logged_where_lines_are_read(
    log_format: Literal["text", "json"], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        configure_logging(Settings(log_format=log_format), "relay")
        raise StreamError("no broker at kafka://who:hunter2@broker answers; start it")

    monkeypatch.setattr(cli, "typer_app", refused)
    with pytest.raises(SystemExit, match="2"):
        cli.app()

    told, said = capsys.readouterr().err, "no broker at kafka://***@broker answers; start it"
    if log_format == "json":
        assert (json.loads(told)["message"], json.loads(told)["process"]) == (said, "relay")
    else:
        assert told == f"shadow: {said}\n"


def test_people_are_told_without_a_stamp(capsys: pytest.CaptureFixture[str]) -> None:
    fail(LOGGER, ValueError("no use case"))
    say(Settings(), LOGGER, "ready")

    assert capsys.readouterr() == ("ready\n", "no use case\n")


def test_a_formatter_wraps_what_a_server_set_up_without_changing_its_lines() -> None:
    inner = logging.Formatter("[%(levelname)s] %(message)s")

    assert line_of(TextFormatter(quotes_errors=False, inner=inner), "up") == "[WARNING] up"


def test_clients_do_not_log_every_call() -> None:
    stream = io.StringIO()
    configure_logging(Settings(), "serve")
    logging.getLogger().addHandler(logging.StreamHandler(stream))
    logging.getLogger("httpx").info("HTTP Request: GET http://127.0.0.1/ready")

    assert stream.getvalue() == ""
