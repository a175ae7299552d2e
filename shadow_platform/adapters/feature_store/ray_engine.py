"""Feast's compute engine on Ray: materialization in which every row arrives.

Belongs here: cutting a materialization into tasks. Loaded by Feast alone, through ``batch_engine.type`` in
``feature_store.scale.yaml``. Does not belong here: proof that the rows arrived (``materializing``). Upstream:
``ray_work``, which finds the latest rows. Downstream: the online store, written by the workers.

Feast's own Ray engine drops every row older than now less the time to live, so that it writes nothing of a replayed day
and reports success.
"""

from typing import Literal, cast

from feast.data_source import DataSource
from feast.infra.common.materialization_job import MaterializationTask
from feast.repo_config import FeastConfigBaseModel

from shadow_platform.adapters.feature_store import ray_cluster, ray_tasks
from shadow_platform.adapters.feature_store.engine import LatestComputeEngine
from shadow_platform.adapters.feature_store.ray_offline import partitions_of
from shadow_platform.adapters.feature_store.ray_tasks import Window
from shadow_platform.adapters.feature_store.ray_work import latest_on_ray


class RayLatestComputeEngineConfig(FeastConfigBaseModel):
    """Nothing to configure: the cluster is that of the offline store."""

    type: Literal["shadow_platform.adapters.feature_store.ray_engine.RayLatestComputeEngine"] = (
        "shadow_platform.adapters.feature_store.ray_engine.RayLatestComputeEngine"
    )


class RayLatestComputeEngine(LatestComputeEngine):
    """Brings each entity's latest row of a window online; the rows pass through Ray's workers alone."""

    def _bring_online(self, task: MaterializationTask) -> None:
        view = task.feature_view
        source = cast(DataSource, view.batch_source)
        window = Window(
            partitions_of(source),
            tuple(column.name for column in view.entity_columns),
            tuple(feature.name for feature in view.features),
            source.timestamp_field,
            source.created_timestamp_column or None,
            task.start_time,
            task.end_time,
        )
        address = self.repo_config.offline_store.ray_address
        message = view.to_proto().SerializeToString()
        writes = [(self.repo_config, message, latest) for latest in latest_on_ray(address, window)]
        ray_cluster.collect(address, ray_cluster.submit(address, ray_tasks.write_online, writes))
