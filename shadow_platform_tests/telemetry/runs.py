"""A job of two assets, the second of which may fail: run as a process of its own, on the instance of ``DAGSTER_HOME``.

``python -m shadow_platform_tests.telemetry.runs EXECUTOR``. Belongs here: what ``test_run_logs`` looks at. Upstream:
``dagster.yaml``. Downstream: lines on stderr, spans.
"""

import sys

import dagster as dg

from shadow_platform.settings import load_settings
from shadow_platform.telemetry.run_logs import take_over_runs

DAY = "2024-01-02"
PARTITIONS = dg.DailyPartitionsDefinition("2024-01-01")
EXECUTORS = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}


@dg.asset(key=["shop", "events"], partitions_def=PARTITIONS)
def events(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """An asset that says something."""
    context.log.info("%d rows kept, password=%s", 3, "hunter2")
    context.log.debug("too quiet")
    return dg.MaterializeResult()


@dg.asset(key=["shop", "features"], deps=[events], partitions_def=PARTITIONS)
def features() -> None:
    """An asset that fails, and quotes a value when it does."""
    raise ValueError("visit marker-4711 is no number")


def job_in_process() -> dg.JobDefinition:
    """The job, all in the run's process."""
    return _job("in_process")


def job_multiprocess() -> dg.JobDefinition:
    """The job, a process a step."""
    return _job("multiprocess")


def _job(executor: str) -> dg.JobDefinition:
    take_over_runs(load_settings())
    job = dg.define_asset_job("daily", [events, features], executor_def=EXECUTORS[executor])
    return dg.Definitions([events, features], jobs=[job]).resolve_job_def("daily")


JOBS = {"in_process": job_in_process, "multiprocess": job_multiprocess}


def main(executor: str) -> None:
    """Run the job once and print the run's id."""
    with dg.DagsterInstance.get() as instance:
        job = dg.reconstructable(JOBS[executor])
        with dg.execute_job(job, instance, tags={"dagster/partition": DAY}) as result:
            print(result.run_id)


if __name__ == "__main__":
    main(sys.argv[1])
