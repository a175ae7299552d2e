"""Which model serves: the manifest file, the ways it changes, and what the workers say of it.

Belongs here: ``manifest`` (the file and the aliases that mirror it), ``journal`` (how a change is carried out and
repaired), ``champion``, ``challengers``, ``canary``, ``emergency`` (the changes), ``bentos`` (which Bento follows),
``rollouts``, ``canary_evidence``, ``worker_states``. Upstream: promotion assets, command line, the guard. Downstream:
serving workers and the shadow worker watch the manifest; the lake reads the audit log.
"""

from shadow_platform.adapters.deployment.canary import set_canary_share, start_canary, stop_canary
from shadow_platform.adapters.deployment.challengers import add_challenger, remove_challenger, set_shadow_policy
from shadow_platform.adapters.deployment.champion import deploy_initial, promote, reconcile, rollback
from shadow_platform.adapters.deployment.emergency import (
    emergency_rollback,
    halt_canary,
    is_registry_behind,
    settle_audit,
)
from shadow_platform.adapters.deployment.manifest import aliases_of, read_manifest, write_manifest

__all__ = [
    "add_challenger",
    "aliases_of",
    "deploy_initial",
    "emergency_rollback",
    "halt_canary",
    "is_registry_behind",
    "promote",
    "read_manifest",
    "reconcile",
    "remove_challenger",
    "rollback",
    "set_canary_share",
    "set_shadow_policy",
    "settle_audit",
    "start_canary",
    "stop_canary",
    "write_manifest",
]
