"""Guarantees of filters: what is asked for holds of all that is found, and of nothing that is not."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.domain.versions import (
    MetricTest,
    VersionFilter,
    in_order,
    matching,
    parse_metric_test,
    parse_moment,
    parse_number,
    parse_sort,
    parse_tag,
    summary_of_experiment,
    summary_of_version,
)
from shadow_platform_tests.trained import AS_OF
from shadow_platform_tests.versions import AT, make_summary

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
numbers = st.floats(0, 1).map(lambda value: round(value, 2))
moments = st.integers(-500, 500).map(lambda hours: AT + timedelta(hours=hours))
summaries = st.builds(
    make_summary,
    version=st.none() | st.integers(1, 99).map(str),
    model_name=st.sampled_from(["line", "trees"]),
    aliases=st.sampled_from([(), ("champion",), ("challenger", "canary")]),
    created_at=moments,
    trained_as_of=st.none() | moments,
    tags=st.dictionaries(st.sampled_from(["trigger", "role"]), st.sampled_from(["drift", "manual"])),
    metrics=st.dictionaries(st.sampled_from(["roc_auc", "log_loss"]), numbers),
)
lists = st.lists(summaries, max_size=12)
has_metric = make_summary("100", metrics={"roc_auc": 0.5, "log_loss": 0.5})


@given(lists)
def test_a_filter_that_asks_for_nothing_keeps_everything_in_its_order(versions):
    assert matching(versions, VersionFilter()) == versions


@given(lists, numbers)
def test_a_limit_and_its_opposite_share_out_the_versions_that_have_the_metric(versions, limit):
    versions = [*versions, has_metric]
    below, above = (matching(versions, VersionFilter(metrics=[MetricTest("roc_auc", c, limit)])) for c in ("<", ">="))
    assert all(version.metrics["roc_auc"] < limit for version in below)
    assert all(version.metrics["roc_auc"] >= limit for version in above)
    assert len(below) + len(above) == sum("roc_auc" in version.metrics for version in versions)


@given(lists, moments)
def test_since_and_until_share_out_the_versions_without_gap_or_overlap(versions, at):
    before, after = (matching(versions, VersionFilter(**{name: at})) for name in ("until", "since"))
    assert sorted(map(id, [*before, *after])) == sorted(map(id, versions))
    known = [version for version in versions if version.trained_as_of is not None]
    before, after = (matching(versions, VersionFilter(**{name: at})) for name in ("as_of_until", "as_of_since"))
    assert sorted(map(id, [*before, *after])) == sorted(map(id, known))


@given(lists)
def test_all_that_is_asked_for_holds_at_once(versions):
    parts = [
        VersionFilter(models=["trees"]),
        VersionFilter(aliases=["champion", "canary"]),
        VersionFilter(tags=[("trigger", "drift")]),
        VersionFilter(status="registered"),
        VersionFilter(numbers=[str(number) for number in range(1, 50)]),
    ]
    together = VersionFilter(
        models=["trees"],
        aliases=["champion", "canary"],
        tags=[("trigger", "drift")],
        status="registered",
        numbers=[str(number) for number in range(1, 50)],
    )
    for version in versions:
        assert together.accepts(version) == all(part.accepts(version) for part in parts)


@given(lists)
def test_every_model_is_either_registered_or_archived(versions):
    registered, archived = (matching(versions, VersionFilter(status=s)) for s in ("registered", "archived"))
    assert {version.version is None for version in registered} <= {False}
    assert {version.version is None for version in archived} <= {True}
    assert len(registered) + len(archived) == len(versions)


@given(lists, st.booleans(), st.sampled_from(["roc_auc", "created_at", "trained_as_of"]))
def test_sorting_loses_nothing_and_puts_what_lacks_the_value_last(versions, is_descending, key):
    versions = [*versions, has_metric]
    found = in_order(versions, key, is_descending)
    assert sorted(map(id, found)) == sorted(map(id, versions))
    values = [v.metrics.get(key) if key == "roc_auc" else getattr(v, key) for v in found]
    known = [value for value in values if value is not None]
    assert values[: len(known)] == known
    assert known == sorted(known, reverse=is_descending)


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">=", "="])
@given(limit=st.floats(-1e6, 1e6, allow_nan=False))
def test_a_comparison_means_what_it_says(comparison, limit):
    assert parse_metric_test(f" log_loss {comparison} {limit!r}") == MetricTest("log_loss", comparison, limit)


@pytest.mark.parametrize("text", ["roc_auc", "roc_auc=>0.7", "f1>", ">0.7", "f1>high", "f1>nan", "a b>1"])
def test_what_is_no_comparison_is_refused_with_an_example(text):
    with pytest.raises(ShadowPlatformError, match=r"compares no metric with a number; expected .* 'roc_auc>=0.75'"):
        parse_metric_test(text)


@pytest.mark.parametrize("text", ["trigger", "=drift", ""])
def test_what_is_no_tag_is_refused_with_an_example(text):
    with pytest.raises(ShadowPlatformError, match="is no tag; expected name=value"):
        parse_tag(text)


def test_a_tag_may_hold_the_sign_that_ends_its_name():
    assert parse_tag("note=a=b") == ("note", "a=b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2024-03-01T12:00+02:00", datetime(2024, 3, 1, 10, tzinfo=UTC)),
        ("36h", NOW - timedelta(hours=36)),
        ("4w", NOW - timedelta(weeks=4)),
    ],
)
def test_a_time_is_a_day_a_moment_or_so_long_ago(text, expected):
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "7", "99999999w", "-3d"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(ShadowPlatformError, match=r"is no time; expected ISO 8601 .* 36h, 7d or 4w"):
        parse_moment(text, NOW)


def test_a_metric_that_no_version_has_is_a_slip_of_the_pen():
    versions = [has_metric]
    expected = "none of the models searched has the metric 'rocauc', only .*'roc_auc'.*; correct the metric"
    with pytest.raises(ShadowPlatformError, match=expected):
        matching(versions, VersionFilter(metrics=[parse_metric_test("rocauc>0.5")]))
    with pytest.raises(ShadowPlatformError, match=expected):
        in_order(versions, *parse_sort("-rocauc"))
    with pytest.raises(ShadowPlatformError, match="is nothing to sort by"):
        parse_sort("roc auc")
    assert in_order([], "rocauc", is_descending=True) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (VersionFilter(models=["trees", "bosting"]), "has the model 'bosting', only 'line', 'trees'; correct"),
        (VersionFilter(aliases=["champoin"]), "has the alias 'champoin', only 'champion'; correct"),
        (VersionFilter(tags=[("triger", "drift")]), "has the tag 'triger', only 'trigger'; correct"),
        (VersionFilter(numbers=["3"]), "has the number '3', only '1', '2', '10'; correct"),
    ],
)
def test_a_name_that_nothing_searched_has_is_a_slip_of_the_pen(asked, message):
    versions = [make_summary("1", aliases=("champion",)), make_summary("2", model_name="trees"), make_summary("10")]
    with pytest.raises(ShadowPlatformError, match=message):
        matching(versions, asked)
    assert matching([], asked) == []


def test_a_name_is_known_though_nothing_else_fits():
    versions = [make_summary("1", aliases=("champion",)), make_summary("2", model_name="trees")]
    assert matching(versions, VersionFilter(models=["trees"], aliases=["champion"])) == []
    assert matching(versions, VersionFilter(tags=[("trigger", "manual")])) == []


def test_what_lists_the_names_is_short_and_cannot_drive_a_terminal():
    versions = [make_summary(str(n), tags={f"tag{n:02}\x1b[2J": ""}) for n in range(1, 31)]
    with pytest.raises(ShadowPlatformError, match="and 10 more; correct the tag") as caught:
        matching(versions, VersionFilter(tags=[("triger", "drift")]))
    assert "\x1b" not in str(caught.value)
    with pytest.raises(ShadowPlatformError, match="has the alias 'champion', only none at all"):
        matching(versions, VersionFilter(aliases=["champion"]))


def test_of_two_values_asked_of_one_tag_none_is_forgotten():
    versions = [make_summary("1", tags={"a": "1"}), make_summary("2", tags={"a": "2"})]
    assert matching(versions, VersionFilter(tags=[("a", "1"), ("a", "2")])) == []
    assert matching(versions, VersionFilter(tags=[("a", "1"), ("a", "1")])) == versions[:1]


@pytest.mark.parametrize(("text", "number"), [("3", "3"), ("003", "3"), (" 12 ", "12"), ("999999999", "999999999")])
def test_a_number_is_written_as_the_registry_writes_it(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["v1", "", "0", "-1", "1.0", "٣", "1000000000", "9" * 5_000])
def test_what_is_no_number_of_a_version_is_refused(text):
    with pytest.raises(ShadowPlatformError, match="is no number of a version; expected 1, 2 and so on"):
        parse_number(text)


def test_a_version_is_told_with_the_time_it_was_trained_for():
    version = RegisteredVersion(
        "tiny", "3", "line", "h", "run", AT, ("champion",), {"trained_as_of": AS_OF.isoformat()}, {"roc_auc": 0.7}
    )
    found = summary_of_version(version)
    assert (found.version, found.trained_as_of, found.archived_reason) == ("3", AS_OF, None)
    for text in ("last week", "2024-01-01T00:00:00", ""):
        by_hand = RegisteredVersion("tiny", "3", "line", "h", "run", AT, (), {"trained_as_of": text}, {})
        assert summary_of_version(by_hand).trained_as_of is None


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT, pd.NA])
def test_an_archived_run_is_told_though_half_of_it_was_not_kept(nothing):
    row = {
        "use_case": "tiny",
        "run_id": "r",
        "model_name": "line",
        "trained_at": AT,
        **dict.fromkeys(("trained_as_of", "trigger", "metrics", "archived_reason"), nothing),
    }
    found = summary_of_experiment(row)
    assert (found.trained_as_of, found.tags, found.metrics) == (None, {}, {})
    assert found.archived_reason == "archived before reasons were kept"


@pytest.mark.parametrize(
    ("kept", "told"),
    [("too weak", "too weak"), (None, "archived before reasons were kept"), (float("nan"), "archived")],
)
def test_an_archived_run_says_why_it_is_no_version(kept, told):
    row = {
        "use_case": "tiny",
        "run_id": "r",
        "model_name": "line",
        "trained_at": AT,
        "trained_as_of": AS_OF,
        "trigger": "drift",
        "metrics": '{"roc_auc": 0.5, "f1": null}',
        "archived_reason": kept,
    }
    found = summary_of_experiment(row)
    assert found.version is None
    assert found.metrics == {"roc_auc": 0.5}
    assert str(found.archived_reason).startswith(told)
