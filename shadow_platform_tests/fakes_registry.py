"""A registry of versions 1 to 9 that can be away, or die in the middle of moving an alias.

Upstream: contracts. Downstream: tests of the deployment's transitions.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.ports import RegisteredVersion

NOW = datetime(2024, 3, 1, tzinfo=UTC)


class CrashError(Exception):
    """Stands for the death of the process."""


class FrailRegistry:
    """Versions 1 to 9 exist; aliases live in a dict; crashes and is away on demand."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.fetched: list[str] = []
        self.crash_before_swap: str | None = None
        self.crash_after_swap: str | None = None
        self.is_away = False

    def register(self, use_case: str, bundle: Path, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        raise AssertionError("these tests register nothing")

    def get(self, use_case: str, version: str) -> RegisteredVersion:
        if version not in "123456789":
            raise RegistryError(f"version {version!r} is unknown; expected 1 to 9")
        return RegisteredVersion(use_case, version, "line", f"hash{version}", "run", NOW, (), {}, {})

    def versions(self, use_case: str) -> list[RegisteredVersion]:
        return [self.get(use_case, version) for version in "123456789"]

    def newest(self, use_case: str, limit: int) -> list[RegisteredVersion]:
        return self.versions(use_case)[::-1][:limit]

    def alias(self, use_case: str, alias: str) -> str | None:
        self._answer()
        return self.aliases.get(alias)

    def swap_alias(self, use_case: str, alias: str, expected: str | None, new: str | None) -> None:
        self._answer()
        if self.crash_before_swap == alias:
            raise CrashError
        if self.aliases.get(alias) != expected:
            raise TransitionConflict(f"alias {alias} is at {self.aliases.get(alias)}, expected {expected}")
        if new is None:
            self.aliases.pop(alias, None)
        else:
            self.aliases[alias] = new
        if self.crash_after_swap == alias:
            raise CrashError

    def _answer(self) -> None:
        if self.is_away:
            raise RegistryError("the registry does not answer; start it")

    def fetch_bundle(self, use_case: str, version: str, bundles: Path) -> Path:
        self.fetched.append(version)
        return bundles / f"hash{version}"
