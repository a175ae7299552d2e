"""Workflows of GitHub: valid, confined, and nothing in them that a developer could not run by the same name.

Belongs here: schema, rights, scripts, and the targets and commands they name. Does not belong here: what the make
targets do. Downstream: ``.github``.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadow_platform_tests.deploy.commands import unknown_words
from shadow_platform_tests.domain.drift.frames import frame
from shadow_platform_tests.sources import REPOSITORY

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SCRIPTS = sorted((GITHUB / "scripts").iterdir())
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
BIN = Path(sys.executable).parent
EXPECTED = {"check", "deploy", "drift", "images", "retrain", "security", "test"}

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def _load(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def _jobs(path: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = _load(path)["jobs"]
    return jobs


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    document = _load(path)
    for job in document["jobs"].values() if "jobs" in document else [document["runs"]]:
        yield from job.get("steps", [])


def _texts() -> list[str]:
    """Every line of shell there is: of workflows, of actions, of scripts."""
    runs = [step["run"] for path in (*WORKFLOWS, *ACTIONS) for step in _steps(path) if "run" in step]
    return [*runs, *(path.read_text(encoding="utf-8") for path in SCRIPTS)]


def _check(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / tool), *arguments], capture_output=True, text=True, check=False)


def test_there_is_a_workflow_for_each_purpose() -> None:
    assert {path.stem for path in WORKFLOWS} == EXPECTED == {_load(path)["name"] for path in WORKFLOWS}


def test_workflows_are_valid() -> None:
    done = _check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workflow_with_a_key_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))

    assert _check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(wrong)).returncode == 1


def test_actions_are_valid() -> None:
    done = _check("check-jsonschema", "--builtin-schema", "vendor.github-actions", *map(str, ACTIONS))

    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_is_what_it_looks_like(tmp_path: Path) -> None:
    paths = [*SCRIPTS]
    for number, text in enumerate(_texts()[: -len(SCRIPTS)]):
        paths.append(tmp_path / f"run-{number}.sh")
        paths[-1].write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{text}")

    done = _check("shellcheck", "--severity", "style", *map(str, paths))

    assert done.returncode == 0, done.stdout


@each_workflow
def test_a_workflow_may_read_the_code_and_no_more(path: Path) -> None:
    document = _load(path)
    rights = [document["permissions"], *(job.get("permissions", {}) for job in document["jobs"].values())]

    assert document["permissions"] == {"contents": "read"}
    allowed = {"contents": "read"} | ({"packages": "write"} if path.stem == "images" else {})
    assert all(right.items() <= allowed.items() for right in rights)


def test_no_pull_request_gets_a_right_to_write() -> None:
    writing = {
        (path.stem, name): job.get("if")
        for path in WORKFLOWS
        for name, job in _jobs(path).items()
        if "write" in job.get("permissions", {}).values()
    }

    assert writing == {("images", "push"): "github.event_name != 'pull_request'"}


@pytest.mark.parametrize(
    ("prefix", "tag", "image"),
    [
        ("ghcr.io/Example", "v1.2.3", "ghcr.io/example/shadow-platform/platform:1.2.3"),
        ("registry.example.com/ml", "0a1b2c", "registry.example.com/ml/shadow-platform/platform:0a1b2c"),
    ],
)
def test_an_image_is_pushed_under_the_name_it_was_built_with_to_the_registry_that_was_named(
    cluster: Path, prefix: str, tag: str, image: str
) -> None:
    path = GITHUB / "workflows" / "images.yml"
    calls = cluster / "calls"
    for name in ("docker", "make"):
        tool = cluster / "bin" / name
        tool.write_text(
            f'#!/usr/bin/env bash\necho "{name} $*" >>{calls}\n'
            f'[ "$1" != login ] || cat >{cluster}/password\n'
            '[ "$1" != inspect ] || echo "$4@sha256:00"\n'
        )
        tool.chmod(0o755)
    run = {step["name"]: step for step in _steps(path) if "run" in step}
    host, name = prefix.split("/")[0], prefix.lower()
    given = {"PREFIX": prefix, "TAG": tag, "ACTOR": "robot", "PASSWORD": host, "PYTHON_DIGEST": "sha256:00"}
    summary = cluster / "summary"

    for step in ("Build", "Pack", "Push"):
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", run[step]["run"]],
            env={**os.environ, **given, "GITHUB_STEP_SUMMARY": str(summary)},
            cwd=cluster,
            check=True,
        )

    assert calls.read_text().splitlines() == [
        f"make images IMAGES=platform PYTHON_DIGEST=sha256:00 TAG={tag.removeprefix('v')} REGISTRY={name}/",
        f"docker save {image}",
        "docker load --input platform.tar.gz",
        f"docker login {host} --username robot --password-stdin",
        f"docker push {image}",
        f"docker inspect --format {{{{ index .RepoDigests 0 }}}} {image}",
    ]
    assert (cluster / "password").read_text() == host
    assert summary.read_text() == f"`{image}` sha256:00\n"
    assert run["Push"]["env"]["PASSWORD"] == "${{ secrets.REGISTRY_PASSWORD || secrets.GITHUB_TOKEN }}"
    assert run["Push"]["env"]["ACTOR"] == "${{ vars.REGISTRY_USER || github.actor }}"


def test_git_answers_in_the_container_of_the_tests_although_the_folder_is_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(checkout))
    steps = [step["run"] for step in _steps(GITHUB / "workflows" / "test.yml") if "run" in step]

    def git() -> int:
        return subprocess.run(["git", "ls-files"], cwd=checkout, capture_output=True, check=False).returncode

    assert git() == 128
    for text in steps[: steps.index(".ci/run")]:
        subprocess.run(["bash", "-ec", text], check=True)
    assert git() == 0


@each_workflow
def test_a_workflow_ends_and_does_not_run_beside_itself(path: Path) -> None:
    assert "group" in _load(path)["concurrency"]
    assert all(0 < job["timeout-minutes"] <= 120 for job in _jobs(path).values() if "uses" not in job)


@each_workflow
def test_what_a_workflow_uses_is_pinned_and_from_a_known_hand(path: Path) -> None:
    used = [step["uses"] for step in _steps(path) if "uses" in step]
    used += [job["uses"] for job in _jobs(path).values() if "uses" in job]

    for name in used:
        assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})|\./\.github/[\w./-]+", name), name
        assert "@" in name or (REPOSITORY / name).exists(), name
    for step in _steps(path):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@each_workflow
def test_no_text_of_others_becomes_shell(path: Path) -> None:
    """Expressions are pasted into scripts before a shell reads them: values go through the environment."""
    assert [step["run"] for step in _steps(path) if "${{" in step.get("run", "")] == []


def test_secrets_reach_only_what_needs_them_and_are_printed_nowhere() -> None:
    printing = re.compile(r"(echo|cat|printenv|env\b|set -x|xtrace)")
    for path in (*WORKFLOWS, *ACTIONS):
        for step in _steps(path):
            secret = [key for key, value in step.get("env", {}).items() if "secrets." in str(value)]
            secret += [key for key in step.get("env", {}) if key == "KUBECONFIG_TEXT"]
            for name in secret:
                lines = [line for line in step["run"].splitlines() if f"${name}" in line and "[ -n" not in line]
                assert lines
                assert all(line.strip().startswith("printf") for line in lines), lines
                assert not printing.search("".join(lines))


def test_targets_that_are_called_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    builder = (REPOSITORY / "deploy" / "docker" / "build.sh").read_text(encoding="utf-8")
    variables = {*re.findall(r"^([A-Z_]+) *[?:]?=", makefile, re.MULTILINE), *re.findall(r"\$\{([A-Z_]+):-", builder)}
    called = [words for text in _texts() for words in re.findall(r"^\s*make (.+)$", text, re.MULTILINE)]
    named = {word for words in called for word in words.split() if "=" not in word}
    given = {word.partition("=")[0] for words in called for word in words.split() if "=" in word}

    assert {"check", "security", "images", "sbom", "manifests"} <= named <= targets
    assert given <= variables
    assert ".ci/run" in _texts()


def test_commands_that_are_called_exist() -> None:
    calls = [
        words.split()
        for text in _texts()
        for words in re.findall(r"in-cluster\"? (?:\"\$\w+\"|[a-z-]+) ([^|>&\n]+)", text.replace("\\\n", " "))
    ]
    calls += [["drift", "--use-case", "x", "--live", "--format", "json"]]
    plain = [[word for word in call if not word.startswith(('"', "$"))] for call in calls]

    assert {call[0] for call in plain} == {"drift", "retrain", "gate", "doctor"}
    assert [call for call in plain if unknown_words(call)] == []


def test_inputs_of_a_retraining_are_options_of_the_command() -> None:
    step = next(step for step in _steps(GITHUB / "workflows" / "retrain.yml") if step.get("name") == "Train")
    options = re.findall(r"--[a-z-]+", step["run"] + str(step["env"]))
    dispatch, call = (
        _load(GITHUB / "workflows" / "retrain.yml")[True][k]["inputs"] for k in ("workflow_dispatch", "workflow_call")
    )

    assert unknown_words(["retrain", *options]) == []
    assert {"--force", "--promote", "--no-promote", "--drift-threshold", "--environment", "--use-case"} <= {*options}
    assert dispatch.keys() == call.keys()
    assert {"force_retrain", "promote_challenger", "drift_threshold", "environment"} <= dispatch.keys()


@pytest.mark.parametrize("event", ["workflow_dispatch", "workflow_call"])
def test_a_threshold_that_nobody_names_is_left_to_the_platform(event: str) -> None:
    workflow = GITHUB / "workflows" / "retrain.yml"
    step = next(step for step in _steps(workflow) if step.get("name") == "Train")

    assert _load(workflow)[True][event]["inputs"]["drift_threshold"]["default"] == ""
    assert '[ -z "$THRESHOLD" ] || options+=(--drift-threshold "$THRESHOLD")' in step["run"]


def test_production_comes_after_staging_and_the_model_gate() -> None:
    jobs = _jobs(GITHUB / "workflows" / "deploy.yml")

    assert jobs["gate"]["needs"] == "staging"
    assert jobs["production"]["needs"] == "gate"
    assert jobs["production"]["environment"] == "production"
    assert "gate review" in "".join(step.get("run", "") for step in jobs["gate"]["steps"])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``kubectl`` that runs the real command here, in place of a cluster's pod; returns the working folder."""
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(f'#!/usr/bin/env bash\nwhile [ "$1" != "--" ]; do shift; done\nshift\nexec {BIN}/"$@"\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{kubectl.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    return tmp_path


def _judge(cluster: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(GITHUB / "scripts" / "judge-drift"), "ml-production", *options],
        cwd=cluster,
        capture_output=True,
        text=True,
        check=False,
    )
    output = cluster / "output"
    return done.returncode, output.read_text() if output.exists() else done.stdout


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, and two windows beside it: one too short to judge."""
    folder = tmp_path_factory.mktemp("windows")
    frame(3_000, 1, n_days=60).to_parquet(folder / "reference.parquet")
    frame(3_000, 2).to_csv(folder / "current.csv", index=False)
    frame(20, 3).to_csv(folder / "short.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("window", "shift", "code", "output"),
    [("current", "0", 0, "has_drift=false\n"), ("current", "0.5", 1, "has_drift=true\n"), ("short", "0", 2, "")],
    ids=["no drift", "drift", "could not tell"],
)
def test_the_exit_code_of_the_command_decides_the_night(
    cluster: Path, windows: Path, window: str, shift: str, code: int, output: str
) -> None:
    given = ("--reference", str(windows / "reference.parquet"), "--current", str(windows / f"{window}.csv"))

    exit_code, said = _judge(cluster, *given, "--simulate-drift", shift)

    assert exit_code == (0 if code < 2 else code)
    assert said == output or (code == 2 and "exit code 2" in said)


def test_a_cluster_that_is_away_is_no_drift(cluster: Path) -> None:
    (cluster / "bin" / "kubectl").write_text("#!/usr/bin/env bash\necho 'connection refused' >&2\nexit 1\n")

    exit_code, said = _judge(cluster, "--live")

    assert exit_code == 2
    assert "no verdict" in said
    assert not (cluster / "output").exists()
