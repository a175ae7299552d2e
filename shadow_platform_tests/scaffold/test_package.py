"""``shadow new-use-case`` writes a package that can be installed and meets the contract, or writes nothing."""

import importlib
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from jinja2 import Template
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.scaffold import example
from shadow_platform.scaffold.package import check_name, write_package
from shadow_platform.scaffold.table import EventTable, Roles, read_event_table
from shadow_platform.testing.tables import accepted, requests_of, run
from shadow_platform_tests.newcomer import Newcomer, newcomer
from shadow_platform_tests.sources import REPOSITORY

DAY = timedelta(days=1)
AWKWARD = {
    "customer_id": "Customer (group)",
    "ordered_at": "order",
    "price_eur": "Price, EUR",
    "discount_pct": "select",
    "category": "event_at",
    "is_returned": 'has "come\nback"?',
    "returned_at": "known at",
}
HOSTILE = {
    "customer_id": "Kunde\n; DROP TABLE orders --",
    "is_returned": 'is "bad"\n\\',
    "returned_at": "{{ name }} '''\u2028",
    "price_eur": "left",
    "discount_pct": "positive",
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
        *(".gitignore", "README.md", "pyproject.toml", "feast_repo/definitions.py"),
        *("feast_repo/feature_store.yaml", "feast_repo/feature_store.scale.yaml"),
        *("returns/__init__.py", "returns/events.py", "returns/features.py", "returns/models.py"),
        *("returns/sql/customer_history.sql", "returns/sql/labels.sql", "returns/sql/requests.sql"),
        *("returns/data/orders.csv", "tests/test_contract.py"),
    }
    assert (target / "returns" / "data" / "orders.csv").read_bytes() == table.path.read_bytes()
    for name in ("feature_store.yaml", "feature_store.scale.yaml"):
        assert (target / "feast_repo" / name).read_text() == (REPOSITORY / "feature_repo" / name).read_text()


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


def written(rows: pd.DataFrame, file: str, roles: Roles, name: str, folder: Path) -> Path:
    """Path of a package written from rows."""
    rows.to_csv(folder / file, index=False)
    return write_package(name, "Say '\"no\"' \U0001f600", read_event_table(folder / file, roles), folder)


