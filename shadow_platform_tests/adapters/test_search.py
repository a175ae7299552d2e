"""Guarantees of the search: never worse than the defaults, repeatable, inside its budget, and it tells its progress."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.search import search
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Choice, Parameter, Range
from shadow_platform.use_case_kit.models import LOGISTIC_REGRESSION_SEARCH
from shadow_platform_tests.domain.training.choosing import FAMILIES, objective

SPACE: dict[str, Range | Choice] = {
    "rate": Range(0.01, 1.0, is_log=True),
    "leaves": Range(2, 64, is_integer=True),
    "kind": Choice(("a", "b")),
}
DEFAULTS: dict[str, Parameter] = {"rate": 0.5, "leaves": 8, "kind": "a", "not_searched": 3}


def bowl(parameters):
    """Three losses, least at rate 0.1, 30 leaves, kind b."""
    loss = abs(parameters["rate"] - 0.1) + abs(parameters["leaves"] - 30) / 64 + (parameters["kind"] == "a")
    yield from (loss, loss + 0.1, loss + 0.2)


def test_search_finds_better_hyperparameters_than_the_defaults():
    found = search(bowl, SPACE, DEFAULTS, seed=0, n_trials=40)
    assert found.log_loss < 0.6 < found.default_log_loss == pytest.approx(1.84375)
    assert found.parameters.keys() == SPACE.keys()
    assert found.parameters["kind"] == "b"
    assert sum(bowl(found.parameters)) / 3 == pytest.approx(found.log_loss)
    assert found.n_trials == len(found.trials) == 40


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), n_trials=st.integers(1, 8), rate=st.floats(0.01, 1.0))
def test_search_is_never_worse_than_the_defaults_which_are_tried_first(seed, n_trials, rate):
    defaults = {**DEFAULTS, "rate": rate}
    found = search(bowl, SPACE, defaults, seed=seed, n_trials=n_trials)
    assert found.default_log_loss == pytest.approx(sum(bowl(defaults)) / 3)
    assert found.log_loss <= found.default_log_loss
    assert {name: found.trials.loc[0, name] for name in SPACE} == {name: defaults[name] for name in SPACE}


def test_same_seed_and_number_of_trials_give_the_same_search():
    first, second, other = (search(bowl, SPACE, DEFAULTS, seed=seed, n_trials=15) for seed in (1, 1, 2))
    assert first.parameters == second.parameters
    assert first.trials.drop(columns="seconds").equals(second.trials.drop(columns="seconds"))
    assert not first.trials["rate"].equals(other.trials["rate"])


def test_no_budget_is_too_small_to_judge_the_defaults():
    found = search(bowl, SPACE, DEFAULTS, seed=0, timeout_s=0.0)
    assert found.n_trials == 1
    assert found.parameters == {name: DEFAULTS[name] for name in SPACE}
    assert found.log_loss == found.default_log_loss


def test_search_ends_with_its_seconds_and_gives_up_the_trial_at_work():
    now = [0.0]

    def slow(parameters):
        for loss in bowl(parameters):
            now[0] += 2.0
            yield loss

    found = search(slow, SPACE, DEFAULTS, seed=0, n_trials=2, timeout_s=7.0, clock=lambda: now[0])
    assert found.trials["outcome"].tolist() == ["complete", "pruned"]
    assert now[0] == 8.0  # three blocks of the defaults, one of the trial that outlasted the budget


def test_trial_that_is_wholly_judged_counts_although_its_last_block_outlasted_the_budget():
    now = [0.0]

    def slow(parameters):
        for loss in bowl(parameters if now[0] < 6.0 else {"rate": 0.1, "leaves": 30, "kind": "b"}):
            now[0] += 2.0
            yield loss

    found = search(slow, SPACE, DEFAULTS, seed=0, n_trials=2, timeout_s=11.0, clock=lambda: now[0])
    assert now[0] == 12.0
    assert found.trials["outcome"].tolist() == ["complete", "complete"]
    assert found.log_loss == pytest.approx(0.1)
    assert found.parameters == {name: found.trials.loc[1, name] for name in SPACE}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("block", [0, 2])
def test_default_that_cannot_be_judged_is_refused_and_another_trial_that_cannot_is_given_up(bad, block):
    def losses(parameters, spoiled):
        for place, loss in enumerate(bowl(parameters)):
            yield bad if spoiled and place == block else loss

    with pytest.raises(UseCaseError, match=rf"default hyperparameters is {bad} on block {block}; expected a finite"):
        search(lambda tried: losses(tried, spoiled=True), SPACE, DEFAULTS, seed=0, n_trials=3)
    found = search(lambda tried: losses(tried, spoiled=tried["leaves"] != 8), SPACE, DEFAULTS, seed=0, n_trials=4)
    assert found.trials["outcome"].tolist() == ["complete", "pruned", "pruned", "pruned"]
    assert found.log_loss == found.default_log_loss


def test_hopeless_trials_are_given_up_before_their_last_block():
    blocks = []

    def counted(parameters):
        for loss in bowl(parameters):
            blocks.append(loss)
            yield loss

    found = search(counted, SPACE, DEFAULTS, seed=0, n_trials=30)
    outcomes = found.trials["outcome"].value_counts()
    assert outcomes["pruned"] > 3
    assert len(blocks) < 3 * 30
    assert found.trials["log_loss"].notna().all()


def test_progress_of_each_trial_is_told():
    lines: list[str] = []
    search(bowl, SPACE, DEFAULTS, seed=0, n_trials=3, progress=lines.append)
    assert len(lines) == 3
    assert lines[0] == "trial 0: log loss 1.84375 (best 1.84375, default 1.84375): rate=0.5, leaves=8, kind=a"


@pytest.mark.parametrize(
    ("space", "defaults", "budget", "message"),
    [
        ({}, DEFAULTS, {"n_trials": 2}, "search has no hyperparameters; expected at least one"),
        (SPACE, DEFAULTS, {}, "search has no end"),
        (SPACE, DEFAULTS, {"n_trials": 0}, "search has 0 trials; expected at least 1"),
        (SPACE, {"rate": 0.5, "kind": "a"}, {"n_trials": 2}, r"'leaves' .* its default is None"),
        (SPACE, {**DEFAULTS, "rate": 2.0}, {"n_trials": 2}, r"'rate' .* its default is 2.0; expected a default inside"),
        (SPACE, {**DEFAULTS, "kind": "c"}, {"n_trials": 2}, r"'kind' .* its default is 'c'"),
        (SPACE, {**DEFAULTS, "leaves": 8.5}, {"n_trials": 2}, r"'leaves' .* its default is 8.5"),
    ],
)
def test_search_that_cannot_begin_says_why(space, defaults, budget, message):
    with pytest.raises(UseCaseError, match=message):
        search(bowl, space, defaults, seed=0, **budget)


def test_search_of_a_family_on_a_frame_is_repeatable_and_its_choice_can_be_trained():
    line = FAMILIES[0]
    first, second = (
        search(objective(line), LOGISTIC_REGRESSION_SEARCH, line.hyperparameters, seed=5, n_trials=4) for _ in range(2)
    )
    assert first.parameters == second.parameters
    assert first.log_loss <= first.default_log_loss
    assert line.build((), {}, 0, **first.parameters) is not None
