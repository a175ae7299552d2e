"""A home folder as one archive that is taken while everything runs, and its return from it.

Belongs here: what an archive holds and in which order (``contents``), writing it (``writing``), checking and unpacking
it (``restoring``). Does not belong here: what lies on servers (Postgres, S3, Kafka, Redis), which have tools of their
own. Upstream: a home folder. Downstream: ``shadow backup`` and ``shadow restore``.

The rule that an archive keeps: whatever was acknowledged before it began is in it, and nothing in it rests on something
that is not, but for rows of evidence written meanwhile (see ``contents``). It is kept by the order of copying: what was
derived before what it was derived from, what points before what it points to.
"""

from shadow_platform.adapters.backup.restoring import check, restore
from shadow_platform.adapters.backup.writing import Written, write

__all__ = ["Written", "check", "restore", "write"]
