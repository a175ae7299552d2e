"""Every command of docs/tutorial-your-own-use-case.md runs as printed, and leads to what the page says."""

import json
import re
from pathlib import Path

import pytest

from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.newcomer import newcomer
from shadow_platform_tests.processes import free_port
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "tutorial-your-own-use-case.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
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
