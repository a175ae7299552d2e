"""Columns behind a column: right for what sqlglot follows, and for what it does not; of every product's features."""

import pytest

from shadow_platform.adapters.sql_lineage import column_lineage
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.tiny import USE_CASE

COLUMNS = {"clicks": ("id", "user", "at", "cost", "page"), "calls": ("id", "user", "at", "minutes")}
KEYS = {"clicks": ("id",), "calls": ("id",)}
VIEWS = [
    pytest.param(uc, view, id=f"{uc.name}-{view.name}")
    for uc in (USE_CASE, *map(load_use_case, use_case_names()))
    for view in uc.views
]


def behind(sql: str, name: str = "x") -> list[str]:
    return [f"{table}.{column}" for table, column in column_lineage(sql, [name], COLUMNS, KEYS)[name]]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT user, sum(cost) AS x FROM clicks WHERE page = 'a' GROUP BY user", ["clicks.cost"]),
        ("SELECT cost / minutes AS x FROM clicks JOIN calls USING (user)", ["calls.minutes", "clicks.cost"]),
        ("SELECT user, count(*) AS x FROM clicks GROUP BY user", ["clicks.id"]),
        ("WITH a AS (SELECT count(*) AS n FROM clicks), b AS (SELECT n FROM a) SELECT n AS x FROM b", ["clicks.id"]),
        ("SELECT last(cost ORDER BY at) AS x FROM clicks", ["clicks.at", "clicks.cost"]),
        (
            "WITH l AS (SELECT last(clicks ORDER BY at) AS c FROM clicks GROUP BY user) SELECT c.page AS x FROM l",
            ["clicks.at", "clicks.page"],
        ),
        (
            "SELECT sum(minutes) AS x FROM (SELECT user, cost FROM clicks UNION ALL BY NAME SELECT minutes FROM calls)",
            ["calls.minutes"],
        ),
        (
            "SELECT count(n) AS x FROM (SELECT user, 1 AS n FROM clicks UNION ALL BY NAME SELECT user FROM calls)",
            ["clicks.id"],
        ),
        ("SELECT NULL AS x FROM clicks", []),
    ],
    ids=["sum", "join", "count", "count in a CTE", "order", "whole row", "by name", "flag", "nothing"],
)
def test_a_column_is_followed_to_the_columns_it_is_made_of(sql: str, columns: list[str]) -> None:
    assert behind(sql) == columns


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT sum(amount) AS Total FROM pay", ["Pay.Amount"]),
        ('SELECT sum("AMOUNT") AS "TOTAL" FROM PAY', ["Pay.Amount"]),
        ("SELECT count(*) AS Total FROM pay", ["Pay.Id"]),
        (
            "WITH l AS (SELECT last(pay ORDER BY id) AS p FROM pay) SELECT p.amount AS Total FROM l",
            ["Pay.Amount", "Pay.Id"],
        ),
    ],
)
def test_names_are_one_whatever_their_case(sql: str, columns: list[str]) -> None:
    found = column_lineage(sql, ["Total"], {"Pay": ("Id", "Amount")}, {"Pay": ("Id",)})
    assert [f"{table}.{column}" for table, column in found["Total"]] == columns


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT user, max(COLUMNS('co.*')) FROM clicks GROUP BY ALL",
        "SELECT * FROM (PIVOT clicks ON page IN ('cost') USING sum(cost))",
        "SELECT user, unnest({'cost': 1}) FROM clicks",
        "PIVOT clicks ON page USING sum(cost)",
        "SELECT user FROM calls UNION ALL BY NAME (PIVOT clicks ON page USING sum(cost))",
    ],
)
def test_a_column_that_cannot_be_followed_is_left_out_and_told(sql: str, caplog: pytest.LogCaptureFixture) -> None:
    assert column_lineage(sql, ["cost"], COLUMNS, KEYS) == {}
    assert "no lineage of columns ['cost']" in caplog.text


@pytest.mark.parametrize(("use_case", "view"), VIEWS)
def test_every_feature_of_every_product_comes_from_columns_of_its_events(use_case, view) -> None:
    columns = {kind.name: tuple(kind.schema.columns) for kind in use_case.events}
    names = [feature.name for feature in use_case.view_features(view.name)]
    found = column_lineage(view.sql, names, columns, {kind.name: kind.key for kind in use_case.events})
    assert list(found) == names
    for name, behind_it in found.items():
        assert behind_it, name
        assert all(column in columns[table] for table, column in behind_it)


@pytest.mark.parametrize(
    ("product", "place", "feature", "columns"),
    [
        ("churn", 0, "transaction_value_sum_90d", {"transactions.amount"}),
        ("churn", 0, "ticket_resolution_hours_avg_90d", {"support_tickets.resolution_hours"}),
        ("churn", 1, "region", {"subscriptions.region"}),
        ("credit", 0, "total_debt", {"bureau_reports.total_debt"}),
        ("flights", 4, "origin_wind_gust_mph", {"weather.wind_gust_mph", "weather.wind_speed_mph"}),
        ("fraud", 1, "usual_device_30d", {"transactions.device"}),
    ],
)
def test_features_whose_origin_is_known_have_it(product: str, place: int, feature: str, columns: set[str]) -> None:
    use_case = load_use_case(product)
    every = {kind.name: tuple(kind.schema.columns) for kind in use_case.events}
    found = column_lineage(use_case.views[place].sql, [feature], every, {k.name: k.key for k in use_case.events})
    told = {f"{table}.{column}" for table, column in found[feature]}
    assert {
        name for name in told if name.partition(".")[2] not in {"event_id", "event_at", "received_at", "customer_id"}
    } == columns
