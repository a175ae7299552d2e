"""The example's rows: the same each time, and nothing in them that an export could not know."""

import pandas as pd

from shadow_platform.scaffold.example import FIRST_INSTANT, N_DAYS, RETURN_DAYS, orders

DAY = pd.Timedelta(days=1)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    pd.testing.assert_frame_equal(orders(), orders())
    assert not orders().equals(orders(seed=1))


def test_nothing_comes_back_after_the_export() -> None:
    returned_at = pd.to_datetime(orders()["returned_at"].replace("", None), utc=True)
    assert returned_at.max() < FIRST_INSTANT + N_DAYS * DAY


def test_what_comes_back_does_so_within_the_days_of_return_and_is_marked() -> None:
    rows = orders()
    took = pd.to_datetime(rows["returned_at"].replace("", None), utc=True) - pd.to_datetime(
        rows["ordered_at"], utc=True
    )
    assert took.dropna().between(DAY / 2, RETURN_DAYS * DAY, inclusive="left").all()
    assert (took.notna() == rows["is_returned"].eq("true")).all()
    assert 0.15 < took.notna().mean() < 0.35
