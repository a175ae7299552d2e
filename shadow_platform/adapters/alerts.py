"""Sends alerts to people: e-mail, webhooks and whatever else a URL of Apprise names.

Belongs here: one tool, Apprise, and what it must never tell. Does not belong here: what is sent, and when (
``automation.alerts``). Upstream: ``resources.alerting``. Downstream: mail servers, webhooks, chat services.

URLs hold passwords and tokens, and Apprise and its HTTP library write parts of them to their logs. So a process of its
own sends: it takes the URLs on its standard input, its logs go nowhere, a server that never answers ends with it, and
what a failure is called is stripped of every part of the URL.
"""

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

TIMEOUT_S = 30.0
BEGIN_WITHIN_S = 15.0
TYPES = {"info": "info", "warning": "warning", "critical": "failure"}
HIDDEN = "***"
# A comma may also stand inside a URL, between several recipients; one that ends a URL is followed by the next.
BETWEEN_URLS = re.compile(r"[\s,]+(?=[A-Za-z0-9]{2,32}://)")
BEHIND_IT = re.compile(r"\[Errno [^\]]+\] ([\w ]+)|(timed out)|Response Details:\s*(.{1,80})")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One URL of ``ALERT_URLS``; its name, such as ``1:mailto``, is all that may be told of it."""

    name: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message; severity is ``info``, ``warning`` or ``critical``."""

    title: str
    body: str
    severity: str


@dataclass(frozen=True, slots=True)
class Mail:
    """What one receiver gets, in order; after a failure the rest is not tried."""

    receiver: Receiver
    messages: tuple[Message, ...]


def receivers_of(urls: str) -> list[Receiver]:
    """Receivers of a list of URLs.

    >>> [receiver.name for receiver in receivers_of("mailto://u:p@h?to=a@x.org,b@x.org, jsons://example.org/hook")]
    ['1:mailto', '2:jsons']
    """
    found = [url.strip(" ,") for url in BETWEEN_URLS.split(urls.strip()) if url.strip(" ,")]
    return [Receiver(f"{place}:{_scheme(url)}", url) for place, url in enumerate(found, 1)]


def send(
    mails: Sequence[Mail], timeout_s: float = TIMEOUT_S, begin_within_s: float = BEGIN_WITHIN_S
) -> list[list[str | None]]:
    """What became of every message of every mail: ``None`` when the receiver took it, else why not.

    Receivers are served side by side, and none keeps another waiting; the whole takes ``timeout_s`` at most, and no
    message is begun after ``begin_within_s``.
    """
    with ThreadPoolExecutor(max(len(mails), 1)) as pool:
        return list(pool.map(partial(_sent, timeout_s=timeout_s, begin_within_s=begin_within_s), mails))


def _sent(mail: Mail, timeout_s: float, begin_within_s: float) -> list[str | None]:
    messages = [asdict(message) for message in mail.messages]
    task = json.dumps({"url": mail.receiver.url, "messages": messages, "begin_within_s": begin_within_s})
    command = [sys.executable, "-m", "shadow_platform.adapters.alerts"]
    unsent = "the process that sends it died"
    try:
        output = subprocess.run(
            command, input=task.encode(), capture_output=True, timeout=timeout_s, check=False
        ).stdout
    except subprocess.TimeoutExpired as slow:
        output, unsent = slow.stdout or b"", f"no answer within {timeout_s:g} s"
    answers: list[str | None] = [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    return answers + [unsent] * (len(mail.messages) - len(answers))


def without_parts_of(text: str, url: str) -> str:
    """The text without any part of the URL but its scheme.

    >>> without_parts_of("no route to mail.example.org for bob", "mailto://bob:hunter2@mail.example.org?to=a@x.org")
    'no route to *** for ***'
    """
    rest = url.partition("://")[2]
    parts = urlsplit(f"http://{rest}")
    values = [value for _, value in parse_qsl(parts.query)]
    pieces = [rest, parts.netloc, *re.split(r"[/:@]", f"{parts.netloc}/{parts.path}"), *values]
    pieces += [piece for value in values for piece in re.split(r"[/:@,]", value)]
    forms = {form for piece in pieces for form in (piece, unquote(piece)) if form}
    for form in sorted(forms, key=len, reverse=True):
        # A short part, such as a port, stands in other words and numbers too.
        pattern = re.escape(form) if len(form) > 5 else rf"(?<!\w){re.escape(form)}(?!\w)"
        text = re.sub(pattern, HIDDEN, text)
    return text


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


class _Heard(logging.Handler):
    """What Apprise says of one attempt: its warnings, and the error of the system behind them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        cause = BEHIND_IT.search(text)
        if record.levelno >= logging.WARNING:
            self._lines.append(text)
        elif cause:
            self._lines.append(next(part for part in cause.groups() if part))

    def reason(self) -> str:
        said, self._lines = ": ".join(line.strip().rstrip(".") for line in self._lines), []
        return said or "it was not accepted"


def _deliver(
    url: str, messages: Sequence[dict[str, str]], begin_within_s: float, heard: _Heard
) -> Iterator[str | None]:
    import apprise

    server = apprise.Apprise()
    failure = None if server.add(url) else heard.reason()
    began = time.monotonic()
    for message in messages:
        # Apprise waits between messages to services that limit their rate; a message that is begun is finished.
        if failure is None and time.monotonic() - began > begin_within_s:
            failure = "not tried yet, the messages before it took too long"
        if failure is None and not server.notify(
            body=message["body"],
            title=message["title"],
            notify_type=apprise.NotifyType(TYPES[message["severity"]]),
            body_format=apprise.NotifyFormat.TEXT,
        ):
            failure = heard.reason()
        yield failure and without_parts_of(failure, url)


def _main() -> None:
    """Deliver the messages on standard input; a line on standard output for each: ``null``, or the error."""
    heard, logger = _Heard(), logging.getLogger("apprise")
    logger.addHandler(heard)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    task = json.load(sys.stdin)
    for answer in _deliver(**task, heard=heard):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
