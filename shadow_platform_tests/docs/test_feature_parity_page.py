"""The page on feature parity: it explains the causes that there are, its queries find what was written."""

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import FEATURE_PARITY, PREDICTIONS
from shadow_platform.domain.parity import MEANING, Cause
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "feature-parity.md").read_text()
RECENT, EXAMPLES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
DAY = date(2024, 3, 1)
AT = datetime(2024, 3, 1, 12, tzinfo=UTC)


def test_the_page_explains_every_cause_once() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [cause.value for cause in Cause]
    assert MEANING.keys() == set(Cause)


def test_the_queries_find_what_was_written(tmp_path: Path) -> None:
    layout, lake = Layout(tmp_path), Lake(Layout(tmp_path))
    found = [
        {"use_case": "shop", "day_at": datetime(2024, 3, 1, tzinfo=UTC), "feature": "visits", "view": "history"}
        | {"cause": cause, "n": n, "n_compared": 100, "max_abs_diff": 2.0, "example_request_id": "r1"}
        for cause, n in (("same", 60), ("in_transit", 10), ("stale_online", 30))
    ]
    lake.write_table(FEATURE_PARITY, "shop", DAY, pd.DataFrame(found, columns=list(FEATURE_PARITY.column_names)))
    served = {"use_case": "shop", "request_id": "r1", "requested_at": AT, "model_version": "7"}
    served |= {"entities": json.dumps({"user": "u1"}), "features": json.dumps({"visits": 3})}
    served |= {"feature_times": json.dumps({"history": "2024-03-01T10:00:00.000000Z"})}
    lake.write_table(PREDICTIONS, "shop", DAY, pd.DataFrame([served], columns=list(PREDICTIONS.column_names)))
    lake.publish_warehouse()

    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        ((_, *recent),) = connection.execute(RECENT).fetchall()
        (example,) = connection.execute(EXAMPLES).fetchall()

    assert recent == ["shop", "visits", "stale_online", 30, 30.0, 2.0, "r1"]
    assert example[:3] == ("visits", "stale_online", "r1")
    assert (json.loads(example[4]), *example[5:]) == ({"user": "u1"}, "3", "2024-03-01T10:00:00.000000Z", "7")
