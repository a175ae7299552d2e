"""The page on troubleshooting: the messages it explains are messages of the code, its commands and links exist."""

import re

import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform_tests.sources import REPOSITORY, python_files

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("## By message")[2], re.MULTILINE)
JOINED = re.compile(r"\"\s*\n\s*f?\"")
"""Where a message goes on in the next line of the source."""
CODE = "\n".join(
    JOINED.sub("", (REPOSITORY / path).read_text(encoding="utf-8"))
    for path in python_files()
    if path.parts[0] in ("shadow_platform", "bento")
)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_one_of_the_code(message: str) -> None:
    assert message in CODE


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`shadow ([a-z]+(?: [a-z]+)?)[^`]*`", PAGE))))
def test_every_command_exists(command: str) -> None:
    words = command.split()
    first = CliRunner().invoke(typer_app, [*words, "--help"])
    assert first.exit_code == 0 or CliRunner().invoke(typer_app, [words[0], "--help"]).exit_code == 0
