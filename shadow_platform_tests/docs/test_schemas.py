"""The published schema is that of the code, and what the code writes fits it."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from shadow_platform.cli.drift import Wanted, compare_files
from shadow_platform.cli.drift.printing import verdict_json, verdict_schema
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict, ScoreShift, SegmentShift
from shadow_platform_tests.domain.drift.frames import frame
from shadow_platform_tests.sources import REPOSITORY

PUBLISHED = REPOSITORY / "docs" / "schemas" / "drift_verdict.schema.json"
VALIDATOR = Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
SHIFT = ScoreShift(
    mean_reference=0.2,
    mean_current=0.3,
    by_feature={"n0": 0.1},
    segments=(
        SegmentShift(
            feature="c0",
            level="",
            share_reference=0.0,
            share_current=1.0,
            score_reference=None,
            score_current=0.3,
            contribution=0.1,
        ),
    ),
    moved_in={"n0": "c0="},
)


def test_the_published_schema_is_that_of_the_code() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == verdict_schema(), (
        "write it anew: shadow drift --schema > docs/schemas/drift_verdict.schema.json"
    )
    Draft202012Validator.check_schema(json.loads(verdict_schema()))


@pytest.mark.parametrize(("n_rows", "simulate", "exact_rows"), [(600, 0.0, 10_000), (600, 0.5, 100), (20, 0.0, 10_000)])
def test_verdicts_of_every_outcome_and_method_fit_the_schema(
    tmp_path: Path, n_rows: int, simulate: float, exact_rows: int
) -> None:
    reference, current, output = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "verdict.json"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"exact_rows": exact_rows}))
    frame(2_000, 1).to_csv(reference, index=False)
    frame(n_rows, 2).assign(c1=None).to_csv(current, index=False)
    compare_files(reference, current, simulate=simulate, config=config, wanted=Wanted(output=output))
    VALIDATOR.validate(json.loads(output.read_text(encoding="utf-8")))
    verdict = DriftVerdict.model_validate_json(output.read_text(encoding="utf-8"))
    VALIDATOR.validate(json.loads(verdict_json(verdict.model_copy(update={"score_shift": SHIFT}))))


def test_the_schema_refuses_what_is_no_verdict() -> None:
    assert not VALIDATOR.is_valid({"outcome": "fail"})
    assert not VALIDATOR.is_valid({"schema_version": 1})
