"""``shadow gate replay`` and ``review``: stored decisions run again, on the same labels and on those known now.

Upstream: ``assets.gates``. Downstream: exit codes for auditors and continuous integration; rows of ``gate_reviews``.
"""

from rich.console import Console
from rich.table import Table

from shadow_platform.assets.gates.replaying import Rerun, decision_named, run_again
from shadow_platform.assets.gates.reviewing import note, review
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

CONSOLE = Console()
MEANING = {
    "a_a": "another A/A run of the champion counts",
    "answers": "the champion's answers of that time are others",
    "answers_until": "the newest answer that was in the table",
    "champion_bundle": "the champion's bundle",
    "challenger_bundle": "the challenger's bundle",
    "code": "the sources that decide",
    "comparisons": "what the challenger made of the requests",
    "comparisons_until": "the newest comparison that was in the table",
    "evidence": "some cell of the evidence, as the others tell",
    "label_policy": "the label's horizon, or who hides outcomes",
    "labels": "labels that were known then",
    "labels_as_of": "the time",
    "libraries": "the versions of numpy, pandas and scipy",
    "operation": "the rows that errors, latency and coverage are judged on",
    "policy": "the gate's policy",
    "training_frame": "the challenger's training frame",
}


def replay_decision(use_case_name: str, prefix: str) -> int:
    """Print whether a decision comes out the same; the exit code: 0 the same bytes, 1 others.

    Raises:
        ShadowPlatformError: the decision is unknown, or something it rests on is gone.
    """
    platform, use_case = PlatformResource(), load_use_case(use_case_name)
    stored = decision_named(platform, use_case, prefix)
    rerun = run_again(platform, use_case, stored)
    if rerun.found.model_dump_json() == stored.record:
        said = f"decision {rerun.found.decision_id} comes out the same, byte for byte: {rerun.found.decision}"
        CONSOLE.print(said, soft_wrap=True)
        return 0
    CONSOLE.print(_difference(rerun), soft_wrap=True)
    table = Table("differs", "what that is")
    for name in rerun.differing:
        table.add_row(name, MEANING.get(name, ""))
    if rerun.differing:
        CONSOLE.print(table)
    else:
        CONSOLE.print("every fingerprint is the same: something outside them decides; compare the machines")
    return 1


def review_decisions(use_case_name: str, days: int) -> int:
    """Print and note which promotions rest on labels that were corrected since; the exit code: 1 one is reopened.

    Raises:
        NoChampion: nothing was ever deployed here: the home may be the wrong one.
    """
    platform, use_case = PlatformResource(), load_use_case(use_case_name)
    if platform.manifest(use_case) is None:
        raise NoChampion(use_case.name, platform.layout.manifest(use_case.name))
    reruns, unreadable = review(platform, use_case, days)
    note(platform, use_case, reruns)
    table = Table("decision", "version", "as of (UTC)", "decided", "now", "outcome", "changed")
    for rerun in reruns:
        stored = rerun.stored
        outcome = "stands" if rerun.has_same_figures else "changed" if rerun.is_decided_alike else "reopened"
        changed = "" if rerun.has_same_figures else ", ".join(rerun.differing)
        named = [stored.decision_id[:12], stored.challenger_version, f"{stored.as_of:%Y-%m-%d %H:%M}"]
        table.add_row(*named, stored.decision.value, rerun.found.decision.value, outcome, changed)
    nothing = f"no decision changed the champion of {use_case.name} in {platform.layout.home} in the last {days} days"
    CONSOLE.print(table if reruns else nothing, soft_wrap=not reruns)
    for problem in unreadable:
        CONSOLE.print(problem, soft_wrap=True)
    return int(not all(rerun.is_decided_alike for rerun in reruns))


def _difference(rerun: Rerun) -> str:
    stored, found = rerun.stored, rerun.found
    same = "and concludes the same" if rerun.is_decided_alike else f"and is {found.decision} now"
    return f"decision {stored.decision_id} ({stored.decision}) comes out otherwise {same}: {found.decision_id}"
