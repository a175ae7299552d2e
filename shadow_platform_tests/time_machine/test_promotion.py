"""What the gate decides on a journey is put into force, through canary and watch, by the platform's own promotion."""

from datetime import timedelta

import pytest

from shadow_platform.assets.promotion.promoting import follow
from shadow_platform.time_machine.beliefs import champions
from shadow_platform.time_machine.platform import SimulatedPlatform
from shadow_platform_tests.assets.conftest import play
from shadow_platform_tests.assets.rolling import CANARIES, LOGGER, Play, Rolling, RollingPlatform, versions

__all__ = ["play"]


class JourneyPlatform(SimulatedPlatform, RollingPlatform):
    """A journey's platform on the registry and the rows of ``Rolling``."""


def look(rolling: Rolling, later: timedelta = timedelta(0)) -> None:
    rolling.now += later
    platform = JourneyPlatform(shadow_home=str(rolling.layout.home), simulated_now=rolling.now.isoformat())
    follow(platform, rolling.use_case, LOGGER)


def test_a_decision_to_promote_makes_the_challenger_champion_at_once(play: Play) -> None:
    rolling = play()
    rolling.decide()

    look(rolling)

    assert versions(rolling) == ("2", ["1"])


def test_a_champion_of_before_is_brought_back_whatever_the_words(play: Play) -> None:
    rolling = play()
    rolling.decide()
    n_before = len(rolling.platform.transitions(rolling.use_case))
    look(rolling)
    look(rolling)
    back = {"version": "1", "expected_champion": "2", "actor": "gate", "reason": "a rollout that did harm"}
    rolling.platform.deploy(rolling.use_case, "promote", **back)

    told = champions(rolling.platform.transitions(rolling.use_case), n_before, rolling.now.date())

    assert [(event.kind, event.version) for event in told] == [("promotion", "2"), ("rollback", "1")]


def test_a_canary_answers_its_steps_before(play: Play) -> None:
    rolling = play(canary_steps=CANARIES)
    rolling.decide()
    look(rolling)
    for step in CANARIES:
        assert rolling.manifest.canary is not None
        assert rolling.manifest.canary.share == pytest.approx(step.share)
        rolling.now += step.min_duration
        rolling.answer_as_canary(step.min_requests)
        look(rolling, later=step.min_duration)

    assert versions(rolling) == ("2", ["1"])
