"""The instance that triggers are ticked on, and a clock that can be set."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._time import get_current_datetime

from shadow_platform.resources import home

SetClock = Callable[[timedelta], None]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance without processes or files."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the clock that triggers read ahead of, or behind, the one that stamps run records."""

    def ahead_by(difference: timedelta) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return get_current_datetime() + difference

        monkeypatch.setattr(home, "datetime", Clock)

    return ahead_by
