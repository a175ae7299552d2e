"""``shadow drift``: the verdict on two files or on served requests, for people, cron and continuous integration.

Belongs here: which of the two, and exit codes. Does not belong here: reading files (``files``, ``columns``,
``config``), the verdict (``comparing``, ``stored``, domain.drift), showing it (``printing``, ``written``). Upstream:
files, tables. Downstream: an exit code, a text, JSON. The same code as the asset.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shadow_platform.cli.drift.options import (
    ConfigOption,
    CurrentOption,
    DayOption,
    FieldsOption,
    HtmlOption,
    LiveOption,
    OutputOption,
    ReferenceOption,
    SchemaOption,
    ServedOption,
    Shown,
    ShownOption,
    SimulateOption,
    ThresholdOption,
)
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.settings import load_settings

if TYPE_CHECKING:
    from shadow_platform.cli.drift.comparing import Comparison
    from shadow_platform.cli.drift.config import FilesConfig
    from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
    from shadow_platform.contracts.policies import DriftPolicy

EXIT_CODES = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INSUFFICIENT: 2}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made of the verdict besides an exit code."""

    shown: Shown = Shown.TABLE
    output: Path | None = None
    html: Path | None = None


def drift(
    reference: ReferenceOption = None,
    current: CurrentOption = None,
    config: ConfigOption = None,
    simulate_drift: SimulateOption = 0.0,
    html: HtmlOption = None,
    use_case: ServedOption = None,
    day: DayOption = None,
    live: LiveOption = False,
    threshold: ThresholdOption = None,
    output: OutputOption = None,
    shown: ShownOption = Shown.TABLE,
    schema: SchemaOption = False,
    fields: FieldsOption = False,
) -> None:
    """Whether requests differ from a reference by more than chance. Writes nothing that is not asked for.

    Two files: columns of the reference are features, numbers numeric and text categorical; `score` (probability),
    `requested_at` (UTC; without it rows count as independent) and `weight` have their own meaning.

    Exit 0: no drift. 1: drift. 2: could not tell, bad input, or any other error.
    """
    if schema or fields:
        typer.echo(_taught(schema=schema), nl=False)
        return
    wanted = Wanted(shown, output, html)
    if use_case is None and day is None and not live:
        with _one_kind_of_error():
            code = compare_files(reference, current, threshold, simulate_drift, config, wanted)
        raise typer.Exit(code)
    of_files = (
        ("--reference", reference),
        ("--current", current),
        ("--config", config),
        ("--html", html),
        ("--simulate-drift", simulate_drift or None),
    )
    for option, value in of_files:
        if value is not None:
            raise ShadowPlatformError(
                f"{option} {value}: is for two files; leave it out, or leave out --use-case, --day and --live"
            )
    with _one_kind_of_error():
        code = judge_stored(use_case, day, threshold, wanted, is_live=live)
    raise typer.Exit(code)


def compare_files(
    reference: Path | None,
    current: Path | None,
    threshold: float | None = None,
    simulate: float = 0.0,
    config: Path | None = None,
    wanted: Wanted = Wanted(),
) -> int:
    """Show the verdict on two files and return its exit code.

    Raises:
        ShadowPlatformError: a file is not given, cannot be read or would be written over, or an option is wrong.
    """
    from shadow_platform.cli.drift.comparing import compare
    from shadow_platform.cli.drift.printing import shown_progress
    from shadow_platform.cli.drift.written import require_apart

    settings = load_settings()
    before = _required(reference or settings.drift_reference_path, "--reference", "DRIFT_REFERENCE_PATH")
    after = _required(current or settings.drift_current_path, "--current", "DRIFT_CURRENT_PATH")
    if not math.isfinite(simulate):
        raise ShadowPlatformError(f"--simulate-drift {simulate}: expected a finite number of deviations")
    require_apart({"--reference": before, "--current": after, "--config": config}, wanted.output, wanted.html)
    chosen = _configured(config, threshold)
    with shown_progress() as progress:
        comparison = compare(before, after, chosen, simulate, progress)
        if wanted.html is not None:
            progress("drawing Evidently's report", None)
            _write_report(comparison, wanted.html)
    return _shown(comparison.verdict, chosen.policy, comparison.columns.left_out, wanted)


