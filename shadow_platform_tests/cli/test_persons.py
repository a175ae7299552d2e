"""Who changes by hand are booked to: a person who is named, the machine's user, nobody under a name of the platform."""

import getpass
import json
import pwd
import re

import pytest
from typer.testing import CliRunner

from shadow_platform.adapters.log import FileLogSource
from shadow_platform.cli import typer_app
from shadow_platform.cli.persons import IMAGE_USER, OF_THE_PLATFORM, named_person, person
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import USE_CASE
from shadow_platform_tests.bento.registered import GOOD, SLOW, RegisteredShop
from shadow_platform_tests.deploy.images import IMAGES, told

COMMANDS = (
    ("promote",),
    ("rollback",),
    ("canary", "start"),
    ("canary", "share"),
    ("canary", "stop"),
    ("challengers", "set"),
    ("challengers", "add"),
    ("challengers", "remove"),
    ("a-a", "explain"),
)


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command sees that `kubectl exec` starts in an image."""
    monkeypatch.setenv("LOGNAME", IMAGE_USER)


@pytest.mark.parametrize("image", IMAGES)
def test_the_user_of_the_images_is_known(image: str) -> None:
    (made,) = (text for text in told(image, "RUN") if "useradd" in text)
    assert re.search(rf"useradd .* {IMAGE_USER}\b", made)


def test_a_name_that_is_given_counts_and_else_the_user_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    assert (person(None), named_person(None)) == ("bob", "bob")
    assert (person(" Ann Lee "), named_person("ann@example.com")) == ("Ann Lee", "ann@example.com")


@pytest.mark.parametrize("by", ["", "  ", "ann\nbob", "a" * 101, *sorted(OF_THE_PLATFORM)])
def test_what_is_no_name_of_a_person_is_refused(by: str) -> None:
    with pytest.raises(ShadowPlatformError, match="--by"):
        person(by)


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("by", [None, IMAGE_USER])
def test_in_a_container_a_change_that_a_person_answers_for_needs_a_name(by: str | None) -> None:
    assert person(by) == IMAGE_USER
    with pytest.raises(ShadowPlatformError, match="everybody is 'service' in a container; say who you are"):
        named_person(by)
    assert named_person("ann") == "ann"


def test_a_user_without_an_entry_is_nobody_and_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(KeyError):
        getpass.getuser()
    assert person(None) == IMAGE_USER


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_that_a_person_is_noted_for_takes_a_name(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "--by" in CliRunner().invoke(typer_app, [*command, "--help"]).output


@pytest.mark.usefixtures("container")
def test_changes_from_a_container_are_booked_to_who_is_named_and_a_rollback_asks_for_no_name(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = RegisteredShop(layout.home)
    monkeypatch.setenv("SHADOW_HOME", str(layout.home))
    home.change("add_challenger", version=SLOW)

    def shadow(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(typer_app, [*arguments, "--use-case", shop.NAME, "--no-wait"]).exception

    assert shadow("canary", "start", SLOW, "--by", "ann") is None
    assert shadow("canary", "stop", "--reason", "slow", "--by", "bob") is None
    refused = shadow("promote", SLOW, "--reason", "better")
    assert isinstance(refused, ShadowPlatformError)
    assert "--by NAME" in str(refused)
    assert home.manifest.champion.version == GOOD
    assert shadow("promote", SLOW, "--reason", "better", "--by", "ann") is None
    assert shadow("rollback", "--reason", "slow") is None
    lines = FileLogSource(layout.log("transitions", USE_CASE)).read({})
    booked = {row["generation"]: row["actor"] for row in (json.loads(line.payload) for line in lines)}
    assert [booked[generation] for generation in sorted(booked)][-4:] == ["ann", "bob", "ann", IMAGE_USER]
