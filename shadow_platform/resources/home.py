"""The home folder, the settings in force and the clock: what every other resource of this room builds on.

Belongs here: what all stages share. Does not belong here: any one stage's adapters. Upstream: settings. Downstream:
``world``, ``models``, ``deployments``, ``rollouts``, ``a_a``, ``alerting``, ``pages``.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import TABLES
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from shadow_platform.adapters.lake import Lake
    from shadow_platform.adapters.lake.copies import CopyReport


class Home(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One home folder, opened with one set of settings.

    Attributes:
        shadow_home: overrides ``SHADOW_HOME``; empty means as set in the environment.
        simulated_now: ISO 8601 time that the time machine has reached; empty: the clock on the wall.
    """

    shadow_home: str = ""
    simulated_now: str = ""

    def now(self) -> datetime:
        """What time it is, UTC."""
        return datetime.fromisoformat(self.simulated_now).astimezone(UTC) if self.simulated_now else datetime.now(UTC)

    @property
    def settings(self) -> Settings:
        """Settings in force."""
        settings = load_settings()
        return settings.model_copy(update={"shadow_home": Path(self.shadow_home)}) if self.shadow_home else settings

    @property
    def layout(self) -> Layout:
        """Paths below the home folder."""
        return self.settings.layout

    def lake(self) -> "Lake":
        """Events, features and tables."""
        from shadow_platform.adapters.lake import Lake

        return Lake(self.layout)

    def copy_tables(self) -> "CopyReport | None":
        """Bring the copies of the tables at ``TABLES_URL`` up to date; ``None`` when none are wanted."""
        from shadow_platform.adapters.lake.copies import copy_tables

        url = self.settings.tables_url
        return copy_tables(self.layout, url, TABLES) if url else None

    def _bento(self, use_case: UseCase, module: str, *arguments: str) -> str:
        environment = {
            **os.environ,
            "SHADOW_HOME": str(self.layout.home),
            "SHADOW_USE_CASE": self.settings.address_of(use_case.name),
        }
        command = [sys.executable, "-m", f"bento.{module}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            told = done.stderr.strip() or done.stdout.strip()
            raise ShadowPlatformError(f"{' '.join(command[1:])} failed with code {done.returncode}: {told}")
        return done.stdout.strip().splitlines()[-1]
