"""When served requests count as drifted, as broken, or as answered worse than before.

Upstream: nothing. Downstream: ``contracts.policies``.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, get_args

from shadow_platform.contracts.errors import UseCaseError

ReferenceKind = Literal["frozen", "rolling", "seasonal"]
Severity = Literal["error", "warn"]
QualityCheck = Literal[
    "missing",
    "foreign",
    "out_of_range",
    "new_category",
    "stale",
    "duplicates",
    "volume",
    "silence",
    "event_volume",
    "event_silence",
]
QUALITY_CHECKS: tuple[QualityCheck, ...] = get_args(QualityCheck)


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a statistic counts: large enough to matter and, where it is a test, too large for chance.

    Attributes:
        floor: smallest value that matters, in the statistic's own unit.
        alpha: p-value that must be undercut; ``None``: size alone decides, or chance is controlled over all features
            at once (``DriftPolicy.q``).

    >>> Threshold(0.05, alpha=0.01).is_beyond(0.08, 0.2)
    False
    """

    floor: float
    alpha: float | None = None

    def __post_init__(self) -> None:
        if not self.floor >= 0 or not (self.alpha is None or 0 < self.alpha < 1):
            raise UseCaseError(
                f"Threshold(floor={self.floor!r}, alpha={self.alpha!r}); expected a floor of at least 0 and an alpha "
                "between 0 and 1, or None; correct the declaration"
            )

    def is_beyond(self, value: float | None, p_value: float | None = None) -> bool:
        """Whether a measured value counts; what was not measured does not."""
        if value is None or value < self.floor:
            return False
        return self.alpha is None or (p_value is not None and p_value < self.alpha)


@dataclass(frozen=True, slots=True)
class ReferencePolicy:
    """What a window is compared with.

    Attributes:
        kind: ``frozen``: the requests the champion was trained on. ``rolling``: the ``length`` of served requests that
            ends ``gap`` before the window. ``seasonal``: the same part of the last ``cycles`` seasons, each ``season``
            long: of a week, with 7 days. Bins and levels are always those of the frozen one.
    """

    kind: ReferenceKind = "frozen"
    length: timedelta = timedelta(days=28)
    gap: timedelta = timedelta(0)
    season: timedelta = timedelta(days=7)
    cycles: int = 4

    def __post_init__(self) -> None:
        hour, nothing = timedelta(hours=1), timedelta(0)
        _require(
            self,
            ("kind", self.kind in ("frozen", "rolling", "seasonal"), "'frozen', 'rolling' or 'seasonal'"),
            ("length", self.length >= hour and not self.length % hour, "whole hours, at least one"),
            ("gap", self.gap >= nothing and not self.gap % hour, "whole hours, or none"),
            ("season", self.season >= hour and not self.season % hour, "whole hours, at least one"),
            ("cycles", self.cycles >= 1, "at least 1"),
        )


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """Limits of the drift verdict; defaults are those measured in docs/methods.md.

    Attributes:
        window: time that is judged, whole hours.
        window_rows: judge the newest hours that hold so many rows instead; ``None``: by ``window``.
        min_rows: fewer, in window or reference, give no verdict.
        exact_rows: samples of up to so many rows each are compared value by value, larger ones by their profiles.
        q: false discovery rate over all tests of features: ``ks``, ``total_variation``, ``null_rate``.
        ks, total_variation: distance of a numeric and of a categorical feature.
        null_rate: absolute change of the share of nulls.
        broad_share, broad_q, broad_floor_factor: rule 2, many small shifts: share of the tests significant at
            ``broad_q`` and beyond that factor of their floors.
        score: KS distance of the model's scores.
        correlation: change of a pair's rank correlation; ``alpha`` is divided by the number of pairs.
        max_correlated: of so many monitored numeric features, the first ones, all pairs are watched.
        psi, kl, js, wasserstein_sd: reported when beyond, never decisive. ``kl`` and ``js`` in nats.
        domain_classifier: area under the ROC curve above one half of a model that tells window from reference, on
            unseen rows; decisive. ``None``: it is not fitted.
        new_category_share: share of values of levels unknown to the reference that breaks the schema.
        drift_threshold: share of drifted features that fails on its own.
        cluster: ``"day"``: rows of one day are alike; ``None``: rows are independent.
        segments: categorical features by whose levels a shift of the scores is split; ``None``: all with at most
            20 levels.
    """

    window: timedelta = timedelta(days=28)
    window_rows: int | None = None
    min_rows: int = 500
    exact_rows: int = 100_000
    reference: ReferencePolicy = field(default_factory=ReferencePolicy)
    q: float = 0.01
    ks: Threshold = Threshold(0.05)
    total_variation: Threshold = Threshold(0.03)
    null_rate: Threshold = Threshold(0.01)
    broad_share: float = 0.20
    broad_q: float = 0.05
    broad_floor_factor: float = 0.4
    score: Threshold = Threshold(0.03, alpha=0.005)
    correlation: Threshold = Threshold(0.1, alpha=0.005)
    max_correlated: int = 100
    psi: Threshold | None = Threshold(0.25)
    kl: Threshold | None = Threshold(0.1)
    js: Threshold | None = Threshold(0.02)
    wasserstein_sd: Threshold | None = Threshold(0.1)
    domain_classifier: Threshold | None = None
    new_category_share: float = 0.05
    drift_threshold: float = 0.3
    cluster: Literal["day"] | None = "day"
    segments: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        hour = timedelta(hours=1)
        _require(
            self,
            ("window", self.window >= hour and not self.window % hour, "whole hours, at least one"),
            ("window_rows", self.window_rows is None or self.window_rows >= 1, "at least 1, or None"),
            ("min_rows", self.min_rows >= 1, "at least 1"),
            ("exact_rows", self.exact_rows >= 0, "at least 0"),
            ("q", 0 < self.q < 1, "a rate between 0 and 1"),
            ("broad_q", 0 < self.broad_q < 1, "a rate between 0 and 1"),
            ("broad_share", 0 < self.broad_share <= 1, "a share above 0"),
            ("broad_floor_factor", self.broad_floor_factor > 0, "a number above 0"),
            ("max_correlated", self.max_correlated >= 0, "at least 0"),
            ("drift_threshold", 0 <= self.drift_threshold <= 1, "a share between 0 and 1"),
            ("new_category_share", 0 <= self.new_category_share <= 1, "a share between 0 and 1"),
            ("cluster", self.cluster in ("day", None), "'day' or None"),
        )


