"""Which model serves: the manifest file (``manifest``) and the ways it changes (``transitions``).

Upstream: promotion assets, command line. Downstream: serving workers and the shadow worker watch the manifest; the
lake reads the audit log.
"""

from shadow_platform.adapters.deployment.manifest import read_manifest, write_manifest
from shadow_platform.adapters.deployment.transitions import (
    add_challenger,
    deploy_initial,
    promote,
    reconcile,
    remove_challenger,
    rollback,
)

__all__ = [
    "add_challenger",
    "deploy_initial",
    "promote",
    "read_manifest",
    "reconcile",
    "remove_challenger",
    "rollback",
    "write_manifest",
]
