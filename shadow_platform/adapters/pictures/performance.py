"""Picture of how models did over time, as PNG bytes made with matplotlib: quality, scores, verdicts on one time axis.

Belongs here: drawing. Does not belong here: which rows are drawn (the asset). Upstream: rows of ``performance_daily``,
``proxy_daily`` and the verdicts. Downstream: metadata of ``performance_timeline``. matplotlib is imported when a
picture is drawn.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHAMPION, NEUTRAL = "#1f5fa8", "#666666"
CHALLENGERS = ("#d1661f", "#2f8f5b", "#8a4fa3")
OUTCOMES = {"pass": "#2f8f5b", "fail": "#b3261e", "insufficient": "#b0b0b0"}
PANELS = {"log_loss": "log loss, nats", "roc_auc": "ROC-AUC"}
ESTIMATED = "estimated, if P(y|x) is stable"
DAY, NOON = pd.Timedelta(days=1), pd.Timedelta(hours=12)
MIN_LABEL_DISTANCE = 0.06
LONG_DAYS = 60


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn.

    Attributes:
        daily: rows of ``performance_daily``.
        proxies: rows of ``proxy_daily``.
        verdicts: ``kind`` (drift, performance), ``window_end``, ``outcome``; one a kind and window.
        title: above the picture.
    """

    daily: pd.DataFrame
    proxies: pd.DataFrame
    verdicts: pd.DataFrame
    title: str

    def models(self) -> dict[tuple[str, str], str]:
        """Colour by role and version: of the champion, and of the challengers seen last."""
        seen = pd.concat([frame[["role", "model_version", "day_at"]] for frame in (self.daily, self.proxies)])
        last = seen[seen["role"].eq("challenger")].groupby("model_version")["day_at"].max().sort_values()
        colors = dict(zip(reversed([str(version) for version in last.index]), CHALLENGERS, strict=False))
        return {("champion", ""): CHAMPION} | {("challenger", version): color for version, color in colors.items()}

    def champions(self) -> "pd.Series[str]":
        """The version that answered most requests of a day, on the days on which it is another than before."""
        answered = pd.concat([frame[["role", "model_version", "day_at", "n"]] for frame in (self.proxies, self.daily)])
        answered = answered[answered["role"].eq("champion")].sort_values(["day_at", "n"])
        by_day = answered.groupby("day_at")["model_version"].last().astype(str)
        return by_day[by_day != by_day.shift()]


def timeline_png(timeline: Timeline) -> bytes:
    """Realised and estimated metrics, scores, verdicts and versions by request day, from the first day to the last."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 2.4, 0.9))
    for axes, (metric, unit) in zip(panels, PANELS.items(), strict=False):
        _metric(axes, timeline, metric)
        axes.set_ylabel(unit)
    _scores(panels[2], timeline)
    _verdicts(panels[3], timeline.verdicts)
    _axis(panels, timeline)
    panels[0].set_title(timeline.title, loc="left", fontsize=11, pad=16)
    for axes in panels[:3]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)
    for axes in panels:
        axes.grid(alpha=0.2)
        axes.tick_params(labelsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _metric(axes: "Axes", timeline: Timeline, metric: str) -> None:
    for (role, version), color in timeline.models().items():
        rows = _rows(timeline.daily, role, version)
        name = "champion, realised, 95 %" if role == "champion" else f"challenger {version}, realised"
        if role == "champion":
            _band(axes, rows, f"estimated_{metric}", color)
            _whiskers(axes, rows, metric, color)
        _line(axes, rows, metric, "n_labelled", {"color": color, "label": name})
    _limits(axes, timeline.daily, metric)


def _line(
    axes: "Axes", rows: pd.DataFrame, column: str, weight: str, style: dict[str, Any], *, has_points: bool = True
) -> None:
    """Daily points and the line through them; of many days the line is the mean of the week around each."""
    known = rows[rows[column].notna()]
    if known.empty:
        axes.plot([], [], **style)
        return
    by_day = known.set_index("day_at")[[column, weight]].astype(float).asfreq("D")
    values, at = by_day[column], pd.DatetimeIndex(by_day.index) + NOON
    is_long = len(values) > LONG_DAYS
    if is_long and has_points:
        axes.plot(at, values, ".", color=style["color"], markersize=2, alpha=0.35)
    line = _weekly(values, by_day[weight]) if is_long else values
    axes.plot(at, line, linewidth=1.1, marker="" if is_long or not has_points else ".", markersize=5, **style)


def _weekly(values: "pd.Series[float]", weight: "pd.Series[float]") -> "pd.Series[float]":
    """Weighted mean of the week around each day that has a value."""
    size = weight.where(values.notna())
    week = (values * size).rolling(7, center=True, min_periods=1).sum()
    return (week / size.rolling(7, center=True, min_periods=1).sum()).where(values.notna())


def _whiskers(axes: "Axes", rows: pd.DataFrame, metric: str, color: str) -> None:
    known = rows[rows[metric].notna() & rows[f"{metric}_low"].notna()]
    low, high = known[f"{metric}_low"].astype(float), known[f"{metric}_high"].astype(float)
    alpha = 0.25 if len(rows) > LONG_DAYS else 0.7
    axes.vlines(known["day_at"] + NOON, low, high, color=color, linewidth=0.8, alpha=alpha)


def _band(axes: "Axes", rows: pd.DataFrame, name: str, color: str) -> None:
    """Each day's estimate as wide as the day, so that a single day is seen and a day without requests is a gap."""
    if rows.empty:
        return
    edges = _stretched(rows, [name, f"{name}_low", f"{name}_high"])
    axes.fill_between(
        edges["at"], edges[f"{name}_low"], edges[f"{name}_high"], color=color, alpha=0.15, linewidth=0, label=ESTIMATED
    )
    if len(rows) > LONG_DAYS:
        _line(axes, rows, name, "n", {"color": color, "linestyle": "--"}, has_points=False)
    else:
        axes.plot(edges["at"], edges[name], color=color, linewidth=0.8, linestyle="--")