@dataclass(frozen=True, slots=True)
class PerformancePolicy:
    """When a champion counts as worse than it was on the requests it was evaluated on.

    Attributes:
        window: request time that is judged, whole days; it ends where cohorts have matured.
        log_loss: rise of the mean log loss, nats a request; its p-value is one-sided and counts days.
        min_labels, min_days: fewer, in window or evaluation rows, give no verdict.
    """

    window: timedelta = timedelta(days=28)
    log_loss: Threshold = Threshold(0.03, alpha=0.01)
    min_labels: int = 500
    min_days: int = 5

    def __post_init__(self) -> None:
        day = timedelta(days=1)
        _require(
            self,
            ("window", self.window >= day and not self.window % day, "whole days, at least one"),
            ("min_labels", self.min_labels >= 1, "at least 1"),
            ("min_days", self.min_days >= 1, "at least 1"),
        )


@dataclass(frozen=True, slots=True)
class DataQualityPolicy:
    """When the requests or the events of a day count as broken; ``None`` leaves a check out.

    A share counts when it is beyond its limit even at the lower end of its confidence interval, and a number of rows
    when chance does not explain it, so that one null among ten requests is no alarm.

    Attributes:
        max_missing_increase: rise of a feature's share of nulls over the champion's reference, among the requests that
            its view had a row for.
        max_foreign: share of a feature's values that are not of its kind; all, where no request names the feature.
        max_out_of_range: share of a feature's values outside its declared range.
        max_new_category_share: share of a feature's values of levels that the reference does not know.
        max_stale_increase: rise over the reference of the share of requests that a view had no row within its TTL for.
        max_duplicate_share: share of requests that repeat subject, time and features of another.
        min_volume_ratio, max_volume_ratio: requests of a day, or events of a kind received on it, over the median of
            the same weekday in the four weeks before.
        max_silence: longest time without a request within the day.
        silence_alpha: chance, after the usual number of events of the same hours, that a kind of events is not seen
            until the end of the day.
        severities: of each check by its name; those not named are warnings, except ``foreign``, which is an error.
    """

    max_missing_increase: float | None = 0.05
    max_foreign: float | None = 0.0
    max_out_of_range: float | None = 0.001
    max_new_category_share: float | None = 0.05
    max_stale_increase: float | None = 0.05
    max_duplicate_share: float | None = 0.01
    min_volume_ratio: float | None = 0.6
    max_volume_ratio: float | None = 2.0
    max_silence: timedelta | None = None
    silence_alpha: float | None = 0.001
    severities: tuple[tuple[QualityCheck, Severity], ...] = ()

    def __post_init__(self) -> None:
        shares = ("max_missing_increase", "max_foreign", "max_out_of_range", "max_new_category_share")
        for name in (*shares, "max_stale_increase", "max_duplicate_share"):
            limit = getattr(self, name)
            _require(self, (name, limit is None or 0 <= limit <= 1, "a share between 0 and 1, or None"))
        low, high, silence, alpha = self.min_volume_ratio, self.max_volume_ratio, self.max_silence, self.silence_alpha
        _require(
            self,
            ("min_volume_ratio", low is None or 0 < low < 1, "a ratio between 0 and 1, or None"),
            ("max_volume_ratio", high is None or high > 1, "a ratio above 1, or None"),
            ("max_silence", silence is None or silence > timedelta(0), "some time, or None"),
            ("silence_alpha", alpha is None or 0 < alpha < 1, "a rate between 0 and 1, or None"),
            (
                "severities",
                all(check in QUALITY_CHECKS and told in ("error", "warn") for check, told in self.severities),
                f"pairs of a check ({', '.join(QUALITY_CHECKS)}) and 'error' or 'warn'",
            ),
        )

    def severity(self, check: QualityCheck) -> Severity:
        """How bad it is when a check fails.

        >>> DataQualityPolicy(severities=(("volume", "error"),)).severity("volume")
        'error'
        """
        return dict(self.severities).get(check, "error" if check == "foreign" else "warn")


def _require(policy: object, *rules: tuple[str, bool, str]) -> None:
    for name, holds, expected in rules:
        if not holds:
            value = getattr(policy, name)
            raise UseCaseError(
                f"{type(policy).__name__} has {name}={value!r}; expected {expected}; correct the declaration"
            )
