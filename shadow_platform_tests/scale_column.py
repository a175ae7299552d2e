"""What ``FEATURE_STORE=scale`` needs, real: Valkey, Postgres, an object store and Ray, shared by a session's tests.

Belongs here: the column as a fixture. Does not belong here: how each server is started (``feature_servers``,
``registry_servers``), assertions. Downstream: tests of the feature store, which import the fixtures into a conftest.
"""

from collections.abc import Iterator, Mapping
from uuid import uuid4

import pytest

from shadow_platform.adapters.feature_store import ray_cluster
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform_tests.feature_servers import Postgres, Valkey
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore


def access(store: ObjectStore) -> Mapping[str, str]:
    """Environment of a process that may read and write features in the object store."""
    return {**store.settings, "AWS_ENDPOINT_URL": store.url}


@pytest.fixture(scope="session")
def ray_here(object_store: ObjectStore) -> Iterator[None]:
    """Ray on this machine, whose workers may use the object store: they have the environment it was started in."""
    import ray

    with pytest.MonkeyPatch.context() as environment:
        for name, value in access(object_store).items():
            environment.setenv(name, value)
        ray_cluster.cpus(None)
    yield
    ray.shutdown()


@pytest.fixture
def scale_stores(
    ray_here: None, valkey: Valkey, postgres: Postgres, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> FeatureStores:
    """The column ``scale``, empty."""
    for name, value in access(object_store).items():
        monkeypatch.setenv(name, value)
    return FeatureStores("scale", valkey.url, postgres.new_database(), f"s3://{BUCKET}/features/{uuid4().hex}")
