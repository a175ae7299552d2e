"""What is left when a promotion dies by SIGKILL at any of its steps: one champion everywhere, and it can be done again.

The same steps on a registry in memory are in adapters/test_deployment; here MLflow, the files and the kill are real.
"""

import shutil
import signal
from pathlib import Path

import pytest

from shadow_platform_tests.chaos.trainings import USE_CASE, Death
from shadow_platform_tests.chaos.versions import VersionsHome
from shadow_platform_tests.forked import ended, started

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

REGISTRY = "shadow_platform.adapters.registry:MlflowRegistry"
JOURNAL = "shadow_platform.adapters.deployment.journal"
BEFORE = (
    Death("bundle downloaded, not under its name", f"{REGISTRY}._verify"),
    Death("intent written, nothing moved", f"{REGISTRY}.swap_alias"),
)
BEHIND = (
    Death("alias moved, no manifest", f"{REGISTRY}.swap_alias", "after"),
    Death("manifest written, other aliases not moved", f"{JOURNAL}:write_manifest", "after"),
    Death("aliases moved, nothing in the audit log", f"{JOURNAL}:record_intent"),
    Death("in the audit log, not noted as such", "shadow_platform.adapters.log:FileLogSink.append_many", "after"),
    Death("audited, intent still there", f"{JOURNAL}:record_intent", "after"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> VersionsHome:
    """Version 1 serves."""
    return VersionsHome(tmp_path_factory.mktemp("transitions") / "home").make()


def _promote(folder: Path, death: Death, version: str) -> None:
    death.await_it()
    VersionsHome(folder).promote(version)


@pytest.mark.parametrize("death", [*BEFORE, *BEHIND], ids=lambda death: death.what)
def test_promotion_killed_anywhere_happened_whole_or_not_at_all_and_can_be_repeated(
    home: VersionsHome, death: Death, tmp_path: Path
) -> None:
    old = home.manifest.champion.version
    new = "2" if old != "2" else "3"
    digest = home.platform.registry().get("tiny", new).bundle_hash
    shutil.rmtree(home.layout.bundles / digest, ignore_errors=True)

    assert ended(started(_promote, home.folder, death, new)) == -signal.SIGKILL

    home.require_whole_artifacts(tmp_path / "fetched")
    repaired = home.platform.reconcile(USE_CASE)
    assert repaired is not None
    assert repaired.champion.version == (new if death in BEHIND else old)
    home.require_agreement()
    assert home.promote(new).champion.version == new
    home.require_agreement()
