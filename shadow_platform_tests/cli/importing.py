"""A home of use case ``tiny`` with four days of events and labels, and files of labels for it.

Belongs here: what the tests of label imports share. Does not belong here: assertions. Upstream: tiny. Downstream: tests
of the import, and of the page that explains it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

NAME = "shadow_platform_tests.tiny:USE_CASE"
DAYS = 4
START = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
LATER = START + timedelta(days=3, hours=12)


def labelled_home(home: Path) -> Path:
    """Write four days of events and make their labels."""
    lake, source = Lake(Layout(home)), USE_CASE.source()
    for day in (FIRST_DAY + timedelta(days=n) for n in range(DAYS)):
        for kind in USE_CASE.events:
            rows = pd.DataFrame(list(source.received_on(day)[kind.name]))[list(kind.schema.columns)]
            lake.write_events(USE_CASE, kind, day, kind.schema.validate(rows))
    make_labels(home)
    return home


def make_labels(home: Path, use_case: UseCase = USE_CASE, first: int = 0, last: int = DAYS - 1) -> dict[str, Any]:
    """Metadata of making the labels of some days."""
    tags = {
        "dagster/asset_partition_range_start": f"{FIRST_DAY + timedelta(days=first)}",
        "dagster/asset_partition_range_end": f"{FIRST_DAY + timedelta(days=last)}",
    }
    return materialized(build_label_assets(use_case)[0], home, tags)


def materialized(asset: dg.AssetsDefinition, home: Path, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """Metadata of one asset made in process."""
    result = dg.materialize([asset], resources={"platform": PlatformResource(shadow_home=str(home))}, tags=tags)
    metadata = result.asset_materializations_for_node(asset.op.name)[0].metadata
    return {name: value.value for name, value in metadata.items()}


def first_labels(lake: Lake, n: int = 50) -> pd.DataFrame:
    """Labels of the first requests, as the events tell them."""
    return lake.read_table(LABELS, USE_CASE).sort_values("requested_at", ignore_index=True).head(n)


def corrections(labels: pd.DataFrame, known_at: datetime | Sequence[datetime] = LATER, **changes: Any) -> pd.DataFrame:
    """Rows of a file that says the opposite."""
    requested_at = labels["requested_at"].map(lambda at: at.isoformat())
    known = pd.Series(known_at, index=labels.index).map(lambda at: at.isoformat())
    columns = {"visit_id": labels["subject_id"], "requested_at": requested_at, "label": ~labels["label"]}
    return pd.DataFrame({**columns, "known_at": known, **changes})
