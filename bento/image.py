"""Lays out the build context of a serving image: a Bento's code, and what it needs from the lock file, with hashes.

Belongs here: which files and which locked packages an image of a Bento holds. Does not belong here: building the Bento
(``bento.build``), or how an image is made of the context (``deploy/docker/serving.Dockerfile``). Upstream: a built
Bento, ``requirements.lock``. Downstream: ``make images``, ``make sbom``.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bento.package import PACKAGE
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.deployment.bentos import LATEST, deployment_in, is_same_model, read_latest
from shadow_platform.contracts.errors import BundleError, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import load_settings

LOCK = "requirements.lock"
CODE = "app"
NAMED_IN_URLS = ("psycopg", "psycopg-binary", "redis")
"""Drivers of ``FEATURE_STORE=scale``, which only URLs name; with them one image serves either column."""
NEVER_LOADED = frozenset(
    {
        *("mypy", "ast-serialize", "librt", "types-greenlet"),
        *("llvmlite", "numba", "shap", "slicer"),
        *("lightgbm", "ray"),
    }
)
"""Distributions that are required or reached, and never loaded by what answers: type checking (through Feast's
SQLAlchemy extra), compiled explanations (``/explain`` samples without them), training, distributed feature jobs."""


def lay_out(bento: Path, lock: Path, target: Path) -> None:
    """Fill a folder with ``app/`` and ``requirements.lock``; what was there before is replaced.

    Raises:
        BundleError: the folder is no Bento, or the lock file lacks a version the Bento was checked with.
    """
    source = bento / "src"
    if not (source / PACKAGE).is_dir():
        raise BundleError(f"{bento} holds no Bento; build one with `python -m bento.build`, or name its tag or folder")
    lines = (source / "requirements.txt").read_text(encoding="utf-8").split()
    needed = locked_subset(dict(line.split("==") for line in lines), read_lock(lock))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copytree(source, target / CODE, ignore=shutil.ignore_patterns("__pycache__", "bentofile.yaml"))
    (target / LOCK).write_text("\n".join(needed) + "\n", encoding="utf-8")


def read_lock(lock: Path) -> dict[str, str]:
    """Entry of a lock file, with its hashes, by the name of the distribution."""
    entries = re.split(r"^(?=[a-z0-9])", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry.strip() for entry in entries if "==" in entry}


def locked_subset(pins: Mapping[str, str], locked: Mapping[str, str]) -> list[str]:
    """Entries of the lock file for these versions by name, and for the drivers; without what is never loaded.

    Raises:
        BundleError: the lock file has another version of a distribution, or none.
    """
    wanted = {name: version for name, version in pins.items() if name not in NEVER_LOADED}
    for name, version in wanted.items():
        if not re.match(rf"{re.escape(name)}=={re.escape(version)}[ \\;]", locked.get(name, "")):
            found = locked.get(name, "no entry").split(" ", 1)[0]
            raise BundleError(
                f"the Bento needs {name}=={version}, the lock has {found}; run `make setup`, build it again"
            )
    return [locked[name] for name in sorted({*wanted, *NAMED_IN_URLS} & locked.keys())]


def folder_of(bento: str, layout: Layout) -> Path:
    """Folder of a Bento that is named by its tag in the store, ``<use case>[:<version>]``, or by its folder.

    Raises:
        BundleError: the version is left open, and no Bento of the champion in force is in the store.
    """
    if Path(bento).is_dir():
        return Path(bento)
    name, _, version = bento.partition(":")
    store = layout.bentos / "bentos" / name
    is_open = version in {"", LATEST} and store.is_dir()
    return store / (_latest(store, layout) if is_open else version)


def _latest(store: Path, layout: Layout) -> str:
    """Version that ``latest`` names, if it answers with the champion in force."""
    advice = f"`python -m bento.build --use-case {store.name}` builds one; or name a version of {store}"
    version = read_latest(store)
    if version is None:
        raise BundleError(f"no Bento of the champion of {store.name} is in the store; {advice}")
    held = deployment_in(store / version)
    in_force = read_manifest(layout.manifest(held.use_case)) if held else None
    if held and in_force and not is_same_model(held.champion, in_force.champion):
        raise BundleError(
            f"{store.name}:{version} answers with version {held.champion.version}, but the champion is version "
            f"{in_force.champion.version}; {advice}"
        )
    return version


def main(arguments: list[str] | None = None) -> int:
    """Lay out the context of one image and print the Bento's version."""
    parser = argparse.ArgumentParser(prog="python -m bento.image", description=__doc__.splitlines()[0])
    parser.add_argument("bento", help="tag in the store of SHADOW_HOME, or folder")
    parser.add_argument("target", type=Path, help="folder to fill; it is emptied first")
    parser.add_argument("--lock", type=Path, default=Path(LOCK), help="lock file with hashes; default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        folder = folder_of(options.bento, load_settings().layout)
        lay_out(folder, options.lock, options.target)
        print(folder.name)
    except ShadowPlatformError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
