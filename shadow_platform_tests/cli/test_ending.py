"""How a command ends that cannot do its work: with 2, because 1 has a meaning of its own, and with words that help."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadow_platform.cli import app, typer_app
from shadow_platform.contracts.layout import Layout

pytestmark = pytest.mark.timeout(400)
Ended = Callable[..., tuple[int, str]]
TINY = ("-u", "shadow_platform_tests.tiny:USE_CASE")


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ended:
    """Run ``shadow`` as a shell does; its exit code, and what it says on stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["shadow", *arguments])
        with pytest.raises(SystemExit) as ended:
            app()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.fixture(params=["a file", "below a file"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that nobody can write to, not even root."""
    file = tmp_path / "file"
    file.write_text("")
    home = file if request.param == "a file" else file / "home"
    monkeypatch.setenv("SHADOW_HOME", str(home))
    return home


def test_a_time_that_is_none_is_not_told_as_nothing_to_do(shadow: Ended) -> None:
    code, said = shadow("retrain", *TINY, "--as-of", "banana")

    assert code == 2
    assert said == "shadow: 'banana' is no time; write it as 2013-04-01 or 2013-04-01T12:00, UTC\n"


@pytest.mark.parametrize("command", [("retrain", *TINY), ("ui",), ("demo", "-u", "churn")])
def test_a_home_that_cannot_be_used_is_named_on_one_line(
    unusable: Path, shadow: Ended, command: tuple[str, ...]
) -> None:
    code, said = shadow(*command)

    assert code == 2
    assert said.startswith(f"shadow: SHADOW_HOME={unusable} cannot be used: ")
    assert said.endswith("; make it a folder with room that you may read and write\n")
    assert said.count("\n") == 1


def test_a_service_names_a_home_that_cannot_be_used(unusable: Path) -> None:
    done = _apart("serve", *TINY)

    assert done.returncode == 2
    assert done.stderr.startswith(f"shadow: SHADOW_HOME={unusable} cannot be used: ")


def test_the_check_of_a_home_that_cannot_be_used_goes_on_with_the_others(unusable: Path) -> None:
    done = _apart("doctor", *TINY)

    said = done.stdout.splitlines()
    assert done.returncode == 1
    assert f"fail  home: SHADOW_HOME={unusable} cannot be used: " in said[1]
    checked = ["settings", "home", "use case", "feature store", "registry", "deployment"]
    assert [line[6:].partition(":")[0] for line in said] == checked


def test_a_use_case_that_nobody_knows_is_told_once_by_the_check() -> None:
    said = [line for line in _apart("doctor", "-u", "nobodys").stdout.splitlines() if "'nobodys' is unknown" in line]

    assert [line.partition(" is unknown")[0] for line in said] == ["fail  use case: use case 'nobodys'"]


@pytest.mark.parametrize(("command", "code"), [(("retrain", "-u", "nobodys"), 2), (("doctor", *TINY), 1)])
def test_what_libraries_warn_of_themselves_is_not_between_the_lines(command: tuple[str, ...], code: int) -> None:
    done = _apart(*command)

    assert done.returncode == code
    assert [line for line in done.stderr.splitlines() if not line.startswith("shadow: ")] == []


def test_an_error_that_nobody_expected_keeps_its_traceback(
    shadow: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_written_use_case.py").write_text("USE_CASE = 1 // 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    code, said = shadow("retrain", "-u", "half_written_use_case:USE_CASE")

    assert code == 2
    assert said.splitlines()[0] == "Traceback (most recent call last):"
    assert said.splitlines()[-1].startswith("ZeroDivisionError: ")


@pytest.mark.parametrize("command", [("serve", *TINY), ("ui",)])
@pytest.mark.parametrize("port", ["0", "65536"])
def test_a_port_that_is_none_is_refused(shadow: Ended, command: tuple[str, ...], port: str) -> None:
    code, said = shadow(*command, "--port", port)

    assert code == 2
    assert "--port" in said


IDLE = [
    (("demo", "-u", "churn", "--drift-start", "2024-08-01"), "--drift-start needs --drift, the kind of drift: cov"),
    (("demo", "-u", "churn", "--drift", "none", "--drift-size", "5"), "--drift-size needs --drift, the kind of"),
    (("simulation", "set", "-u", "churn", "--drift-days", "7"), "--drift-days needs --drift, the kind of drift: cov"),
    (("simulate", "-u", "churn", "--drift-shape", "gradual"), "--drift-shape needs --drift, the kind of drift: cov"),
    (("new-use-case", "returns", "--subject", "order_id"), "--subject names a column of --csv, which is missing"),
    (("challengers", "set", "7", *TINY), "nothing to change; give --sample-rate, --max-lag or --no-max-lag"),
    (
        ("challengers", "set", "7", *TINY, "--max-lag", "60", "--no-max-lag"),
        "give one of --max-lag 60 and --no-max-lag",
    ),
    (("traffic", *TINY, "--from", "2024-03-02", "--to", "2024-03-01"), "--to 2024-03-01 00:00:00 does not lie behind"),
    (("replay", "1", *TINY, "--from", "2024-03-02", "--to", "2024-03-02"), "--to 2024-03-02 00:00:00 does not lie beh"),
    (("promote", "1", *TINY, "--reason", " "), "--reason is empty; say why, for the audit trail"),
    (("rollback", *TINY, "--reason", ""), "--reason is empty; say why, for the audit trail"),
]


@pytest.mark.parametrize(("command", "told"), IDLE)
def test_what_would_be_left_out_without_a_word_is_refused(shadow: Ended, command: tuple[str, ...], told: str) -> None:
    code, said = shadow(*command)

    assert code == 2
    assert said.startswith(f"shadow: {told}")


EMPTY = [
    (("models", "list"), "no version of tiny in {home}"),
    (("models", "history"), "no alias has changed: tiny in {home}"),
    (("alerts", "list"), "no alert of tiny in the last 7 days in {home}"),
    (("rollout", "show"), "no rollout of tiny in {home} so far; the gate begins one when it decides to promote"),
]


@pytest.mark.parametrize(("command", "told"), EMPTY)
def test_an_empty_answer_says_where_it_looked(
    layout: Layout, command: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    said = CliRunner().invoke(typer_app, [*command, *TINY]).stdout

    assert said.strip() == told.format(home=layout.home)


@pytest.mark.parametrize(
    "command",
    [
        ("gate", "review"),
        ("canary", "status"),
        ("challengers",),
        ("challengers", "set", "2", "--no-max-lag"),
        ("challengers", "add", "2", "--reason", "again"),
        ("challengers", "remove", "2", "--reason", "slow"),
        ("a-a", "run"),
        ("rollback", "--reason", "bad"),
    ],
)
def test_before_the_first_champion_every_command_says_the_same(shadow: Ended, command: tuple[str, ...]) -> None:
    code, said = shadow(*command, *TINY)

    assert code == 2
    assert said.startswith("shadow: use case tiny serves no model yet")
    assert said.endswith("; run the job tiny_train in `shadow ui`, or `shadow demo -u tiny`\n")
    assert said.count("\n") == 1


def test_without_decisions_nothing_is_said_of_the_latest(shadow: Ended, layout: Layout) -> None:
    said = f"shadow: {layout.home} holds no decision on tiny that can be shown or run again\n"

    assert shadow("gate", "show", *TINY) == (2, said)


def _apart(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """``shadow`` in a process of its own, where nothing is imported and no warning is filtered yet."""
    command = [sys.executable, "-m", "shadow_platform.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
