"""Derived features in training: whose columns they come from, and that their code is part of a model."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.assets.training.sources import column_lineage
from shadow_platform.contracts.use_case import FeatureValue
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.deriving import DERIVATION, DERIVED, USE_CASE
from shadow_platform_tests.home_of_tiny import TinyHome
from shadow_platform_tests.tiny import USE_CASE as TINY

AS_OF = datetime(2024, 1, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyHome]:
    with dg.DagsterInstance.ephemeral() as instance:
        folder = tmp_path_factory.mktemp("derived") / "home"
        yield TinyHome(folder, instance, replace(USE_CASE, name="tiny")).make_data()


def test_the_frame_holds_them_as_they_are_computed_of_each_of_its_rows(home: TinyHome) -> None:
    metadata = home.materialize("training_frame", training_frame={"as_of": AS_OF.isoformat()})
    frame = home.platform.lake().read_frame("tiny", metadata["fingerprint"])

    assert len(frame) > 500
    assert frame[["cart_per_visit", "habit"]].notna().mean().min() > 0.5
    given = frame[list(DERIVATION.inputs)].astype(object)
    rows = given.where(given.notna(), None).itertuples(index=False, name=None)
    values = [dict(zip(DERIVATION.inputs, row, strict=True)) for row in rows]
    derived = pd.DataFrame([DERIVATION.derive(DERIVED, row).values for row in values])
    pd.testing.assert_frame_equal(frame[["cart_per_visit", "habit"]], derived, check_exact=True)
    assert "| cart_per_visit |" in metadata["null_rates"]
    assert {"cart_per_visit", "habit"} <= set(metadata["dagster/column_lineage"].deps_by_column)


def _other(cart_value: float, channel: str, visits_7d: float) -> dict[str, FeatureValue]:
    return {"cart_per_visit": cart_value - visits_7d, "habit": channel}


def test_a_derived_column_comes_from_the_columns_it_is_computed_of() -> None:
    view = dg.AssetKey(["deriving", "visitor_history"])

    lineage = column_lineage(USE_CASE).deps_by_column

    assert lineage == {
        "visits_7d": [dg.TableColumnDep(view, "visits_7d")],
        "purchases_7d": [dg.TableColumnDep(view, "purchases_7d")],
        "cart_per_visit": [dg.TableColumnDep(view, "visits_7d")],
        "habit": [dg.TableColumnDep(view, "visits_7d")],
    }


@pytest.mark.parametrize("change", [{"compute": _other}, {"inputs": ("channel", "cart_value", "visits_7d")}])
def test_another_derivation_is_other_code(tmp_path: Path, change: dict[str, object]) -> None:
    platform, build = PlatformResource(shadow_home=str(tmp_path)), TINY.models[0].build
    changed = replace(DERIVATION, **change)  # type: ignore[arg-type]

    code = [training.fingerprint(platform.code((), build, of)) for of in ((DERIVATION,), (DERIVATION,), (changed,), ())]

    assert code[0] == code[1]
    assert len(set(code)) == 3
    assert code[3] == training.fingerprint(platform.code((), build))
