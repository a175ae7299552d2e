"""One value for versions of the registry and for training runs that did not become one.

Belongs here: reading a registry version and a row of ``model_experiments``. Does not belong here: finding them.
Upstream: registry, ``model_experiments``. Downstream: filtering, listing, comparing.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import pandas as pd

from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.versions import VersionSummary

AS_OF_TAG = "trained_as_of"
NO_REASON = "archived before reasons were kept"


def summary_of_version(version: RegisteredVersion) -> VersionSummary:
    """A registered version."""
    return VersionSummary(
        use_case=version.use_case,
        version=version.version,
        model_name=version.model_name,
        bundle_hash=version.bundle_hash,
        run_id=version.run_id,
        created_at=version.created_at,
        trained_as_of=_moment(version.tags.get(AS_OF_TAG)),
        aliases=version.aliases,
        tags=dict(version.tags),
        metrics=_numbers(version.metrics),
    )


def summary_of_experiment(row: Mapping[str, Any]) -> VersionSummary:
    """A training run that did not become a version, from its row of ``model_experiments``."""
    return VersionSummary(
        use_case=row["use_case"],
        version=None,
        model_name=row["model_name"],
        bundle_hash=None,
        run_id=row["run_id"],
        created_at=row["trained_at"],
        trained_as_of=_known(row["trained_as_of"]),
        tags={"trigger": trigger} if (trigger := _known(row["trigger"])) else {},
        metrics=_numbers(json.loads(_known(row["metrics"]) or "{}")),
        archived_reason=_known(row.get("archived_reason")) or NO_REASON,
    )


def _known(value: Any) -> Any:
    """A value of a table; ``None`` for each way in which one is written that is not there."""
    return None if pd.isna(value) else value


def _moment(text: str | None) -> datetime | None:
    """The tag's time; a tag that somebody wrote by hand may hold anything."""
    with suppress(ValueError):
        found = datetime.fromisoformat(text or "")
        return found if found.tzinfo else None
    return None


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics that have a value."""
    return {name: float(value) for name, value in metrics.items() if value is not None and not math.isnan(value)}