def loaded(name: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> UseCase:
    monkeypatch.syspath_prepend(str(package))
    use_case: UseCase = importlib.import_module(name).USE_CASE
    return use_case


def test_foreign_text_is_data_whatever_it_holds(orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.read_csv(orders, dtype=str).rename(columns=HOSTILE)
    rows.loc[0, ["category", "order_id"]] = ['line\n"break"', "O\n1"]
    rows.loc[1, ["category", "order_id"]] = ['"""\\', "'; --"]
    roles = Roles("order_id", HOSTILE["customer_id"], "ordered_at", HOSTILE["is_returned"], HOSTILE["returned_at"])
    package = written(rows, "orders.csv", roles, "hostile_words", tmp_path)
    use_case = loaded("hostile_words", package, monkeypatch)
    assert HOSTILE["is_returned"] in use_case.label.description
    assert use_case.model("gradient_boosting")
    examples = {feature.name: feature.example for feature in use_case.request_features}
    assert (examples["category"], use_case.subject_example) == ('"""\\', "'; --")
    description = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]["description"]
    assert description == use_case.title == "Say '\"no\"' \U0001f600"
    source = use_case.source()
    day = source.first_day()
    tables = {kind.name: accepted(kind, source.received_on(day)[kind.name]) for kind in use_case.events}
    start = pd.Timestamp(day, tz="UTC")
    assert len(requests_of(use_case, tables, start, start + DAY)) == (rows["ordered_at"] < "2024-01-02").sum() - 1


def test_no_column_is_taken_for_one_that_the_sql_makes(
    orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ["positive", "asked", "day_no", "sum_price_eur", "n_price_eur", "price_eur_sum", "recent", "daily"]
    rows = pd.read_csv(orders, dtype=str)
    for place, name in enumerate(made):
        rows[name] = [str(1 + (number * (place + 3)) % 11) for number in range(len(rows))]
    use_case = loaded("named_alike", written(rows, "received.csv", example.ROLES, "named_alike", tmp_path), monkeypatch)
    source, (view,) = use_case.source(), use_case.views
    days = [source.first_day() + n * DAY for n in range(5)]
    batches = [source.received_on(day) for day in days]
    tables = {kind.name: accepted(kind, [r for rows in batches for r in rows[kind.name]]) for kind in use_case.events}
    start = pd.Timestamp(days[0], tz="UTC")
    found = run(view.sql, tables, start=start, end=start + 5 * DAY)
    found = found[found["event_at"] == start + 5 * DAY].set_index("customer_id").sort_index()
    by_customer = tables["received"].groupby("customer_id")
    for name in (*made, "price_eur", "discount_pct"):
        expected = by_customer[name].mean().loc[found.index]
        pd.testing.assert_series_equal(found[f"{name}_mean_14d"], expected, check_names=False)
    asked = by_customer.size().loc[found.index].astype(float)
    pd.testing.assert_series_equal(found["received_14d"], asked, check_names=False)


def test_a_file_called_as_its_label_gives_two_histories(
    orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = written(pd.read_csv(orders, dtype=str), "returned.csv", example.ROLES, "called_alike", tmp_path)
    names = loaded("called_alike", package, monkeypatch).feature_names
    assert {"records_14d", "returned_14d"} <= set(names)
    assert len(names) == len(set(names))


def test_a_column_called_as_a_history_is_refused(orders: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(orders, dtype=str).assign(price_eur_mean_14d="1")
    with pytest.raises(UseCaseError, match="both be called 'price_eur_mean_14d'; rename the column, or take it out"):
        written(rows, "orders.csv", example.ROLES, "history", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]


@pytest.mark.parametrize(("place", "wrong"), [("__init__.py", "title=Re turns"), ("labels.sql", "SELECT FROM WHERE")])
def test_what_would_not_be_sound_is_not_written(
    table: EventTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, wrong: str
) -> None:
    render = Template.render
    monkeypatch.setattr(
        Template, "render", lambda self, *given: wrong if place in str(self.name) else render(self, *given)
    )
    with pytest.raises(UseCaseError, match=rf"(?s){place} would not be sound \(.*give the columns of the file plainer"):
        write_package("returns", "Returned orders", table, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
@pytest.mark.timeout(960)
def test_a_package_of_awkward_columns_is_found_once_installed_and_meets_the_contract(
    machine: Newcomer, orders: Path
) -> None:
    export = machine.folder / "requests.csv"
    rows = pd.read_csv(orders, dtype=str)
    # A time of receipt and an id that mean something else, and a subject that no header takes.
    later = pd.to_datetime(rows["ordered_at"]) + pd.Timedelta(days=2)
    rows = rows.rename(columns=AWKWARD).assign(remark="", received_at=later.astype(str), event_id="concert")
    rows["order_id"] = "Müller " + rows["order_id"]
    rows.to_csv(export, index=False)
    machine.run(
        "shadow new-use-case awkward --title 'Say \"no\"' --csv requests.csv --subject order_id"
        " --entity 'Customer (group)' --asked-at order --label $'has \"come\\nback\"?' --label-at 'known at'"
        " --leave-out channel"
    )
    with (machine.folder / "awkward" / "awkward" / "data" / "records.csv").open("ab") as file:
        file.write(b"M\xfcller,only,three\n\n" + b"," * (len(rows.columns) - 1) + b"\n")
    machine.run("pip install ./awkward && mv awkward/tests tests && rm -r awkward")
    found = "from shadow_platform.use_cases import load_use_case as l; import awkward; print(l('awkward').title)"
    assert machine.run(f'python -c "{found}"') == 'Say "no"\n'
    assert "passed" in machine.run("pytest -q tests")
