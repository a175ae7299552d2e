"""``shadow models reproduce``: trains a version again from what its bundle says, and compares the two byte for byte.

Belongs here: the recipe of a version, and what to tell when another model comes out. Does not belong here: training
(``assets.training.making``, which the model assets call as well). Upstream: registry, bundles, the lake. Downstream: an
exit code for auditors and continuous integration. Nothing is registered and nothing stays.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from shadow_platform.adapters.bundle import Bundle, BundleStore
from shadow_platform.assets.training.making import Recipe, make
from shadow_platform.cli.models.sources import Versions
from shadow_platform.cli.pulling import verified_frame
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import UseCase

CONSOLE = Console()
MEANING = {
    "data": "the training frame",
    "features": "views, features, queries or the label are declared otherwise",
    "code": "the sources that make a model, or the family's builder",
    "configuration": "training policy, parameters, seed, threshold, costs, quality limits, or words on the card",
    "environment": "Python, the kind of machine, or a package",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A version against the bundle that its recipe makes today.

    Attributes:
        ingredients: fingerprints that differ, by name.
        files: files of the bundles that differ.
        max_difference: largest difference of probabilities on the rows of the version's drift reference.
    """

    expected: str
    found: str
    ingredients: tuple[str, ...]
    files: tuple[str, ...]
    max_difference: float
    n_rows: int

    @property
    def is_same(self) -> bool:
        """Whether the bundles are equal byte for byte."""
        return self.expected == self.found


def reproduce_version(use_case_name: str, named: str) -> int:
    """Print whether a version can be made again; the exit code: 0 the same bundle, 1 another one.

    Raises:
        ShadowPlatformError: it cannot be made again: the bundle, the frame or the family is gone or was altered.
    """
    versions = Versions(use_case_name)
    version = versions.number(named)
    bundle = versions.platform.bundle(versions.use_case, version)
    recipe = recipe_of(versions.use_case, bundle.manifest)
    frame = verified_frame(versions.platform, versions.use_case, recipe.frame)
    _require_features(versions, version, frame.columns)
    with CONSOLE.status(f"training version {version} again"), TemporaryDirectory() as folder:
        try:
            made = make(versions.platform, versions.use_case, recipe)
        except TypeError as error:
            raise UseCaseError(
                f"version {version} cannot be made again: family {recipe.spec.name!r} does not take its parameters "
                f"{dict(recipe.parameters)} ({error}); {_where_its_code_is(versions, version)}"
            ) from error
        digest, _ = made.write(versions.platform, versions.use_case, BundleStore(Path(folder)))
        found = compare(bundle, Bundle.load(Path(folder) / digest))
    _tell(version, found)
    return 0 if found.is_same else 1


def _require_features(versions: Versions, version: str, columns: Iterable[str]) -> None:
    """Raise ``UseCaseError`` naming the features that were declared since the version's frame was made."""
    missing = [name for name in versions.use_case.feature_names if name not in set(columns)]
    if missing:
        raise UseCaseError(
            f"version {version} cannot be made again: its frame has no column {', '.join(missing)}; the feature was "
            f"declared since; {_where_its_code_is(versions, version)}"
        )


def _where_its_code_is(versions: Versions, version: str) -> str:
    tags = versions.summary(version).tags
    commit = tags.get("git_commit")
    if commit is None:
        return "go back to the code it was trained with; no commit of it was recorded"
    beside = ", and mind that not everything was committed then" if tags.get("git_is_dirty") == "true" else ""
    return f"check out the code it was trained with: git checkout {commit}{beside}"


def recipe_of(use_case: UseCase, manifest: BundleManifest) -> Recipe:
    """How a version was made; raises ``UseCaseError`` when its family is gone."""
    try:
        spec = use_case.model(manifest.model_name)
    except KeyError as error:
        raise UseCaseError(
            f"{error.args[0]}; the family of this version was taken out: check out the code that had it"
        ) from error
    return Recipe(
        spec=spec,
        frame=manifest.fingerprints["data"],
        as_of=manifest.trained_as_of,
        seed=manifest.seed,
        parameters=manifest.parameters,
    )


def compare(expected: Bundle, found: Bundle) -> Comparison:
    """What differs between two bundles of one use case."""
    before, after = expected.manifest.fingerprints, found.manifest.fingerprints
    reference = expected.reference()
    answers = [bundle.predict(bundle.encode_frame(reference)[0]) for bundle in (expected, found)]
    return Comparison(
        expected=expected.hash,
        found=found.hash,
        ingredients=tuple(name for name in MEANING if before.get(name) != after.get(name)),
        files=_different(_digests(expected.folder), _digests(found.folder)),
        max_difference=float(np.abs(answers[0] - answers[1]).max(initial=0.0)),
        n_rows=len(reference),
    )


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _different(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _tell(version: str, found: Comparison) -> None:
    if found.is_same:
        CONSOLE.print(f"version {version} was made again byte for byte: bundle {found.expected}", soft_wrap=True)
        return
    CONSOLE.print(f"version {version} is bundle {found.expected}; made again it is {found.found}", soft_wrap=True)
    table = Table("differs", "what that is")
    for name in found.ingredients:
        table.add_row(name, MEANING[name])
    if found.ingredients:
        CONSOLE.print(table)
    else:
        CONSOLE.print("every fingerprint is the same: something outside them decides; compare the machines")
    CONSOLE.print(f"files that differ: {_listed(found.files)}", soft_wrap=True)
    CONSOLE.print(f"largest difference of probabilities on {found.n_rows:,} rows: {found.max_difference:.3g}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
