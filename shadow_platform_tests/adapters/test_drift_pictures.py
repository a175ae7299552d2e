"""Pictures of verdicts are drawn for every outcome, with and without a shift of scores and verdicts before."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shadow_platform.adapters.pictures.drift import MAX_FEATURES, drift_png
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict, ScoreShift
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform_tests.domain.drift.frames import END, features, frame, judge

SHIFT = ScoreShift(
    mean_reference=0.2,
    mean_current=0.3,
    by_feature={"n1": 0.09, "n2": 0.01, "n3": -0.0001},
    by_feature_error={"n1": 0.01, "n2": 0.01, "n3": 0.01},
    leading=("n1",),
    segments=(),
    moved_in={"n1": "c0=a"},
)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def kept(self: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


def history(*outcomes: str) -> pd.DataFrame:
    """Windows of one day after the other, the last of which ends with ``END``; the champion changes in the middle."""
    n = len(outcomes)
    return pd.DataFrame(
        {
            "window_end": pd.to_datetime([END - timedelta(days=n - 1 - i) for i in range(n)], utc=True),
            "drift_score": [np.nan if outcome == "insufficient" else 0.1 * i for i, outcome in enumerate(outcomes)],
            "outcome": outcomes,
            "reference_fingerprint": ["a" if i < n // 2 else "b" for i in range(n)],
        }
    )


def verdict(n: int = 1_000, shift: ScoreShift | None = None) -> DriftVerdict:
    made = judge(frame(1_000, 1), frame(max(n, 1), 2)[:n].assign(n1=np.nan))
    return made.model_copy(update={"score_shift": shift})


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


@pytest.mark.parametrize("n", [0, 1_000])
@pytest.mark.parametrize("shift", [None, SHIFT])
@pytest.mark.parametrize("outcomes", [(), ("pass",), ("insufficient", "pass", "fail", "fail")])
def test_a_picture_is_drawn_whatever_there_is_to_show(
    n: int, shift: ScoreShift | None, outcomes: tuple[str, ...]
) -> None:
    png = drift_png(verdict(n, shift), DriftPolicy(), history(*outcomes) if outcomes else None)
    assert png.startswith(b"\x89PNG")


def test_the_largest_part_of_the_shift_is_on_top_with_the_segment_it_lies_in(drawn: list[Figure]) -> None:
    drift_png(verdict(shift=SHIFT), DriftPolicy())
    assert labels(drawn[0].axes[1]) == ["n3", "n2", "n1\nmostly c0=a"]


def test_a_new_champion_is_marked_between_the_windows(drawn: list[Figure]) -> None:
    drift_png(verdict(), DriftPolicy(), history("pass", "fail", "pass", "pass"))
    texts = [text.get_text() for text in drawn[0].axes[-1].texts]
    assert texts == ["new champion"]


def test_of_very_many_features_those_that_moved_most_are_drawn(drawn: list[Figure]) -> None:
    wide = {"n_numeric": 60, "n_categorical": 2}
    reference, current = frame(600, 1, **wide), frame(600, 2, **wide)
    current["n59"] += 1
    drift_png(judge(reference, current, of_features=features(60, 2)), DriftPolicy())
    shown = labels(drawn[0].axes[0])
    assert len(shown) == MAX_FEATURES
    assert shown[-1] == "n59"


def test_every_level_name_and_headline_can_be_drawn() -> None:
    shift = SHIFT.model_copy(update={"moved_in": {"n1": "c0=$50 & läden_$ 日本"}})
    spoken = verdict(shift=shift).model_copy(update={"headline": "n1 fell below $5, mostly in c0 $50 & läden_$ 日本"})
    assert drift_png(spoken, DriftPolicy()).startswith(b"\x89PNG")