def judge_stored(
    use_case: str | None, day: datetime | None, threshold: float | None, wanted: Wanted, *, is_live: bool
) -> int:
    """Show the verdict on served requests and return its exit code; writes no table.

    Raises:
        ShadowPlatformError: neither a day nor ``is_live`` is given, or both; or nothing is deployed.
    """
    from shadow_platform.cli.drift.stored import judge_day, judge_live
    from shadow_platform.cli.options import default_use_case

    if is_live is (day is not None):
        raise ShadowPlatformError("which requests? give --day YYYY-MM-DD or --live, one of the two")
    name, limit = use_case or default_use_case(), _share(threshold)
    verdict, policy = judge_live(name, limit) if day is None else judge_day(name, day.date(), limit)
    return _shown(verdict, policy, {}, wanted)


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Whatever goes wrong inside is a ``ShadowPlatformError``: exit code 1 means drift, and nothing else."""
    try:
        yield
    except ShadowPlatformError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise ShadowPlatformError(f"no verdict, because of an unexpected {type(error).__name__}: {said}") from error


def _taught(*, schema: bool) -> str:
    from shadow_platform.cli.drift.config import fields_help
    from shadow_platform.cli.drift.printing import verdict_schema

    return verdict_schema() if schema else fields_help() + "\n"


def _configured(config: Path | None, threshold: float | None) -> "FilesConfig":
    """The configuration; ``--threshold`` goes before the file, the file before the environment."""
    from shadow_platform.cli.drift.config import FilesConfig, read_config

    chosen = FilesConfig() if config is None else read_config(config)
    limit = _share(threshold)
    if limit is None and "drift_threshold" not in chosen.limits_set:
        limit = load_settings().drift_threshold
    return chosen if limit is None else chosen.with_policy(replace(chosen.policy, drift_threshold=limit))


def _share(threshold: float | None) -> float | None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise ShadowPlatformError(f"--threshold {threshold:g}: expected a share between 0 and 1")
    return threshold


def _required(path: Path | None, option: str, variable: str) -> Path:
    if path is None:
        raise ShadowPlatformError(f"no file to compare; give {option} FILE or set {variable}")
    return path


def _write_report(comparison: "Comparison", path: Path) -> None:
    """Write Evidently's report; what goes wrong is told on stderr and changes no exit code."""
    from shadow_platform.adapters.reports import write_report

    features = comparison.columns.features
    numeric = [feature.name for feature in features if feature.kind == "numeric"]
    categorical = [feature.name for feature in features if feature.kind == "categorical"]
    frames = comparison.reference.sample(), comparison.current.sample()
    if all("score" in frame.columns for frame in frames):
        numeric.append("score")
    result = write_report(*frames, numeric, categorical, path)
    for name, reason in result.skipped_columns.items():
        typer.echo(f"shadow: {name} is not in the report: {reason}", err=True)
    if result.error is not None:
        typer.echo(f"shadow: no report in {path}: {result.error}", err=True)


def _shown(verdict: "DriftVerdict", policy: "DriftPolicy", left_out: dict[str, str], wanted: Wanted) -> int:
    from shadow_platform.cli.drift.printing import print_verdict, verdict_json
    from shadow_platform.cli.drift.written import write_whole

    if wanted.output is not None:
        try:
            write_whole(wanted.output, verdict_json(verdict))
        except OSError as error:
            raise ShadowPlatformError(f"--output {wanted.output} cannot be written: {error.strerror}") from error
    if wanted.shown is Shown.JSON:
        typer.echo(verdict_json(verdict), nl=False)
    else:
        print_verdict(verdict, policy, left_out)
    return EXIT_CODES[verdict.outcome]
