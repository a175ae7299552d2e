"""What a look at a sequence rests on, as of a time: the same rows come out whenever it is read again.

Belongs here: which answers, comparisons, labels and A/A run count. Does not belong here: what they show (domain.gates).
Upstream: predictions, shadow_comparisons, labels, a_a_runs, bundles. Downstream: ``decision``, ``replaying``.

Answers are dated by the service, labels by whoever reports them, and clocks differ. A request dated after the look is
not in yet. A label that was known before its request was made is about something else, and is not believed.

Tables follow their logs, some nights late. So a decision says up to which record of each log the tables were made then,
and reading them again leaves out what was tabled since.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from itertools import chain

import pandas as pd

from shadow_platform.assets.gates.knowledge import knowledge_of
from shadow_platform.assets.gates.sequences import policy_of, require_bundle
from shadow_platform.contracts.tables import LABELS, PREDICTIONS, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import GatePolicy, LabelPolicy, UseCase
from shadow_platform.contracts.verdicts import GateDecision, GateSequence
from shadow_platform.domain import censoring, gates
from shadow_platform.domain.labels import matured_cohort, pair, settled
from shadow_platform.partitions import gapless_end, tabled_until
from shadow_platform.resources import PlatformResource

DECIDING_CODE = (
    *("adapters/lake/answers.py", "adapters/lake/log_tables.py", "assets/gates", "contracts/policies/decisions.py"),
    *("contracts/verdicts.py", "domain/censoring.py", "domain/gates", "domain/labels", "partitions.py"),
    "resources/a_a.py",
)
"""Folders and modules below the package; what else is read has its own fingerprint as rows."""
DECIDING_LIBRARIES = ("numpy", "pandas", "scipy")
NOT_DECIDING = ("__init__", "exposition", "recording", "replaying", "reviewing", "wording")


@dataclass(frozen=True, slots=True)
class Look:
    """When a sequence is looked at.

    Attributes:
        as_of: requests count that were made until then and, of their labels, those known until then.
        read_at: time of the decision; A/A runs that were recorded later are left out.
        labels_until: labels known later do not count; ``as_of`` but for a review, which knows of corrections.
        answers_until, comparisons_until: what was logged later is left out: the time of the decision, and when it is
            read again the newest that was in the tables then; ``None``: nothing was.
    """

    as_of: datetime
    read_at: datetime
    labels_until: datetime
    answers_until: datetime | None
    comparisons_until: datetime | None


def look_again(decision: GateDecision, decided_at: datetime, labels_until: datetime | None = None) -> Look:
    """The look of a decision that was made; with ``labels_until``, on the labels known until then."""
    answers, comparisons = (_time_of(decision.fingerprints[name]) for name in ("answers_until", "comparisons_until"))
    return Look(decision.as_of, decided_at, labels_until or decision.as_of, answers, comparisons)


def capped(platform: PlatformResource, use_case: UseCase, sequence: GateSequence, look: Look) -> Look:
    """The look at a sequence, not behind the first day since its start that answers or comparisons lack.

    A day lacks when the other table, or a later day of its own, is there: after the last of both there may have been no
    traffic, and what is tabled of it later is told by ``answers_until`` and ``comparisons_until``.
    """
    first, as_of = sequence.evidence_from.astimezone(UTC).date(), look.as_of
    tables = [platform.lake().table_days(schema, use_case) for schema in (PREDICTIONS, SHADOW_COMPARISONS)]
    last = max(chain(*tables), default=first)
    for days in tables:
        present = [day for day in days if day >= first]
        end = gapless_end(present)
        if end is not None and end.date() <= last:
            as_of = tabled_until(present, as_of)
    return replace(look, as_of=as_of, labels_until=as_of)


def inputs_of(platform: PlatformResource, use_case: UseCase, sequence: GateSequence, look: Look) -> gates.GateInputs:
    """Everything the decision of one look rests on."""
    policy, horizon = policy_of(sequence), use_case.label.horizon
    challenger = platform.bundle(use_case, sequence.challenger_version)
    require_bundle(sequence.challenger_bundle, challenger.hash, sequence.challenger_version)
    answers = _answers(platform, use_case, sequence, policy, look)
    comparisons = _comparisons(platform, use_case, sequence, answers, look)
    paired = pair(answers, comparisons, sequence.challenger_version)
    labels = _labels(platform, use_case, sequence.evidence_from, look.labels_until)
    due = paired[paired["requested_at"] <= look.as_of - horizon]
    cohort = censoring.censor(matured_cohort(due, labels, look.labels_until, horizon), use_case.label.hidden_by)
    a_a = platform.latest_a_a(use_case, sequence.champion_bundle, look.read_at)
    manifest = challenger.manifest
    return gates.GateInputs(
        sequence=sequence,
        as_of=look.as_of,
        policy=policy,
        answered=settled(paired, look.as_of - horizon),
        cohort=cohort,
        maturity=gates.maturity_of(answers, cohort, look.as_of),
        parity=manifest.parity.outcome,
        parity_n=manifest.parity.n,
        a_a=a_a,
        knowledge=knowledge_of(platform, use_case, manifest, look.as_of),
        fingerprints={
            "champion_bundle": sequence.champion_bundle,
            "challenger_bundle": sequence.challenger_bundle,
            "code": deciding_code(),
            "libraries": deciding_libraries(),
            "label_policy": _label_policy(use_case.label),
            "training_frame": manifest.fingerprints.get("data", "none"),
            "a_a": a_a.run_id if a_a else "none",
            "answers": digest(answers.drop(columns="logged_at")),
            "answers_until": _text_of(answers["logged_at"].max()),
            "comparisons": digest(paired[["request_id", *paired.columns.difference(answers.columns)]]),
            "comparisons_until": _text_of(comparisons["compared_at"].max()),
            "labels": digest(cohort[["request_id", "label", "known_at"]]),
        },
    )


def _answers(
    platform: PlatformResource, use_case: UseCase, sequence: GateSequence, policy: GatePolicy, look: Look
) -> pd.DataFrame:
    """The champion's own answers in prediction order, with what the policy clusters and cuts by."""
    names = [name for name in (*policy.segments, policy.cluster) if name in use_case.feature_names]
    first = sequence.evidence_from.astimezone(UTC).date()
    rows = platform.lake().read_answers(use_case, list(dict.fromkeys(names)), first)
    counts = (
        rows["variant"].eq("champion")
        & ~rows["is_fallback"].fillna(False).astype(bool)
        & rows["model_version"].eq(sequence.champion_version)
        & (rows["requested_at"] >= sequence.evidence_from)
        & (rows["requested_at"] <= look.as_of)
        & _is_recorded(rows["logged_at"], look.answers_until)
    )
    return rows[counts].sort_values(["requested_at", "request_id"], kind="stable").reset_index(drop=True)


