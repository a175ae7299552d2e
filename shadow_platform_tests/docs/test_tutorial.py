"""Every command of docs/tutorial-your-own-use-case.md runs as printed, and leads to what the page says."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.scaffold import example
from shadow_platform.scaffold.package import write_package
from shadow_platform.scaffold.table import read_event_table
from shadow_platform_tests.newcomer import newcomer
from shadow_platform_tests.processes import free_port
from shadow_platform_tests.sources import REPOSITORY
from shadow_platform_tests.testing.test_rules import hold

PAGE = (REPOSITORY / "docs" / "tutorial-your-own-use-case.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PRINTED = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.processes
@pytest.mark.timeout(960)
def test_the_commands_lead_from_a_csv_to_a_promoted_challenger(tmp_path: Path) -> None:
    machine = newcomer(tmp_path)
    # The port alone is another one: 8000 may be somebody's.
    output = machine.run("\n".join(COMMANDS).replace("8000", str(free_port())))
    for text in PRINTED:
        assert text in output
    manifest = read_manifest(Layout(machine.folder / "returns" / "data").manifest("returns"))
    assert manifest is not None
    assert manifest.champion.model_name == "gradient_boosting"
    (answer,) = (json.loads(found) for found in re.findall(r'\{"request_id.*\}', output))
    assert answer["model_version"] == manifest.champion.version
    # A history that cannot be looked up within the deadline, on a busy machine, is imputed and said to be.
    assert answer["feature_sources"]["request"] == 4
    assert answer["feature_sources"]["online"] + answer["feature_sources"]["imputed"] == 4
    assert "returns_customer_history" in output


def test_the_derivation_of_the_page_meets_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example.write(tmp_path / "orders.csv")
    table = read_event_table(tmp_path / "orders.csv", example.ROLES)
    package = write_package("returns", "Returned orders", table, tmp_path) / "returns"
    module, (imported, made) = PYTHON[0], PYTHON[1].strip().split("\n\n")
    (package / "derivations.py").write_text(module, encoding="utf-8")
    _change(package / "features.py", r"^FEATURES = .*$", f"{imported}\n{made}")
    _change(package / "__init__.py", r"^USE_CASE = ", "from returns.features import DERIVATIONS\n\nUSE_CASE = ")
    _change(
        package / "__init__.py", r"^    features=FEATURES,$", "    features=FEATURES,\n    derivations=DERIVATIONS,"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    try:
        use_case = importlib.import_module("returns").USE_CASE
        assert [feature.name for feature in use_case.derived_features("price_against_history")] == ["price_to_mean_14d"]
        for rule in (
            *("read_features_that_are_given", "for_any_values", "derive_the_same_values"),
            *("everything_is_described", "numbers_have_a_unit", "examples_are_a_valid_request"),
        ):
            hold(use_case, rule)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "returns"]:
            del sys.modules[name]


def _change(path: Path, pattern: str, replacement: str) -> None:
    text, n = re.subn(pattern, lambda _: replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert n == 1, f"{pattern} is there {n} times"
    path.write_text(text, encoding="utf-8")
