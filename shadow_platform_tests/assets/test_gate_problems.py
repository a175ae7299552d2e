"""What nobody expected of one comparison keeps no other of the same run from its decision, and is told."""

import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_SEQUENCES
from shadow_platform_tests.assets.gate_home import USE_CASE, decide, served_home, stored
from shadow_platform_tests.assets.served import CHALLENGER


def test_an_error_that_nobody_expected_stops_no_other_decision_and_fails_the_run_with_its_kind(
    layout: Layout, capfd: pytest.CaptureFixture[str]
) -> None:
    home = served_home(layout)
    decide(home)
    rows = home.lake.read_table(GATE_SEQUENCES, USE_CASE)
    home.lake.append_rows(GATE_SEQUENCES, USE_CASE, rows.assign(policy="[]"))
    other = home.register(0.05, -2.0)
    home.platform.deploy(USE_CASE, "add_challenger", version=other, actor="somebody", reason="by hand")

    with pytest.raises(Exception, match=f"challenge of version {CHALLENGER} cannot be judged: AttributeError"):
        decide(home)

    assert {decision.challenger_version for decision in stored(home)} == {CHALLENGER, other}
    assert "in policy_of" in capfd.readouterr().err, "the log has no traceback of it"
