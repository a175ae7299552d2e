"""Feast, the feature store: one use case's definitions, its history, and its online store.

``store`` holds the entry class, ``online`` the reader for the serving process, ``materializing`` what proves that rows
arrived, ``asof`` the join itself, ``objects`` the partitions other machines read. Feast loads the rest by its two
configurations: ``offline``, ``engine`` and ``sqlite`` for one machine, ``ray_offline``, ``ray_engine`` and ``redis``
for many. Does not belong here: computing features. Upstream: contracts, ``feature_repo``. Downstream: resources, the
service.
"""

from shadow_platform.adapters.feature_store.online import FeastOnline
from shadow_platform.adapters.feature_store.store import FeastStore

__all__ = ["FeastOnline", "FeastStore"]
