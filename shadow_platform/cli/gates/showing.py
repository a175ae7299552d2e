"""``shadow gate show``: a decision, or all of them, as a table.

Upstream: ``gate_decisions``. Downstream: people.
"""

from rich.console import Console
from rich.table import Table

from shadow_platform.assets.gates.replaying import StoredDecision, decision_named, decisions
from shadow_platform.contracts.verdicts import Criterion, Decision, Outcome, Purpose
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

CONSOLE = Console()
COLORS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INSUFFICIENT: "yellow"}
DECISION_COLORS = {Decision.PROMOTE: "green", Decision.WAIT: "yellow", Decision.REJECT: "red"}


def show_decision(use_case_name: str, prefix: str | None) -> None:
    """Print one decision; raises ``LakeError`` when there is none of that id."""
    platform, use_case = PlatformResource(), load_use_case(use_case_name)
    stored = decision_named(platform, use_case, prefix)
    decision, maturity = stored.decision, stored.decision.maturity
    CONSOLE.print(f"{_asked(stored)}  [bold {_color(stored)}]{decision.decision}[/]", highlight=False)
    CONSOLE.print(f"decision {decision.decision_id}, as of {decision.as_of:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True)
    table = Table("criterion", "outcome", "value", "limit", "n", "why")
    for criterion in decision.criteria:
        color, outcome = COLORS[criterion.outcome], criterion.outcome.value
        hard = " (hard)" if criterion.is_hard else ""
        figures = [_figure(criterion, "value"), _figure(criterion, "limit"), f"{criterion.n:,}"]
        table.add_row(f"{criterion.name}{hard}", f"[{color}]{outcome}[/]", *figures, criterion.reason)
    CONSOLE.print(table)
    CONSOLE.print(
        f"{maturity.n_requests:,} answers of the champion: {maturity.n_labelled:,} with outcome, {maturity.n_hidden:,} "
        f"hidden, {maturity.n_pending:,} pending ({maturity.pending_share:.1%})",
        soft_wrap=True,
    )
    if stored.page:
        CONSOLE.print(f"page: {platform.layout.home / stored.page}", soft_wrap=True)


def list_decisions(use_case_name: str) -> None:
    """Print every decision, the latest last."""
    table = Table("id", "as of (UTC)", "champion", "challenger", "for", "decision", "pairs", "pending")
    for stored in decisions(PlatformResource(), load_use_case(use_case_name)):
        decision = stored.decision
        table.add_row(
            decision.decision_id[:12],
            f"{decision.as_of:%Y-%m-%d %H:%M}",
            decision.champion_version,
            decision.challenger_version,
            decision.purpose.value,
            f"[{_color(stored)}]{decision.decision}[/]",
            str(decision.maturity.n_labelled),
            f"{decision.maturity.pending_share:.0%}",
        )
    CONSOLE.print(table)


def _asked(stored: StoredDecision) -> str:
    decision = stored.decision
    if decision.purpose is Purpose.WATCH:
        return f"watch: bring version {decision.challenger_version} back in place of {decision.champion_version}?"
    return f"challenge: version {decision.challenger_version} in place of champion {decision.champion_version}?"


def _color(stored: StoredDecision) -> str:
    return DECISION_COLORS[stored.decision.decision]


def _figure(criterion: Criterion, name: str) -> str:
    value = getattr(criterion, name)
    return "" if value is None else f"{value:.5g}"
