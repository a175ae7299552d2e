"""Where a trained model comes from: the frame it was fitted on, the partitions that frame was made of, the code.

Upstream: training, Dagster's records. Downstream: the frame's record beside its Parquet file, tags in the registry,
``shadow models lineage``.
"""

from datetime import datetime

from shadow_platform.contracts.verdicts import Frozen


class PartitionSnapshot(Frozen):
    """One partition of an asset as a frame saw it.

    Attributes:
        asset: key of the asset, parts joined by ``/``.
        partition: its key; empty for an asset without partitions.
        code_version: of the asset when it was materialized; ``None`` when nobody recorded it.
        data_version: Dagster's, which changes with every materialization that changes the data.
    """

    asset: str
    partition: str
    code_version: str | None
    data_version: str | None
    run_id: str | None
    materialized_at: datetime | None


class FrameRecord(Frozen):
    """How a training frame came about; kept beside it.

    Attributes:
        fingerprint: SHA-256 over its content (``domain.training.fingerprints.frame_fingerprint``).
        as_of: nothing known later was used; the windows of a training end there.
        n_requests: requests of its window, labelled or not.
        queries: fingerprint of the SQL that made it.
        partitions_fingerprint: over ``partitions`` without run ids and times.
    """

    use_case: str
    fingerprint: str
    as_of: datetime
    n_rows: int
    n_requests: int
    n_imported_labels: int
    n_censored_labels: int
    queries: str
    partitions: tuple[PartitionSnapshot, ...]
    partitions_fingerprint: str


class CodeState(Frozen):
    """What program trained a model.

    Attributes:
        git_commit: of the checkout the platform runs from; ``None`` when it is installed without one.
        is_dirty: whether that checkout had changes that are not committed.
        lock_sha256: of ``requirements.lock`` beside it; ``None`` when there is none.
        packages: versions of the packages that make up a model.
    """

    git_commit: str | None
    is_dirty: bool | None
    lock_sha256: str | None
    python: str
    packages: dict[str, str]
