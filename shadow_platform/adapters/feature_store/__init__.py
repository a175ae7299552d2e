"""Feast, the feature store: one use case's definitions, its history, and its online store.

``store`` holds the entry class, ``online`` the reader for the serving process, ``sqlite`` the online store that Feast
loads by ``feature_store.yaml``. Does not belong here: computing features. Upstream: contracts, ``feature_repo``.
Downstream: resources, the service.
"""

from shadow_platform.adapters.feature_store.online import FeastOnline
from shadow_platform.adapters.feature_store.store import FeastStore

__all__ = ["FeastOnline", "FeastStore"]
