"""A replayed request reads what was known when it was asked: nothing later, and nothing older than it need be."""

from datetime import timedelta

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.cli.batches import OnlineHistory, batches
from shadow_platform_tests.use_cases.fraud.payments import FRAUD, INSTANT, NOON

SECOND = timedelta(seconds=1)
USERS = st.sampled_from(["user-00001", "user-00002", "user-00003"])
MOMENTS = st.one_of(st.sampled_from([0, 1, 3_600]), st.integers(0, 9_000)).map(lambda s: NOON + s * SECOND)
VIEWS = st.sampled_from([view.name for view in FRAUD.views])
STAMPS = st.builds(lambda at, later: at + later * INSTANT, MOMENTS, st.integers(-1, 1))


def _requests(asked: list[tuple[pd.Timestamp, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(asked, columns=["requested_at", "user_id"])
    return frame.sort_values("requested_at", kind="stable", ignore_index=True)


def _history(stamped: list[tuple[str, pd.Timestamp, str]]) -> OnlineHistory:
    rows = pd.DataFrame(stamped, columns=["view", "created_at", "user_id"]).drop_duplicates()
    rows["created_at"] = pd.to_datetime(rows["created_at"], utc=True)
    return OnlineHistory(FRAUD, {view.name: rows[rows["view"] == view.name] for view in FRAUD.views})


def _known(stamped: list[tuple[str, pd.Timestamp, str]], at: pd.Timestamp, user: str) -> dict[str, pd.Timestamp]:
    return {view: known_at for view, known_at, whose in sorted(stamped) if whose == user and known_at <= at}


@settings(deadline=None)
@given(
    asked=st.lists(st.tuples(MOMENTS, USERS), min_size=1, max_size=20),
    stamped=st.lists(st.tuples(VIEWS, STAMPS, USERS), max_size=20),
)
def test_every_request_is_answered_from_the_newest_rows_known_when_it_was_asked(
    asked: list[tuple[pd.Timestamp, str]], stamped: list[tuple[str, pd.Timestamp, str]]
) -> None:
    requests, history = _requests(asked), _history(stamped)
    online: dict[tuple[str, str], pd.Timestamp] = {}
    sent: list[int] = []
    for batch in batches(requests["requested_at"], history.newest_known(requests)):
        for view, rows in history.take(requests["requested_at"][batch.start]):
            online |= {(view, user): at for user, at in zip(rows["user_id"], rows["created_at"], strict=True)}
        for at, user in requests.loc[list(batch)].itertuples(index=False):
            found = {view: online[view, user] for view in ("user_velocity", "user_habits") if (view, user) in online}
            assert found == _known(stamped, at, user)
        sent.extend(batch)
        hours = requests.loc[list(batch), "requested_at"].dt.floor("h")
        assert hours.nunique() == 1
    assert sent == list(range(len(requests)))


def test_requests_of_entities_that_do_not_change_are_sent_together() -> None:
    requests = _requests([(NOON + n * SECOND, "user-00001") for n in range(100)])
    history = _history([("user_velocity", NOON + 50 * SECOND, "user-00002"), ("user_habits", NOON, "user-00001")])
    assert list(batches(requests["requested_at"], history.newest_known(requests))) == [range(100)]


def test_a_view_without_rows_cuts_nothing() -> None:
    requests = _requests([(NOON, "user-00001"), (NOON + SECOND, "user-00001")])
    assert list(batches(requests["requested_at"], _history([]).newest_known(requests))) == [range(2)]