def _stretched(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Every day twice, at its start and end, and a null behind it unless the next day follows."""
    ordered = rows.sort_values("day_at")
    values = ordered[names].astype(float)
    start, end = values.assign(at=ordered["day_at"]), values.assign(at=ordered["day_at"] + DAY)
    is_gap = (ordered["day_at"].shift(-1) - ordered["day_at"]) > DAY
    gap = end[is_gap].assign(**dict.fromkeys(names, np.nan))
    parts = [part for part in (start, end, gap) if len(part)]
    return pd.concat(parts).rename_axis("place").reset_index().sort_values(["place", "at"], kind="stable")


def _scores(axes: "Axes", timeline: Timeline) -> None:
    shown = (("probability_mean", "-", "mean score"), ("positive_rate", ":", "positive decisions"))
    for (role, version), color in timeline.models().items():
        rows = _rows(timeline.proxies, role, version)
        name = role if role == "champion" else f"{role} {version}"
        for column, dashes, meaning in shown:
            _line(axes, rows, column, "n", {"color": color, "linestyle": dashes, "label": f"{name}, {meaning}"})
    labels = _rows(timeline.daily, "champion", "")
    _line(axes, labels, "base_rate", "n_labelled", {"color": NEUTRAL, "label": "positive labels"})
    axes.set_ylabel("share of requests,\nmean probability")


def _verdicts(axes: "Axes", verdicts: pd.DataFrame) -> None:
    kinds = ("performance", "drift")
    for place, kind in enumerate(kinds):
        own = verdicts[verdicts["kind"].eq(kind)]
        colors = [OUTCOMES.get(str(outcome), NEUTRAL) for outcome in own["outcome"]]
        # A window is marked on its last day.
        axes.scatter(own["window_end"] - NOON, [place] * len(own), c=colors, marker="s", s=18)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(-0.6, len(kinds) - 0.4)
    for name, color in OUTCOMES.items():
        axes.scatter([], [], c=color, marker="s", s=18, label=name)
    axes.set_ylabel("verdicts")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.2), fontsize=7, frameon=False)


def _axis(panels: Any, timeline: Timeline) -> None:
    """The days drawn, and a line wherever another version began to answer, named where there is room."""
    drawn = (timeline.daily["day_at"], timeline.proxies["day_at"], timeline.verdicts["window_end"] - DAY)
    days = [column for column in drawn if len(column)]
    if not days:
        return
    first, last = min(column.min() for column in days), max(column.max() for column in days) + DAY
    margin = (last - first) * 0.01
    panels[0].set_xlim(first - margin, last + margin)
    panels[-1].set_xlabel("request day (UTC)", fontsize=8)
    named: pd.Timestamp | None = None
    champions = timeline.champions()
    for day, version in zip(pd.DatetimeIndex(champions.index), champions, strict=True):
        for axes in panels:
            axes.axvline(day, color=NEUTRAL, linewidth=0.8, linestyle="-.", alpha=0.7)
        if named is None or (day - named) / (last - first) >= MIN_LABEL_DISTANCE:
            named, where = day, panels[0].get_xaxis_transform()
            panels[0].text(day, 1.02, f"version {version}", transform=where, fontsize=7, color=NEUTRAL, ha="left")


def _limits(axes: "Axes", daily: pd.DataFrame, metric: str) -> None:
    """From the values and usual intervals: that of one thin day must not flatten all others."""
    values = pd.concat([daily[metric], daily[f"estimated_{metric}"]]).astype(float).dropna()
    if len(values):
        ends = [daily[f"estimated_{metric}_{end}"].astype(float).median() for end in ("low", "high")]
        low, high = np.nanmin([values.quantile(0.005), ends[0]]), np.nanmax([values.quantile(0.995), ends[1]])
        margin = max(0.2 * (high - low), 0.02)
        axes.set_ylim(low - margin, high + margin)


def _rows(frame: pd.DataFrame, role: str, version: str) -> pd.DataFrame:
    """Rows of a model by day; of the champion, whichever version it was, the one that answered most."""
    rows = frame[frame["role"].eq(role)]
    if role == "champion":
        return rows.sort_values(["day_at", "n"]).drop_duplicates("day_at", keep="last")
    return rows[rows["model_version"].astype(str).eq(version)].sort_values("day_at")
