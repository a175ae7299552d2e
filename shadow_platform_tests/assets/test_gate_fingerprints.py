"""The fingerprints of a decision cover everything that decides: sources, libraries, and rows."""

from pathlib import Path

import pytest

from shadow_platform.assets.gates import evidence
from shadow_platform.assets.gates.replaying import decision_named, run_again
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.assets.gate_home import USE_CASE, decide, served_home, stored
from shadow_platform_tests.sources import REPOSITORY, imports

# What the sources import and what decides nothing that another fingerprint, or the decision's sequence, does not tell.
NO_SOURCES = {
    "adapters/lake/parquet.py": "what is read has fingerprints as rows",
    "assets/gates/recording.py": "shows a decision",
    "contracts/a_a.py": "a run's figures are in the row that counts",
    "contracts/bundle.py": "bundles are named by their hash",
    "contracts/deployment.py": "which models are compared is in the sequence",
    "contracts/errors.py": "what is raised is no decision",
    "contracts/records.py": "what is read has fingerprints as rows",
    "contracts/tables/__init__.py": "what is read has fingerprints as rows",
    "contracts/use_case.py": "the label's policy is among the fingerprints, the gate's in the sequence",
    "domain/__init__.py": "a package without code",
    "domain/a_a.py": "judges a run when it is made; its row is what counts",
    "domain/gates/__init__.py": "offers what its modules define",
    "domain/labels/__init__.py": "offers what its modules define",
    "resources/__init__.py": "offers what its modules define",
    "resources/deployments.py": "which models are compared is in the sequence",
    "resources/policies.py": "the policy in force is in the sequence",
}


def _modules(path: Path) -> set[str]:
    """Modules of the platform that a module imports, by place below the package."""
    found = set()
    for name in imports(path):
        place = Path(*name.split("."))
        candidates = (place.with_suffix(".py"), place / "__init__.py")
        found |= {str(c.relative_to("shadow_platform")) for c in candidates if (REPOSITORY / c).is_file()}
    return {place for place in found if place != "__init__.py"}


def test_whatever_the_deciding_sources_import_decides_as_well_or_is_told_otherwise() -> None:
    sources = evidence.deciding_sources().keys()
    imported = {module for source in sources for module in _modules(Path("shadow_platform", source))}

    assert imported - sources == NO_SOURCES.keys()


@pytest.mark.parametrize(
    "place",
    [
        "adapters/lake/answers.py",
        "adapters/lake/log_tables.py",
        "contracts/policies/decisions.py",
        "contracts/verdicts.py",
        "domain/censoring.py",
        "partitions.py",
        "resources/a_a.py",
    ],
)
def test_what_decides_outside_the_gates_is_among_the_deciding_sources(place: str) -> None:
    assert evidence.deciding_sources()[place] == (REPOSITORY / "shadow_platform" / place).read_text(encoding="utf-8")


def test_a_decision_made_with_other_libraries_is_told_and_names_them(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = served_home(layout)
    with monkeypatch.context() as older:
        older.setattr(evidence, "version", lambda name: {"scipy": "1.0"}.get(name, "2.0"))
        decide(home)

    rerun = run_again(home.platform, USE_CASE, decision_named(home.platform, USE_CASE, None))

    assert stored(home)[0].fingerprints["libraries"] == "numpy 2.0, pandas 2.0, scipy 1.0"
    assert rerun.differing == ("libraries",)
    assert rerun.has_same_figures
    assert not rerun.is_same
