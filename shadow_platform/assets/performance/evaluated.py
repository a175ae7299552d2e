"""The rows a model was evaluated on, which it was not fitted on: the reference of calibration and of the verdict.

Belongs here: reading and scoring them, and the chance of each to show its label. Does not belong here: what is made of
them (domain.estimation). Upstream: bundles, training frames, answers. Downstream: ``daily``, ``verdict``.
"""

from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.censoring import censor
from shadow_platform.domain.estimation import Calibrator, fit_calibrator
from shadow_platform.domain.labels import LABEL_KEY
from shadow_platform.resources import PlatformResource


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Evaluation rows of a model, as answers are judged.

    Attributes:
        cohort: ``use_case, requested_at, model_version, probability, prediction, label, is_hidden, label_propensity``.
        ended_at: end of the evaluation (exclusive); what came later the model has never seen.
    """

    cohort: pd.DataFrame
    ended_at: datetime


def evaluated_rows(platform: PlatformResource, use_case: UseCase, version: str) -> Evaluated | None:
    """Evaluation rows of a version; ``None`` when they are gone, or when labels of some had no chance of being seen.

    Where decisions hid some labels by chance, the labelled rows stand for them by their inverse propensities. When the
    chance of some was zero, the labelled ones are no sample of all. Why rows cannot be read is a warning in the log.
    """
    try:
        bundle = platform.bundle(use_case, version)
        frame = platform.lake().read_frame(use_case, bundle.manifest.fingerprints["data"])
    except (ShadowPlatformError, KeyError) as error:
        said = f"its bundle names no {error}" if isinstance(error, KeyError) else str(error)
        dg.get_dagster_logger().warning("the rows version %s was evaluated on cannot be read: %s", version, said)
        return None
    manifest, at = bundle.manifest, frame["requested_at"]
    rows = frame[(at >= manifest.evaluation_start) & (at < manifest.evaluation_end)]
    propensity = _propensity(platform, use_case, rows)
    if (propensity <= 0).any():
        return None
    probability = bundle.predict(bundle.encode_frame(rows)[0]) if len(rows) else np.zeros(0)
    cohort = rows[["requested_at", "label"]].assign(
        use_case=use_case.name,
        model_version=version,
        probability=probability,
        prediction=probability >= manifest.threshold,
        label=rows["label"].astype("boolean"),
        is_hidden=rows["label"].isna().to_numpy() & (propensity < 1),
        label_propensity=propensity,
    )
    return Evaluated(cohort, manifest.evaluation_end)


def calibrator_of(evaluated: Evaluated) -> Calibrator:
    """Calibration on the labelled evaluation rows, each by what it stands for."""
    rows = evaluated.cohort[evaluated.cohort["label"].notna()]
    days = pd.factorize(rows["requested_at"].dt.floor("D"), sort=True)[0].astype(np.int64)
    weight = 1.0 / rows["label_propensity"].to_numpy(np.float64)
    return fit_calibrator(rows["probability"].to_numpy(np.float64), rows["label"].to_numpy(bool), weight, days)


def _propensity(platform: PlatformResource, use_case: UseCase, requests: pd.DataFrame) -> NDArray[np.float64]:
    """Chance of each request to show its outcome; 1 where this platform hides labels and did not answer it."""
    if requests.empty:
        return np.zeros(0)
    if use_case.label.hidden_by != "platform":
        return censor(requests, use_case.label.hidden_by)["label_propensity"].to_numpy(np.float64)
    answers = platform.lake().read_answers(use_case, start=requests["requested_at"].min().date())
    answers = answers[[*LABEL_KEY, "prediction", "is_explored", "label_propensity"]]
    answers = answers.sort_values("label_propensity").drop_duplicates(LABEL_KEY)
    answered = requests[[*LABEL_KEY, "label"]].merge(answers, on=LABEL_KEY, how="left", validate="one_to_one")
    answered["prediction"] = answered["prediction"].astype("boolean").fillna(False)
    return censor(answered, "platform")["label_propensity"].to_numpy(np.float64)
