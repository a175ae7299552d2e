"""What the Dockerfiles say, and the contexts they are built from, laid out as ``make images`` does.

Belongs here: reading and laying out. Does not belong here: assertions, and a build, which ``benchmarks/images.py``
does. Upstream: deploy/docker. Downstream: tests of images.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shadow_platform_tests.sources import REPOSITORY

DOCKER = REPOSITORY / "deploy" / "docker"
CONTEXTS = REPOSITORY / "build" / "images"
IMAGES = ("platform", "serving")


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continued lines joined."""

    stage: int
    keyword: str
    text: str


def instructions(image: str) -> list[Instruction]:
    """What a Dockerfile does, in order; stage 0 is what stands before the first FROM."""
    lines = [line for line in dockerfile(image).read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found, stage = [], 0
    for line in filter(None, joined.splitlines()):
        keyword, _, text = line.strip().partition(" ")
        stage += keyword == "FROM"
        found.append(Instruction(stage, keyword, text.strip()))
    return found


def dockerfile(image: str) -> Path:
    """The Dockerfile of an image."""
    return DOCKER / f"{image}.Dockerfile"


def told(image: str, keyword: str, stage: int = 2) -> list[str]:
    """Texts of an instruction in a stage; the second is the one that becomes the image."""
    return [each.text for each in instructions(image) if each.keyword == keyword and each.stage == stage]


def environment_of(image: str) -> dict[str, str]:
    """Variables that the image sets."""
    pairs = " ".join(told(image, "ENV"))
    return dict(re.findall(r"(\w+)=(\S+)", pairs))


def command_of(image: str) -> list[str]:
    """What a container of the image runs unless told otherwise."""
    words: list[str] = json.loads(told(image, "CMD")[-1])
    return words


def build(**variables: str) -> "subprocess.CompletedProcess[str]":
    """Run what ``make images`` runs."""
    environment: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", **variables}
    command = [str(DOCKER / "build.sh")]
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
