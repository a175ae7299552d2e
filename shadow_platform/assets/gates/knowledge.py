"""Whether a challenger was trained on what was known then: its training frame, held against the table of labels.

Belongs here: finding rows whose label the platform did not know at the time of the training. Does not belong here: what
follows from them (domain.gates), how a frame is made (training). Upstream: the bundle's manifest, the frame under its
fingerprint, ``labels``. Downstream: ``evidence``.

A row leaks when its request was made at the time of the training or later, when its label first became known later, or
when it holds a correction that came later. A row that ``labels`` does not know of cannot be held against it: days
before the first deployment may never have been tabled. It is counted, and only its own times are judged.
"""

from datetime import UTC, datetime

import pandas as pd

from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import TrainingKnowledge
from shadow_platform.domain.labels import LABEL_KEY, latest_labels
from shadow_platform.resources import PlatformResource


def knowledge_of(
    platform: PlatformResource, use_case: UseCase, manifest: BundleManifest, as_of: datetime
) -> TrainingKnowledge | None:
    """What a challenger was trained on; ``None`` when its frame is gone, so that nobody can tell.

    Args:
        as_of: labels known later are not looked at, so that the answer for a given time stays the same.
    """
    try:
        frame = platform.lake().read_frame(use_case, manifest.fingerprints.get("data", ""))
    except LakeError:
        return None
    since = frame["requested_at"].min() if len(frame) else manifest.trained_as_of
    labels = platform.lake().read_table(LABELS, use_case, since.astimezone(UTC).date())
    known = labels[labels["known_at"] <= as_of]
    return held_against(frame, known, manifest.trained_as_of, use_case)


def held_against(
    frame: pd.DataFrame, labels: pd.DataFrame, trained_as_of: datetime, use_case: UseCase
) -> TrainingKnowledge:
    """Rows of a training frame that hold what was not known at the time of the training.

    Args:
        frame: ``subject_id, requested_at, label, known_at``; rows without a label told the training nothing.
        labels: rows of ``labels``, corrections among them.
    """
    rows = frame.loc[frame["label"].notna(), [*LABEL_KEY, "label", "known_at"]].rename(columns={"known_at": "said_at"})
    first = labels.groupby(LABEL_KEY)["known_at"].min().rename("first_known_at").reset_index()
    then = latest_labels(labels, trained_as_of, use_case.label.horizon)[[*LABEL_KEY, "label"]]
    rows = rows.astype({"label": bool})
    rows = rows.merge(first, on=LABEL_KEY, how="left").merge(then.rename(columns={"label": "then"}), how="left")
    later = labels.loc[labels["known_at"] > trained_as_of, [*LABEL_KEY, "label"]].drop_duplicates()
    corrected = rows.merge(later.astype({"label": bool}), on=[*LABEL_KEY, "label"], how="left", indicator=True)
    is_corrected = rows["then"].notna() & rows["then"].ne(rows["label"]) & corrected["_merge"].eq("both").to_numpy()
    is_too_new = rows["requested_at"] >= trained_as_of
    is_unknown = (rows["said_at"] > trained_as_of) | (rows["first_known_at"] > trained_as_of)
    leaked = rows[is_too_new | is_unknown | is_corrected]
    n_tabled = int(rows["first_known_at"].notna().sum())
    detail = _detail(leaked, len(rows), n_tabled, trained_as_of)
    return TrainingKnowledge(
        trained_as_of=trained_as_of.astimezone(UTC), n_rows=len(rows), n_leaked=len(leaked), detail=detail
    )


def _detail(leaked: pd.DataFrame, n: int, n_tabled: int, trained_as_of: datetime) -> str:
    time = f"{trained_as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if leaked.empty:
        return f"none of {n} labels in the training frame came after {time}; {n_tabled} are in the table of labels"
    first = leaked.iloc[0]
    return (
        f"{len(leaked)} of {n} labels in the training frame were not known at {time}, the training's own time; first: "
        f"{first['subject_id']} requested at {first['requested_at'].isoformat()}"
    )
