"""A version's descent and descendants: bundle, run, frame, partitions and code behind it; decisions and answers after.

Belongs here: the tree. Does not belong here: reading what it is made of. Upstream: details of the version, MLflow's
run, the audit trail, gate decisions, the prediction log. Downstream: ``shadow models lineage``.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.lineage import FrameRecord, PartitionSnapshot
from shadow_platform.contracts.versions import LineageNode, RunRecord, Scalar, ServiceRecord, VersionDetails

# Tags that say which program trained a version; its bundle does not know them.
CODE_TAGS = ("git_commit", "git_is_dirty", "lock_sha256")


def lineage(
    details: VersionDetails,
    run: RunRecord | None,
    transitions: Sequence[Mapping[str, Any]],
    decisions: Sequence[Mapping[str, Any]],
    service: Sequence[ServiceRecord],
) -> LineageNode:
    """All that a version comes from, and all that it led to.

    Args:
        run: ``None`` when MLflow does not have it, or only as deleted.
        transitions: rows of ``model_transitions`` that name the version, oldest first.
        decisions: rows of ``gate_decisions`` that name the version, oldest first.
    """
    summary = details.summary
    facts: dict[str, Scalar] = {
        "model": summary.model_name,
        "aliases": ", ".join(summary.aliases) or "none",
        "registered": summary.created_at.isoformat(timespec="seconds"),
    }
    version = str(summary.version)
    children = (
        _bundle(details),
        _run(details, run),
        LineageNode(kind="transitions", name=str(len(transitions)), children=tuple(map(_transition, transitions))),
        _decisions(version, decisions),
        _service(service),
    )
    return LineageNode(kind="version", name=version, facts=facts, children=children)


def _bundle(details: VersionDetails) -> LineageNode:
    manifest = details.manifest
    parity = manifest.parity
    facts: dict[str, Scalar] = {
        "inputs": len(manifest.inputs),
        "threshold": manifest.threshold,
        "parity": f"{parity.outcome}, largest difference {parity.max_abs_diff:.1e} on {parity.n} rows",
        "card": "card.html, card.json" if details.card else "none: the bundle is older than model cards",
        **{f"fingerprint of {name}": value for name, value in manifest.fingerprints.items()},
    }
    return LineageNode(kind="bundle", name=str(details.summary.bundle_hash), facts=facts)


def _run(details: VersionDetails, run: RunRecord | None) -> LineageNode:
    tags = {**(run.tags if run else {}), **details.summary.tags}
    facts: dict[str, Scalar] = {"status": run.status if run else "deleted, or not in MLflow"}
    if run is not None:
        facts |= {
            "started": run.started_at.isoformat(timespec="seconds") if run.started_at else None,
            "ended": run.ended_at.isoformat(timespec="seconds") if run.ended_at else None,
        }
    facts |= {name: tags[name] for name in ("role", "trigger", "dagster_run_id") if name in tags}
    children = (_frame(details.manifest, details.frame), _code(tags))
    return LineageNode(kind="run", name=details.summary.run_id, facts=facts, children=children)


def _code(tags: Mapping[str, str]) -> LineageNode:
    facts: dict[str, Scalar] = {name: tags[name] for name in CODE_TAGS if name in tags}
    commit = facts.pop("git_commit", "of no recorded commit")
    return LineageNode(kind="code", name=str(commit), facts=facts)


def _frame(manifest: BundleManifest, record: FrameRecord | None) -> LineageNode:
    name = manifest.fingerprints.get("data", "not recorded")
    if record is None:
        return LineageNode(
            kind="frame", name=name, facts={"record": "none: which partitions it was made of is unknown"}
        )
    facts: dict[str, Scalar] = {
        "as of": record.as_of.isoformat(),
        "rows": record.n_rows,
        "requests": record.n_requests,
        "imported labels": record.n_imported_labels,
        "censored labels": record.n_censored_labels,
        "queries": record.queries,
        "partitions": record.partitions_fingerprint,
    }
    by_asset: dict[str, list[PartitionSnapshot]] = {}
    for partition in record.partitions:
        by_asset.setdefault(partition.asset, []).append(partition)
    children = tuple(_asset(asset, partitions) for asset, partitions in by_asset.items())
    return LineageNode(kind="frame", name=name, facts=facts, children=children)


def _asset(asset: str, partitions: Sequence[PartitionSnapshot]) -> LineageNode:
    keys = [partition.partition for partition in partitions if partition.partition]
    versions = sorted({partition.code_version or "not recorded" for partition in partitions})
    facts: dict[str, Scalar] = {"code versions": ", ".join(versions)}
    if keys:
        facts = {"partitions": len(keys), "range": ", ".join(ranges(keys)), **facts}
    return LineageNode(kind="asset", name=asset, facts=facts)


def ranges(partitions: Iterable[str]) -> list[str]:
    """Daily partitions as runs of days; keys that are no days stay as they are, in front.

    >>> ranges(["2024-01-02", "2024-01-01", "2024-01-04"])
    ['2024-01-01 to 2024-01-02', '2024-01-04']
    """
    days: list[date] = []
    others: list[str] = []
    for key in sorted(set(partitions)):
        try:
            days.append(date.fromisoformat(key))
        except ValueError:
            others.append(key)
    runs: list[tuple[date, date]] = []
    for day in days:
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return [*others, *(str(first) if first == last else f"{first} to {last}" for first, last in runs)]


def _transition(row: Mapping[str, Any]) -> LineageNode:
    name = f"{row['alias']}: {row['from_version'] or 'none'} to {row['to_version'] or 'none'}"
    facts = {"at": str(row["transitioned_at"]), "by": row["actor"], "reason": row["reason"]}
    if row["evidence_id"]:
        facts["evidence"] = row["evidence_id"]
    return LineageNode(kind="transition", name=name, facts=facts)


def _decisions(version: str, rows: Sequence[Mapping[str, Any]]) -> LineageNode:
    """Decisions about it as challenger one by one; those it stood as champion for are counted."""
    about = [row for row in rows if row["challenger_version"] == version]
    facts: dict[str, Scalar] = {"as challenger": len(about), "as champion": len(rows) - len(about)}
    children = tuple(
        LineageNode(
            kind="decision",
            name=str(row["decision"]),
            facts={
                "as of": str(row["as_of"]),
                "against champion": row["champion_version"],
                "reason": row["reason"],
                "id": row["decision_id"],
            },
        )
        for row in about
    )
    return LineageNode(kind="decisions", name=str(len(rows)), facts=facts, children=children)


def _service(records: Sequence[ServiceRecord]) -> LineageNode:
    children = tuple(
        LineageNode(
            kind="answers",
            name=f"{record.n_predictions} as {record.variant}",
            facts={
                "days": record.n_days,
                "first": record.first_at.isoformat(timespec="seconds"),
                "last": record.last_at.isoformat(timespec="seconds"),
            },
        )
        for record in records
    )
    total = sum(record.n_predictions for record in records)
    return LineageNode(kind="service", name=f"{total} predictions answered", children=children)
