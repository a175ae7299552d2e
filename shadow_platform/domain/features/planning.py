"""Which days are due: raw files that changed since their events were made, and the feature rows that could see them.

Belongs here: comparing records with what is there. Does not belong here: looking at files, starting runs. Upstream:
records of partitions. Downstream: assets of features (what a day was made of), the sensor of late days.

A view's day reads the events of the days before it that its lookback reaches, so a late event touches the days from
its own to as many later; whether their rows differ is seen when they are made.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta

from shadow_platform.contracts.partition_records import SourceState
from shadow_platform.contracts.use_case import EventKind, FeatureView

Versions = Mapping[str, Mapping[date, str]]
Read = tuple[str, str, str]
_DAY = timedelta(days=1)


def reach_days(view: FeatureView) -> int:
    """How many days before its own a day of the view may read.

    A view that looks back 25 hours reads two days besides its own: at midnight it still sees the one before yesterday.
    """
    return math.ceil(view.lookback / _DAY)


def kinds_read(view: FeatureView, kinds: Iterable[EventKind]) -> list[EventKind]:
    """Event kinds that the view's SQL names."""
    return [kind for kind in kinds if re.search(rf"\b{re.escape(kind.name)}\b", view.sql)]


def late_days(known: Mapping[date, SourceState], found: Mapping[date, SourceState]) -> list[date]:
    """Days whose raw file or segments hold something else than what their events were made of, in order."""
    return sorted(day for day, source in known.items() if day in found and found[day].differs_from(source))


def inputs_read(view: FeatureView, day: date, versions: Versions) -> list[Read]:
    """Kind, day and fingerprint of all events that the SQL could read for a day.

    Args:
        versions: fingerprints of the events' rows by kind and day, of the kinds that the SQL names.
    """
    days = [day - n * _DAY for n in range(reach_days(view) + 1)]
    return [(kind, str(d), of[d]) for kind, of in sorted(versions.items()) for d in days if d in of]


def inputs_fingerprint(view: FeatureView, day: date, versions: Versions) -> str:
    """Fingerprint of all that the SQL could read for a day; arguments as ``inputs_read``."""
    return hashlib.sha256(repr(inputs_read(view, day, versions)).encode()).hexdigest()


def newly_misshapen(view: FeatureView, day: date, misshapen: Versions, accepted: Collection[Read]) -> list[Read]:
    """Misshapen events that a day of the view would be made with for the first time.

    Args:
        misshapen: as ``versions`` of ``inputs_read``, of misshapen days alone.
        accepted: those that the day was made with before.
    """
    return [read for read in inputs_read(view, day, misshapen) if read not in accepted]


def stale_days(brought: Mapping[date, str], made: Mapping[date, str]) -> list[date]:
    """Days whose rows differ from what was brought elsewhere of them, in order; by fingerprints."""
    return sorted(day for day, fingerprint in brought.items() if made.get(day, fingerprint) != fingerprint)


def due_days(view: FeatureView, versions: Versions, made_of: Mapping[date, str]) -> list[date]:
    """Days of a view, of those that were made, whose events changed since, in order.

    Args:
        versions: as of ``inputs_read``.
        made_of: fingerprint of the inputs of every day that was made.
    """
    return sorted(day for day, inputs in made_of.items() if inputs != inputs_fingerprint(view, day, versions))
