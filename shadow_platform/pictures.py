"""Pictures as assets ask for them: what is drawn, given as markdown for the UI; the tools behind it load when needed.

Belongs here: one method a picture. Does not belong here: drawing (``adapters.pictures``), computing what is drawn
(domain). Upstream: adapters. Downstream: ``PlatformResource.pictures()``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
    from shadow_platform.contracts.policies import DriftPolicy


class Pictures:
    """One method a picture, each a markdown image."""

    def training(self, title: str, **drawn: Any) -> tuple[dict[str, bytes], str]:
        """Pictures of a training by name, and all of them as markdown; arguments as of ``TrainingPictures``."""
        from shadow_platform.adapters.pictures.inline import markdown_image
        from shadow_platform.adapters.pictures.training import TrainingPictures, training_plots

        pictures = training_plots(TrainingPictures(title, **drawn))
        return pictures, "\n\n".join(markdown_image(png, f"{title}: {name}") for name, png in pictures.items())

    def comparison(self, comparisons: "pd.DataFrame", title: str) -> str:
        """Markdown image of champion and challenger over time."""
        from shadow_platform.adapters.pictures.comparison import comparison_png
        from shadow_platform.adapters.pictures.inline import markdown_image

        return markdown_image(comparison_png(comparisons, title), title)

    def fairness(self, rows: "pd.DataFrame", min_ratio: float, title: str) -> str:
        """Markdown image of favourable decisions by group."""
        from shadow_platform.adapters.pictures.fairness import fairness_png
        from shadow_platform.adapters.pictures.inline import markdown_image

        return markdown_image(fairness_png(rows, min_ratio, title), title)

    def drift(self, verdict: "DriftVerdict", policy: "DriftPolicy", history: "pd.DataFrame | None" = None) -> str:
        """Markdown image of a drift verdict; ``history`` as of ``drift_png``."""
        from shadow_platform.adapters.pictures.drift import drift_png
        from shadow_platform.adapters.pictures.inline import markdown_image

        return markdown_image(drift_png(verdict, policy, history), f"drift until {verdict.window_end:%Y-%m-%d}")

    def missing_values(self, rows: "pd.DataFrame", title: str) -> str:
        """Markdown image of missing values by feature and day; rows of ``data_quality``."""
        from shadow_platform.adapters.pictures.inline import markdown_image
        from shadow_platform.adapters.pictures.quality import missing_values_png

        return markdown_image(missing_values_png(rows, title), title)

    def feature_days(self, rows: "pd.Series[int]", null_rates: "pd.DataFrame", title: str) -> str:
        """Markdown image of a view's rows and missing values by day; arguments as of ``feature_days_png``."""
        from shadow_platform.adapters.pictures.features import feature_days_png
        from shadow_platform.adapters.pictures.inline import markdown_image

        return markdown_image(feature_days_png(rows, null_rates, title), title)

    def feature_parity(self, rows: "pd.DataFrame", title: str) -> str:
        """Markdown image of differences between served and training features; rows of ``feature_parity``."""
        from shadow_platform.adapters.pictures.inline import markdown_image
        from shadow_platform.adapters.pictures.parity import parity_png

        return markdown_image(parity_png(rows, title), title)

    def timeline(self, daily: "pd.DataFrame", proxies: "pd.DataFrame", verdicts: "pd.DataFrame", title: str) -> str:
        """Markdown image of models over time; frames as of ``Timeline``."""
        from shadow_platform.adapters.pictures.inline import markdown_image
        from shadow_platform.adapters.pictures.performance import Timeline, timeline_png

        return markdown_image(timeline_png(Timeline(daily, proxies, verdicts, title)), title)
