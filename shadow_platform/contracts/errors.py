"""The one error tree. A message names the offending value, what was expected, and what to do about it.

Upstream: nothing. Downstream: everything raises these; the command line prints them in one line.
"""


class ShadowPlatformError(Exception):
    """Base of every error the platform raises on purpose."""


class SettingsError(ShadowPlatformError):
    """A setting cannot be used; the process must not start."""


class UseCaseError(ShadowPlatformError):
    """A use case is unknown, or its declaration contradicts itself."""


class EventFileError(ShadowPlatformError):
    """A raw event file cannot be read at all (as opposed to one bad row, which is quarantined)."""


class LabelFileError(ShadowPlatformError):
    """A file of labels cannot be imported at all (as opposed to one bad row, which is quarantined)."""


class LakeError(ShadowPlatformError):
    """A partition, table or query of the lake contradicts its schema, or a file of it is corrupt."""


class FeatureStoreError(ShadowPlatformError):
    """The feature store is missing, stale, or wrote other counts than it reported."""


class BundleError(ShadowPlatformError):
    """A bundle is incomplete, altered, or fails its self-test, and must not serve."""


class RegistryError(ShadowPlatformError):
    """The model registry does not answer or does not hold what was asked for."""


class NoChampion(RegistryError):
    """A use case serves no model yet.

    Args:
        manifest: where its deployment would stand.
    """

    def __init__(self, use_case: str, manifest: object = None) -> None:
        missing = f" ({manifest} is missing)" if manifest else ""
        super().__init__(
            f"use case {use_case} serves no model yet{missing}; "
            f"run the job {use_case}_train in `shadow ui`, or `shadow demo -u {use_case}`"
        )


class TransitionConflict(RegistryError):
    """Compare-and-swap failed: the alias no longer points where the caller believed it did."""


class LogError(ShadowPlatformError):
    """A record could not be appended. The caller must refuse to answer rather than answer unlogged."""


class StreamError(ShadowPlatformError):
    """No broker answers, it refuses, or what was to be sent did not arrive."""


class RequestError(ShadowPlatformError):
    """A request violates the contract.

    Attributes:
        errors: one mapping a field: ``{"field": path, "message": text}``.
    """

    def __init__(self, errors: list[dict[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{e['field']}: {e['message']}" for e in errors))


class NotEnoughData(ShadowPlatformError):
    """A step needs more rows than exist. Raised by training; verdicts say ``insufficient`` instead."""


class BackupError(ShadowPlatformError):
    """A home cannot be backed up, or an archive of one is damaged or may not be unpacked where it was told to."""


class AlreadyRunning(ShadowPlatformError):
    """Another process holds the lock of this piece of work."""
