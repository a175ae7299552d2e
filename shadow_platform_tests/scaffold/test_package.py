"""``shadow new-use-case`` writes a package that can be installed and meets the contract, or writes nothing."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.scaffold import example
from shadow_platform.scaffold.package import check_name, write_package
from shadow_platform.scaffold.table import EventTable, read_event_table
from shadow_platform_tests.newcomer import Newcomer, newcomer
from shadow_platform_tests.sources import REPOSITORY

AWKWARD = {
    "customer_id": "Customer (group)",
    "ordered_at": "order",
    "price_eur": "Price, EUR",
    "discount_pct": "select",
    "category": "event_at",
    "is_returned": "has come back?",
    "returned_at": "known at",
}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "orders.csv"
    example.write(path)
    return path


@pytest.fixture(scope="module")
def table(orders: Path) -> EventTable:
    return read_event_table(orders, example.ROLES)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return newcomer(tmp_path_factory.mktemp("newcomer"))


def test_a_package_holds_all_that_its_readme_names(table: EventTable, tmp_path: Path) -> None:
    target = write_package("returns", "Returned orders", table, tmp_path)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {
        *(".gitignore", "README.md", "pyproject.toml", "feast_repo/definitions.py", "feast_repo/feature_store.yaml"),
        *("returns/__init__.py", "returns/events.py", "returns/features.py", "returns/models.py"),
        *("returns/sql/customer_history.sql", "returns/sql/labels.sql", "returns/sql/requests.sql"),
        *("returns/data/orders.csv", "tests/test_contract.py"),
    }
    assert (target / "returns" / "data" / "orders.csv").read_bytes() == table.path.read_bytes()
    configuration = REPOSITORY / "feature_repo" / "feature_store.yaml"
    assert (target / "feast_repo" / "feature_store.yaml").read_text() == configuration.read_text()


def test_what_is_written_is_as_tidy_as_the_platform(table: EventTable, tmp_path: Path) -> None:
    target = write_package("returns", "Returned orders", table, tmp_path)
    configuration = str(REPOSITORY / "pyproject.toml")
    for command in (["check", "--config", configuration], ["format", "--check", "--config", configuration]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            cwd=target,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Returns", "2nd", "re-turns", "class", "a b", "../x", ""])
def test_a_name_that_is_no_package_name_is_refused(name: str) -> None:
    with pytest.raises(UseCaseError, match="is no name of a package; expected lower case letters"):
        check_name(name)


@pytest.mark.parametrize(("name", "why"), [("churn", "exists already"), ("json", "is the name of an installed")])
def test_a_name_that_is_taken_is_refused(name: str, why: str) -> None:
    with pytest.raises(UseCaseError, match=why):
        check_name(name)


def test_nothing_is_overwritten(table: EventTable, tmp_path: Path) -> None:
    mine = tmp_path / "returns" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UseCaseError, match="returns exists already; choose another name or --folder"):
        write_package("returns", "Returned orders", table, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["returns", "mine.txt"]


def test_a_package_is_never_half_written(table: EventTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.copyfile", _disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_package("returns", "Returned orders", table, tmp_path)
    assert list(tmp_path.iterdir()) == []


def _disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_csv_without_roles_is_answered_with_the_missing_options(orders: Path, tmp_path: Path) -> None:
    arguments = ["new-use-case", "returns", "--folder", str(tmp_path), "--csv", str(orders), "--subject", "order_id"]
    result = CliRunner().invoke(typer_app, arguments)
    assert isinstance(result.exception, UseCaseError)
    assert "--entity, --asked-at, --label, --label-at missing: say which column" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_a_package_of_awkward_columns_is_found_once_installed_and_meets_the_contract(
    machine: Newcomer, orders: Path
) -> None:
    export = machine.folder / "requests.csv"
    pd.read_csv(orders, dtype=str).rename(columns=AWKWARD).assign(remark="").to_csv(export, index=False)
    machine.run(
        "shadow new-use-case awkward --title 'Say \"no\"' --csv requests.csv --subject order_id"
        " --entity 'Customer (group)' --asked-at order --label 'has come back?' --label-at 'known at'"
        " --leave-out channel"
    )
    machine.run("pip install ./awkward && mv awkward/tests tests && rm -r awkward")
    found = "from shadow_platform.use_cases import load_use_case as l; import awkward; print(l('awkward').title)"
    assert machine.run(f'python -c "{found}"') == 'Say "no"\n'
    assert "passed" in machine.run("pytest -q tests")
