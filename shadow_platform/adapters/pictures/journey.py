"""Picture of a journey of the time machine, as PNG bytes made with matplotlib: true performance, what happened.

Belongs here: drawing. Does not belong here: what happened (the time machine). Upstream: its tables of weeks and events.
Downstream: ``timeline.png`` and the page. matplotlib is imported when a picture is drawn.
"""

import io
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANSWERED, BEST, CHANGE = "#1f5fa8", "#7a7a7a", "#6a3d9a"
GOOD, BAD, UNSURE = "#2f8f5b", "#b3261e", "#b0b0b0"
# Lanes from top to bottom; colour and mark by outcome.
LANES = ("drift", "performance", "trigger", "training", "decision", "promotion", "rollback")
MARKS = {
    "pass": (GOOD, "o"),
    "fail": (BAD, "X"),
    "insufficient": (UNSURE, "o"),
    "held back": (UNSURE, "s"),
    "registered": (ANSWERED, "D"),
    "refused": (BAD, "D"),
    "wait": (UNSURE, "o"),
    "reject": (BAD, "X"),
    "promote": (GOOD, "P"),
    "champion": (GOOD, "P"),
}
HALF_WEEK = pd.Timedelta(days=3.5)


def journey_png(weeks: pd.DataFrame, events: pd.DataFrame, title: str) -> bytes:
    """True performance by week, and below it what the platform saw, did and decided.

    Args:
        weeks: ``week``, ``log_loss``, ``best_log_loss``, ``roc_auc``, ``base_rate``, ``mean_score``.
        events: ``day``, ``kind``, ``outcome``, ``version``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.2), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(2.6, 2, 2, 3))
    at = pd.to_datetime(weeks["week"]) + HALF_WEEK
    _lines(
        panels[0], at, weeks, {"log_loss": ("answered", ANSWERED, "-"), "best_log_loss": ("best possible", BEST, "--")}
    )
    panels[0].set_ylabel("log loss, nats")
    _lines(panels[1], at, weeks, {"roc_auc": ("answered", ANSWERED, "-")})
    panels[1].set_ylabel("ROC-AUC")
    _lines(panels[2], at, weeks, {"base_rate": ("came true", BEST, "--"), "mean_score": ("mean score", ANSWERED, "-")})
    panels[2].set_ylabel("rate")
    _lanes(panels[3], events)
    _changes(list(panels), events)
    panels[0].set_title(title, loc="left", fontsize=11, pad=16)
    for axes in panels[:3]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)
    for axes in panels:
        axes.grid(alpha=0.2)
        axes.tick_params(labelsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


def _lines(
    axes: "Axes", at: "pd.Series[pd.Timestamp]", weeks: pd.DataFrame, drawn: dict[str, tuple[str, str, str]]
) -> None:
    for column, (label, color, style) in drawn.items():
        if weeks[column].notna().any():
            axes.plot(at, weeks[column], style, color=color, label=label, linewidth=1.6, marker=".", markersize=4)


def _lanes(axes: "Axes", events: pd.DataFrame) -> None:
    axes.set_yticks(range(len(LANES)), LANES)
    axes.set_ylim(len(LANES) - 0.4, -0.6)
    for place, kind in enumerate(LANES):
        of_kind = events[events["kind"].eq(kind)]
        for outcome, some in of_kind.groupby("outcome"):
            color, mark = MARKS.get(str(outcome), (BEST, "o"))
            size = 90 if kind in ("promotion", "rollback") else 34
            axes.scatter(pd.to_datetime(some["day"]), [place] * len(some), color=color, marker=mark, s=size, zorder=3)
        if kind in ("promotion", "training"):
            for day, version in zip(pd.to_datetime(of_kind["day"]), of_kind["version"], strict=True):
                axes.annotate(str(version), (day, place), (0, 7), textcoords="offset points", fontsize=7, ha="center")
    told = {"pass, promoted": (GOOD, "o"), "failed, rejected": (BAD, "X"), "waits, cannot tell": (UNSURE, "o")}
    for label, (color, mark) in told.items():
        axes.scatter([], [], color=color, marker=mark, s=34, label=label)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)


def _changes(panels: "list[Axes]", events: pd.DataFrame) -> None:
    """Lines where the world changed, and where another model took over."""
    for day, outcome in zip(events["day"], events["outcome"].where(events["kind"].eq("world"), ""), strict=True):
        if outcome:
            for axes in panels:
                axes.axvline(_place(day), color=CHANGE, linewidth=1.2, linestyle=":")
            panels[0].annotate(
                f"{outcome} drift",
                (pd.Timestamp(day), 1.0),
                (2, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=7,
                color=CHANGE,
            )
    swaps = events[events["kind"].isin(("promotion", "rollback"))]
    for day in swaps["day"]:
        for axes in panels[:3]:
            axes.axvline(_place(day), color=GOOD, linewidth=1.0, alpha=0.7)


def _place(day: str) -> float:
    """Place of a day on the axis of time."""
    from matplotlib.dates import date2num

    place: float = date2num(pd.Timestamp(day))  # type: ignore[no-untyped-call]
    return place
