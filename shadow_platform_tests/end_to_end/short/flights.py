"""``flights`` cut to sixteen days of the real data: trained on thirteen, two served, a third for the labels.

Belongs here: shorter windows and looser demands than a product's, and topics for its events. Does not belong here: what
the use case is. Upstream: ``use_cases.flights``. Downstream: ``location``, ``loop``. What two days of traffic can show
is little: the limits of drift are so tight that ordinary days fail, for the sensor to have something to answer, and a
model becomes a version however little it learned of a week.
"""

from dataclasses import replace
from datetime import date, timedelta

from shadow_platform.contracts.features import Topic
from shadow_platform.contracts.policies import DriftPolicy, QualityPolicy, RetrainPolicy, Threshold, TrainingPolicy
from shadow_platform.contracts.use_case import DemoPlan
from shadow_platform.use_cases.flights import USE_CASE as FLIGHTS

DAY = timedelta(days=1)
TRAINING = TrainingPolicy(window=12 * DAY, calibration=2 * DAY, evaluation=2 * DAY, min_rows=1_000, n_resamples=200)
TIGHT = Threshold(0.0001)
DRIFT = DriftPolicy(window=2 * DAY, ks=TIGHT, total_variation=TIGHT, q=0.99, drift_threshold=0.01, cluster=None)
USE_CASE = replace(
    FLIGHTS,
    events=tuple(replace(kind, topic=Topic(f"flights.{kind.name}", key="origin")) for kind in FLIGHTS.events),
    training=TRAINING,
    drift=DRIFT,
    retrain=RetrainPolicy(min_new_labels=0),
    quality=QualityPolicy(min_roc_auc=None, min_log_loss_gain=None, max_calibration_error=None),
    demo=DemoPlan(serve_from=date(2013, 1, 14), serve_until=date(2013, 1, 16), decide_at=date(2013, 1, 17)),
)
