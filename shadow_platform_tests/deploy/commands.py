"""The platform's command line as deploy files name it: which command it is, and whether it has the options given.

Belongs here: resolving words to a command of ``shadow``. Does not belong here: running it. Downstream: tests.
"""

from collections.abc import Sequence
from typing import Any

import typer.main

from shadow_platform.cli import typer_app


def unknown_words(words: Sequence[str]) -> list[str]:
    """What of ``shadow WORDS`` no command has: a command's name or an option; empty when all of it exists.

    >>> unknown_words(["gate", "show", "--list"]), unknown_words(["gate", "--list"]), unknown_words(["gates"])
    ([], ['--list'], ['gates'])
    """
    command: Any = typer.main.get_command(typer_app)
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            return rest[:1]
        command = command.commands[rest.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = [word.partition("=")[0] for word in rest if word.startswith("-")]
    return [name for name in given if name not in options | {"--help"}]


def surplus_words(words: Sequence[str]) -> list[str]:
    """What is left of ``shadow WORDS`` once its command took its options and arguments; all options must exist.

    >>> surplus_words(["metrics", "--port", "9464"]), surplus_words(["stream", "consume"]), surplus_words(["log"])
    ([], ['consume'], [])
    """
    command: Any = typer.main.get_command(typer_app)
    context, rest = None, list(words)
    while rest and hasattr(command, "commands"):
        context = command.make_context(rest[0], [], parent=context, resilient_parsing=True)
        command = command.commands[rest.pop(0)]
    context = command.make_context("shadow", [], parent=context, resilient_parsing=True)
    _, left, _ = command.make_parser(context).parse_args(rest)
    return list(left)
