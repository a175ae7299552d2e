"""Sending alerts: real servers receive them, one that is away says why, and no secret of a URL is ever told."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest

from shadow_platform.adapters.alerts import Mail, Message, receivers_of, send, without_parts_of
from shadow_platform_tests import alert_servers
from shadow_platform_tests.alert_servers import mail_server, webhook
from shadow_platform_tests.bento.helpers import wait_until

PATIENCE_S = 75.0
patiently = partial(send, timeout_s=2 * PATIENCE_S, begin_within_s=PATIENCE_S)
NEWS = Message("shop: version 7 is champion", "Log loss -0.012 a request.\n\nWhat to do: nothing.", "critical")


def mails(urls: str, *messages: Message) -> list[Mail]:
    return [Mail(receiver, messages or (NEWS,)) for receiver in receivers_of(urls)]


def test_mail_and_webhook_receive_title_and_text() -> None:
    with mail_server() as mailbox, webhook() as hook:
        assert patiently(mails(f"{mailbox.url}, {hook.url}")) == [[None], [None]]

    (mail,), (post,) = mailbox.mails, hook.posts
    assert mail["To"] == "oncall@example.org"
    assert mail["Subject"] == NEWS.title
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert "Log loss -0.012 a request." in body.get_content()
    assert (post["title"], post["message"], post["type"]) == (NEWS.title, NEWS.body, "failure")


def test_messages_arrive_in_order_and_stop_at_the_first_that_is_refused() -> None:
    second = Message("second", "text", "info")
    with webhook() as hook:
        assert patiently(mails(hook.url, NEWS, second)) == [[None, None]]
        hook.status = 500
        ((first_error, second_error),) = patiently(mails(hook.url, NEWS, second))

    assert [post["title"] for post in hook.posts] == [NEWS.title, "second"]
    assert first_error == second_error
    assert "500" in str(first_error)


def test_a_server_that_is_away_is_named_without_any_part_of_its_url() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        _assert_that_it_is_named_alone(silent.getsockname()[1])


def _assert_that_it_is_named_alone(gone: int) -> None:
    urls = (
        f"json://oncall:sesame-hook@127.0.0.1:{gone}/sesame-path?+X-Token=sesame-head, "
        f"mailto://sesame-user:sesame-pass@127.0.0.1:{gone}?from=shadow@example.org&to=oncall@example.org"
    )

    ((of_hook,), (of_mail,)) = patiently(mails(urls))

    for error in (of_hook, of_mail):
        assert "Connection refused" in str(error)
        assert "sesame" not in str(error)
        assert "127.0.0.1" not in str(error)
        assert str(gone) not in str(error)


def test_one_receiver_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(alert_servers, "time", SimpleNamespace(sleep=released.wait))
    with webhook() as slow, webhook() as quick, ThreadPoolExecutor(1) as pool:
        slow.hangs_s = 2 * PATIENCE_S
        sent = pool.submit(send, mails(f"{slow.url}&rto=300, {quick.url}"), timeout_s=3 * PATIENCE_S)
        try:
            wait_until(lambda: len(quick.posts) == 1, "the other has it", PATIENCE_S)
            assert slow.posts == []
        finally:
            released.set()
        assert sent.result() == [[None], [None]]


def test_a_receiver_that_hangs_is_given_up_in_time() -> None:
    with webhook() as slow:
        slow.hangs_s = 2 * PATIENCE_S
        began = time.monotonic()
        assert send(mails(f"{slow.url}&rto=300"), timeout_s=2.0) == [["no answer within 2 s"]]

    assert time.monotonic() - began < PATIENCE_S


def test_messages_that_would_come_too_late_are_left_for_the_next_time() -> None:
    with webhook() as hook:
        hook.hangs_s = 2.0
        ((first, second),) = patiently(mails(hook.url, NEWS, NEWS), begin_within_s=1.5)

    assert (first, len(hook.posts)) == (None, 1)
    assert second == "not tried yet, the messages before it took too long"


@pytest.mark.parametrize("url", ["nonsense://sesame", "slack://sesame", "https://sesame.example.org/sesame-path"])
def test_a_url_that_means_nothing_is_an_error_and_not_a_crash(url: str) -> None:
    ((error,),) = patiently(mails(url))

    assert error
    assert "sesame" not in error


def test_nobody_to_tell_is_no_error() -> None:
    assert send([]) == []


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        ("", []),
        (" json://h ", ["1:json"]),
        ("mailtos://u:p@h?to=a@x.org,b@x.org,json://h/a,b", ["1:mailtos", "2:json"]),
        ("json://a\n,  xml://b", ["1:json", "2:xml"]),
    ],
)
def test_a_list_of_urls_is_split_where_a_url_begins(urls: str, names: list[str]) -> None:
    assert [receiver.name for receiver in receivers_of(urls)] == names


def test_a_receiver_shows_no_url() -> None:
    assert "sesame" not in repr(mails("json://u:sesame@h"))


@pytest.mark.parametrize("encoded", ["se%2Fsame%40me", "se/same@me"])
def test_an_encoded_secret_is_hidden_in_either_form(encoded: str) -> None:
    told = without_parts_of("login as bob with se/same@me or se%2Fsame%40me failed", "json://bob:se%2Fsame%40me@h/p")

    assert told == "login as *** with *** or *** failed"
