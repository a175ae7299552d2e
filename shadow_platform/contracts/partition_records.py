"""What is noted beside a partition of events or features: what it was made of, and what it holds.

Belongs here: the records. Does not belong here: keeping them (``adapters.lake``), planning by them
(``domain.features``). Upstream: assets of events and features. Downstream: the sensor of late days, checks that compare
a day with days before it.
"""

from datetime import date

from shadow_platform.contracts.verdicts import Frozen


class SourceState(Frozen):
    """A raw file, and the segments of the stream that bring more of it, as they are or as a run read them.

    Attributes:
        mtime_ns: of the file; while it and the size stay, the content is taken to be the same.
        stream_bytes: size of all segments of the day, or how much of it the raw file holds; 0 where no topic brings the
            kind.
        stream_mtime_ns: when a segment was last written.
    """

    n_bytes: int
    mtime_ns: int
    sha256: str
    stream_bytes: int = 0
    stream_mtime_ns: int = 0

    @property
    def changed_at_ns(self) -> int:
        """When anything of it was last written."""
        return max(self.mtime_ns, self.stream_mtime_ns)

    def differs_from(self, other: "SourceState") -> bool:
        """Whether there is anything else to read; a file that was merely touched is the same."""
        return (self.sha256, self.stream_bytes) != (other.sha256, other.stream_bytes)


class LandingRecord(Frozen):
    """A raw file that a stream brings.

    Attributes:
        stream_bytes: size of the day's segments before they were read for it: what came meanwhile is left to the next.
    """

    stream_bytes: int


class EventsRecord(Frozen):
    """One day of one kind of events.

    Attributes:
        fingerprint: of its rows, in whatever order.
        is_misshapen: whether most of the raw rows were refused; no features are to be made without them by themselves.
    """

    source: SourceState
    fingerprint: str
    is_misshapen: bool = False


class FeaturesRecord(Frozen):
    """One day of one feature view.

    Attributes:
        fingerprint: of its rows, in whatever order.
        inputs: fingerprint of the days of events that its SQL could read.
        misshapen: those of them that were misshapen: kind, day and fingerprint.
        nulls: by feature, those that have any.
        accepted: features that a person let be without any value on this day.
    """

    fingerprint: str
    inputs: str
    n_rows: int
    n_entities: int
    nulls: dict[str, int]
    accepted: tuple[str, ...] = ()
    misshapen: tuple[tuple[str, str, str], ...] = ()


class OnlineRecord(Frozen):
    """What the online store was given of one feature view.

    Attributes:
        fingerprints: of the rows of every day that a materialization's window touched.
    """

    fingerprints: dict[date, str]
