"""The timeline is drawn of one day and of four hundred, says what is estimated, and marks who answered."""

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.axes import Axes

from shadow_platform.adapters.pictures.performance import CHALLENGERS, ESTIMATED, Timeline, timeline_png
from shadow_platform.contracts.tables import PERFORMANCE_DAILY, PROXY_DAILY

FIRST = pd.Timestamp("2024-01-01", tz="UTC")
METRICS = ("log_loss", "roc_auc")


def timeline(n_days: int, n_challengers: int = 1, *, every: int = 1, per_version: int = 50) -> Timeline:
    """Champions that change every so many days, and challengers of whom the later ones come later."""
    days = [FIRST + pd.Timedelta(days=day) for day in range(0, n_days, every)]
    models = [("champion", str(1 + place * every // per_version), day) for place, day in enumerate(days)]
    for challenger in range(n_challengers):
        start = challenger * len(days) // max(n_challengers, 1)
        models += [("challenger", str(100 + challenger), day) for day in days[start:]]
    keys = [{"use_case": "tiny", "role": r, "model_version": v, "day_at": day, "n": 100} for r, v, day in models]
    metrics = {name: 0.5 for metric in METRICS for name in (metric, f"estimated_{metric}")}
    ends = {f"{name}_{end}": 0.5 + width for name in metrics for end, width in (("low", -0.1), ("high", 0.1))}
    facts = metrics | ends | {"n_labelled": 90, "base_rate": 0.3}
    daily = pd.DataFrame([key | facts for key in keys], columns=list(PERFORMANCE_DAILY.column_names))
    scores = {"probability_mean": 0.3, "positive_rate": 0.2}
    proxies = pd.DataFrame([key | scores for key in keys], columns=list(PROXY_DAILY.column_names))
    times = {"day_at": "datetime64[us, UTC]"}
    verdicts = pd.DataFrame(
        [
            {"kind": kind, "window_end": day + pd.Timedelta(days=1), "outcome": ("pass", "fail", "insufficient")[i % 3]}
            for kind in ("drift", "performance")
            for i, day in enumerate(days)
        ],
        columns=["kind", "window_end", "outcome"],
    ).astype({"window_end": "datetime64[us, UTC]"})
    return Timeline(daily.astype(times), proxies.astype(times), verdicts, "Purchases: models over time")


@pytest.mark.parametrize("n_days", [0, 1, 2, 61, 400])
@pytest.mark.parametrize("every", [1, 3])
def test_any_number_of_days_is_a_picture(n_days: int, every: int) -> None:
    assert timeline_png(timeline(n_days, every=every)).startswith(b"\x89PNG")


def test_days_without_labels_are_drawn_as_estimates_alone() -> None:
    drawn = timeline(10)
    unlabelled = drawn.daily.assign(**dict.fromkeys([*METRICS, "roc_auc_low", "log_loss_low", "base_rate"], None))

    assert timeline_png(Timeline(unlabelled, drawn.proxies, drawn.verdicts, "t")).startswith(b"\x89PNG")


@pytest.mark.parametrize("absent", ["daily", "proxies", "verdicts"])
def test_what_there_is_is_drawn_when_a_table_is_still_empty(absent: str) -> None:
    drawn = timeline(5)

    assert timeline_png(replace(drawn, **{absent: getattr(drawn, absent).head(0)})).startswith(b"\x89PNG")


def test_the_latest_challengers_have_a_colour_each() -> None:
    models = timeline(400, 9).models()

    assert [version for role, version in models if role == "challenger"] == ["108", "107", "106"]
    assert len(set(models.values())) == 1 + len(CHALLENGERS)


def test_a_line_stands_where_another_version_begins_to_answer() -> None:
    champions = timeline(120).champions()

    assert champions.tolist() == ["1", "2", "3"]
    assert list(champions.index) == [FIRST + pd.Timedelta(days=day) for day in (0, 50, 100)]


def test_of_two_versions_on_one_day_the_one_that_answered_more_is_the_champion() -> None:
    drawn = timeline(3, 0)
    other = drawn.proxies.assign(model_version="2", n=40)
    more = Timeline(drawn.daily, pd.concat([drawn.proxies, other], ignore_index=True), drawn.verdicts, "t")

    assert more.champions().tolist() == ["1"]


def test_the_picture_says_that_an_estimate_holds_only_if_the_world_is_stable(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    legend = Axes.legend

    def spied(axes: Axes, *args: object, **options: object) -> object:
        said.extend(text for text in axes.get_legend_handles_labels()[1])
        return legend(axes, *args, **options)

    monkeypatch.setattr(Axes, "legend", spied)
    timeline_png(timeline(5))

    assert said.count(ESTIMATED) == 2
    assert {"champion, realised, 95 %", "challenger 100, realised", "positive labels"} <= set(said)
