"""A journey of the time machine as one page of HTML: its picture, what happened, and the figures by week.

Belongs here: how it looks. Does not belong here: what happened (the time machine), drawing (``adapters.pictures``).
Upstream: the tables of a journey. Downstream: ``timeline.html``.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from shadow_platform.adapters.pages.rendering import data_uri, number, page_template, words

SHOWN = ("n_answers", "log_loss", "best_log_loss", "roc_auc", "n_retrainings", "n_promotions", "n_rollbacks")


def journey_html(
    title: str, summary: Mapping[str, Any], weeks: pd.DataFrame, events: pd.DataFrame, picture: bytes
) -> bytes:
    """The page; the same journey gives the same bytes."""
    template = page_template("journey.html.jinja", {"number": _told, "words": words})
    page = template.render(
        title=title,
        figures=[(words(name.removeprefix("n_")), summary[name]) for name in SHOWN],
        champions=", ".join(summary["champions"]),
        picture=data_uri(picture),
        weeks=weeks.to_dict("records"),
        columns=list(weeks.columns),
        events=events.to_dict("records"),
    )
    return page.encode()


def _told(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else number(float(value))
