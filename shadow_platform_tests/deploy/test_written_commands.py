"""Commands that comments of the deployment's files tell people to run: they exist, with these words.

Belongs here: comments below ``deploy``. Does not belong here: documents (docs/test_guides), what containers run.
"""

import re
import shlex
from collections.abc import Iterator

from shadow_platform_tests.deploy.commands import surplus_words, unknown_words
from shadow_platform_tests.sources import REPOSITORY

FILES = ("*.yml", "*.yaml", "*.env", ".env.example", "*Dockerfile", "*.tf")
WRITTEN = re.compile(r"`(?:[A-Z_]+=\S+ )*shadow ([^`\n]+)`")


def _written() -> Iterator[tuple[str, list[str]]]:
    for pattern in FILES:
        for path in sorted((REPOSITORY / "deploy").rglob(pattern)):
            for words in WRITTEN.findall(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(REPOSITORY)}: shadow {words}", shlex.split(words)


def test_commands_in_comments_exist_with_the_words_they_are_given() -> None:
    written = list(_written())

    assert len(written) > 5
    assert [where for where, words in written if unknown_words(words) or surplus_words(words)] == []
