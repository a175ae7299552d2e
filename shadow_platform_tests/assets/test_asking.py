"""Guarantees of a model's run configuration: refused before anything is read, and what early stop chooses stays its."""

from dataclasses import replace

import dagster as dg
import pytest

from shadow_platform.assets.training import ModelConfig, Trigger, build_training_assets
from shadow_platform.assets.training.asking import asked
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import ModelSpec
from shadow_platform.resources import PlatformResource
from shadow_platform.use_case_kit.models import GRADIENT_BOOSTING_SEARCH, gradient_boosting
from shadow_platform_tests.tiny import USE_CASE

TREES = ModelSpec("trees", gradient_boosting(), search=GRADIENT_BOOSTING_SEARCH, iterations="max_iter")
BARE = ModelSpec("bare", gradient_boosting())
PRODUCT = replace(USE_CASE, models=(TREES, BARE))
STOPPED = replace(PRODUCT, training=replace(USE_CASE.training, early_stop_share=0.2))
ALL = {name: TREES.hyperparameters[name] for name in GRADIENT_BOOSTING_SEARCH}


CHAMPION = dg.AssetKey(["tiny", "champion_model"])


def _job():
    """A job of both roles, which share the choices of a trigger."""
    return dg.Definitions(
        assets=build_training_assets(PRODUCT),
        jobs=[dg.define_asset_job("train", selection=["tiny/champion_model", "tiny/challenger_model"])],
        resources={"platform": PlatformResource(shadow_home="unused")},
    ).resolve_job_def("train")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "nope"}, r"model 'nope' is unknown in use case 'tiny'; known: trees, bare; give one of these"),
        ({"parameters": {"max_iter": "50"}}, r"'max_iter' of model 'trees' is '50' \(str\); expected a whole number"),
        ({"search_seconds": -1.0}, r"search_seconds is -1.0; expected 0 \(no search\) or more"),
        ({"search_seconds": float("inf")}, r"search_seconds is inf; expected 0"),
        ({"search_trials": 0}, r"search_trials is 0; expected at least 1"),
        ({"model": "bare", "search_trials": 2}, r"model 'bare' declares nothing to search; expected hyperparameters"),
        ({"parameters": ALL, "search_trials": 2}, r"may search .*max_iter.*, all of which are given in parameters or"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_frame_is_looked_for(tmp_path, config, message):
    with pytest.raises(UseCaseError, match=message):
        dg.materialize(
            build_training_assets(PRODUCT),
            selection=[CHAMPION],
            resources={"platform": PlatformResource(shadow_home=str(tmp_path / "home"))},
            run_config={"ops": {"tiny__champion_model": {"config": config}}},
        )
    assert not (tmp_path / "home").exists()


def test_launchpad_offers_the_triggers_and_takes_no_other():
    for trigger in ("bootstrap", "drift", "performance", "schedule", "manual"):
        config = {"ops": {"tiny__champion_model": {"config": {"trigger": trigger}}}}
        assert dg.validate_run_config(_job(), config)
        assert ModelConfig(trigger=Trigger(trigger)).trigger == trigger
    with pytest.raises(dg.DagsterInvalidConfigError, match="not in enum type Trigger got typhoon"):
        dg.validate_run_config(_job(), {"ops": {"tiny__champion_model": {"config": {"trigger": "typhoon"}}}})


def test_search_leaves_out_what_is_given_and_what_early_stop_chooses():
    searched = asked(PRODUCT, TREES, ModelConfig(search_trials=2, parameters={"learning_rate": 0.1}))
    assert searched.search.keys() == GRADIENT_BOOSTING_SEARCH.keys() - {"learning_rate"}
    stopped = asked(STOPPED, TREES, ModelConfig(search_seconds=5.0))
    assert stopped.search.keys() == GRADIENT_BOOSTING_SEARCH.keys() - {"max_iter"}
    assert asked(STOPPED, TREES, ModelConfig(parameters={"max_iter": 7})).search == {}


def test_search_of_what_only_early_stop_chooses_is_refused():
    steps = replace(TREES, search={"max_iter": GRADIENT_BOOSTING_SEARCH["max_iter"]})
    with pytest.raises(UseCaseError, match=r"may search max_iter, all of which are given .* or chosen by early stop"):
        asked(STOPPED, steps, ModelConfig(search_trials=3))
