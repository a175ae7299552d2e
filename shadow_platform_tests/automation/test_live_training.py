"""What a live verdict asks for can be trained: today's events are not there yet, and are not needed."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.training.frame import build_training_frame
from shadow_platform.contracts.layout import Layout
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.automation.location import EAGER
from shadow_platform_tests.automation.ticking import Daemon
from shadow_platform_tests.automation.verdicts import report_live_verdict, window_end
from shadow_platform_tests.bento.shop import USE_CASE as SHOP

USE_CASE = replace(SHOP, name=EAGER.name, retrain=EAGER.retrain)


def test_a_live_verdict_of_the_afternoon_asks_for_a_frame_that_can_be_made(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    _land_events_until_midnight(Lake(layout))
    report_live_verdict(instance, 0, hour=15)
    request = Daemon(layout, instance, USE_CASE).tick().run_requests[0]
    frame = f"{USE_CASE.name}__training_frame"
    made = dg.materialize(
        [build_training_frame(USE_CASE)],
        instance=instance,
        resources={"platform": PlatformResource(shadow_home=str(layout.home))},
        run_config={"ops": {frame: request.run_config["ops"][frame]}},
    )
    told = made.asset_materializations_for_node(frame)[0].metadata
    assert told["as_of"].value == window_end(0).isoformat()
    assert told["dagster/row_count"].value


def test_live_verdicts_of_one_day_make_one_training(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_live_verdict(instance, 0, hour=15)
    daemon.tick()
    daemon.tick()
    report_live_verdict(instance, 0, hour=16, evaluation_id="an hour later")
    assert "which answers this too" in daemon.tick().skip_message
    assert daemon.runs() == ["live0"]


def _land_events_until_midnight(lake: Lake) -> None:
    source, day = USE_CASE.source(), USE_CASE.first_partition
    while day < window_end(0).date():
        for kind in USE_CASE.events:
            rows = pd.DataFrame(list(source.received_on(day)[kind.name]))[list(kind.schema.columns)]
            lake.write_events(USE_CASE, kind, day, kind.schema.validate(rows))
        day += timedelta(days=1)