def _labels(platform: PlatformResource, use_case: UseCase, since: datetime, until: datetime) -> pd.DataFrame:
    rows = platform.lake().read_table(LABELS, use_case, since.astimezone(UTC).date())
    return rows[(rows["known_at"] <= until) & (rows["known_at"] >= rows["requested_at"])]


def _comparisons(
    platform: PlatformResource, use_case: UseCase, sequence: GateSequence, answers: pd.DataFrame, look: Look
) -> pd.DataFrame:
    """What the challenger made of the answers."""
    first = sequence.evidence_from.astimezone(UTC).date()
    rows = platform.lake().read_table(SHADOW_COMPARISONS, use_case, first)
    counts = (
        rows["champion_version"].eq(sequence.champion_version)
        & rows["challenger_version"].eq(sequence.challenger_version)
        & rows["request_id"].isin(answers["request_id"])
        & _is_recorded(rows["compared_at"], look.comparisons_until)
    )
    return rows[counts]


def _is_recorded(times: "pd.Series[pd.Timestamp]", until: datetime | None) -> "pd.Series[bool]":
    """Rows whose record was there; the oldest do not say when they were logged."""
    return times.isna() if until is None else ~(times > until)


def _text_of(newest: pd.Timestamp) -> str:
    return "none" if pd.isna(newest) else newest.tz_convert("UTC").isoformat()


def _time_of(text: str) -> datetime | None:
    return None if text == "none" else datetime.fromisoformat(text)


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 over every cell, row order included; a column reads the same whether or not it holds nulls elsewhere."""
    texts = {str(name): column.astype("string") for name, column in rows.items() if column.dtype.kind not in "fM"}
    hashed = pd.util.hash_pandas_object(rows.assign(**texts)[sorted(rows.columns)], index=False)
    return hashlib.sha256(hashed.to_numpy().tobytes()).hexdigest()


def _label_policy(policy: LabelPolicy) -> str:
    return hashlib.sha256(f"{policy.horizon.total_seconds()} {policy.hidden_by}".encode()).hexdigest()


@lru_cache(maxsize=1)
def deciding_code() -> str:
    """SHA-256 of the source that decides, not of what shows a decision."""
    return hashlib.sha256(json.dumps(deciding_sources(), sort_keys=True).encode()).hexdigest()


def deciding_sources() -> dict[str, str]:
    """The modules that decide, by place below the package."""
    package, texts = files("shadow_platform"), dict[str, str]()
    for place in DECIDING_CODE:
        if place.endswith(".py"):
            texts[place] = (package / place).read_text(encoding="utf-8")
            continue
        for file in (package / place).iterdir():
            if file.name.endswith(".py") and file.name.removesuffix(".py") not in NOT_DECIDING:
                texts[f"{place}/{file.name}"] = file.read_text(encoding="utf-8")
    return texts


def deciding_libraries() -> str:
    """Versions of the packages that compute a decision."""
    return ", ".join(f"{name} {version(name)}" for name in DECIDING_LIBRARIES)
