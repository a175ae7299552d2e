"""In-memory adapters for tests: they keep the ports' promises, and pass the same contract suites as the real ones."""

import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from shadow_platform.adapters.bundle import bundle_hash, read_bundle_manifest
from shadow_platform.contracts.errors import BundleError, RegistryError, TransitionConflict
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.retraining import tightened


class FakeRegistry:
    """``ports.Registry`` in memory; bundles stay where they were registered from."""

    def __init__(self) -> None:
        self._versions: dict[str, list[RegisteredVersion]] = {}
        self._bundles: dict[tuple[str, str], Path] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._lock = threading.RLock()

    def register(self, use_case: str, bundle: Path, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        digest = bundle_hash(bundle)
        manifest = read_bundle_manifest(bundle)
        if manifest.use_case != use_case:
            raise RegistryError(f"bundle {digest} is of use case {manifest.use_case!r}, expected {use_case!r}")
        with self._lock:
            known = self._versions.setdefault(use_case, [])
            for entry in known:
                if entry.bundle_hash == digest:
                    found = replace(entry, tags={**entry.tags, **tightened(entry.tags, tags)})
                    known[known.index(entry)] = found
                    return self.get(use_case, entry.version)
            version = RegisteredVersion(
                use_case=use_case,
                version=str(len(known) + 1),
                model_name=manifest.model_name,
                bundle_hash=digest,
                run_id=run_id,
                created_at=datetime.now(UTC),
                aliases=(),
                tags=dict(tags),
                metrics=manifest.metrics,
            )
            known.append(version)
            self._bundles[use_case, version.version] = bundle
            return version

    def get(self, use_case: str, version: str) -> RegisteredVersion:
        for entry in self.versions(use_case):
            if entry.version == version:
                return entry
        raise RegistryError(f"version {version!r} of {use_case} does not exist")

    def versions(self, use_case: str) -> list[RegisteredVersion]:
        with self._lock:
            return [
                RegisteredVersion(
                    use_case=entry.use_case,
                    version=entry.version,
                    model_name=entry.model_name,
                    bundle_hash=entry.bundle_hash,
                    run_id=entry.run_id,
                    created_at=entry.created_at,
                    aliases=tuple(
                        sorted(
                            alias
                            for (owner, alias), target in self._aliases.items()
                            if owner == use_case and target == entry.version
                        )
                    ),
                    tags=entry.tags,
                    metrics=entry.metrics,
                )
                for entry in self._versions.get(use_case, [])
            ]

    def newest(self, use_case: str, limit: int) -> list[RegisteredVersion]:
        return self.versions(use_case)[::-1][:limit]

    def alias(self, use_case: str, alias: str) -> str | None:
        with self._lock:
            return self._aliases.get((use_case, alias))

    def swap_alias(self, use_case: str, alias: str, expected: str | None, new: str | None) -> None:
        with self._lock:
            found = self._aliases.get((use_case, alias))
            if found != expected:
                raise TransitionConflict(f"alias {alias!r} of {use_case} is at version {found}, expected {expected}")
            if new is not None:
                self.get(use_case, new)
                self._aliases[use_case, alias] = new
            elif found is not None:
                del self._aliases[use_case, alias]

    def fetch_bundle(self, use_case: str, version: str, bundles: Path) -> Path:
        digest = self.get(use_case, version).bundle_hash
        folder = bundles / digest
        source = folder if folder.is_dir() else self._bundles[use_case, version]
        if bundle_hash(source) != digest:
            raise BundleError(f"bundle in {source} has hash {bundle_hash(source)}, expected {digest}")
        if not folder.is_dir():
            bundles.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, folder)
        return folder
