"""The table's rows: every compared value is counted once, the example is the first of the day."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.tables import FEATURE_PARITY
from shadow_platform.domain.parity import Cause, parity_rows
from shadow_platform.domain.parity.causes import code
from shadow_platform_tests.domain.parity.world import HOUR, START, World


@given(seed=st.integers(0, 10_000), hours=st.integers(0, 12))
@settings(max_examples=8, deadline=None)
def test_the_causes_of_a_feature_add_up_to_the_values_that_were_compared(seed: int, hours: int) -> None:
    world = World(seed, n_requests=100, reached=lambda at: at - hours * HOUR)
    served, offline, found = world.compare()

    rows = parity_rows("world", START, served, offline, found)

    for feature in ("spent", "visits", "device", "share"):
        own = [row for row in rows if row["feature"] == feature]
        assert sum(row["n"] for row in own) == own[0]["n_compared"]
        brought = served.overridden.get(feature)
        assert own[0]["n_compared"] == len(served) - (0 if brought is None else int(brought.sum()))
        assert len({row["cause"] for row in own}) == len(own)


def test_a_row_has_the_columns_of_the_table_and_its_first_request_as_example() -> None:
    served, offline, found = World(reached=lambda _: START - 6 * HOUR).compare()

    rows = parity_rows("world", START, served, offline, found)

    assert {tuple(row) for row in rows} == {FEATURE_PARITY.column_names}
    stale = next(row for row in rows if (row["feature"], row["cause"]) == ("spent", "stale_online"))
    comparison = next(comparison for comparison in found if comparison.feature == "spent")
    first = comparison.causes.tolist().index(code(Cause.STALE_ONLINE))
    assert stale["example_request_id"] == served.asked["request_id"].iloc[first]
    assert stale["max_abs_diff"] > 0


def test_the_fingerprint_is_of_what_was_compared() -> None:
    def fingerprint(world: World) -> str:
        served, offline, found = world.compare()
        return str(parity_rows("world", START, served, offline, found)[0]["input_fingerprint"])

    assert fingerprint(World(1)) == fingerprint(World(1))
    assert fingerprint(World(1)) != fingerprint(World(1, reached=lambda _: START - 6 * HOUR))
