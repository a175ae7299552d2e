"""``--config``: every field is read as it is meant, and a wrong one is named with its value and what was expected."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from shadow_platform.cli.drift import Wanted, compare_files
from shadow_platform.cli.drift.config import OF_FILES, FilesConfig, fields_help, read_config
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
from shadow_platform.contracts.policies import DriftPolicy, Threshold

SAME = {
    "a.yaml": "q: 0.02\nks: {floor: 0.1}\nkinds: {zip: categorical}\nmonitored: [age, zip]\ntime_column: at\n",
    "a.toml": 'q = 0.02\nks = {floor = 0.1}\nkinds = {zip = "categorical"}\nmonitored = ["age", "zip"]\n'
    'time_column = "at"\n',
    "a.json": '{"q": 0.02, "ks": {"floor": 0.1}, "kinds": {"zip": "categorical"}, "monitored": ["age", "zip"], '
    '"time_column": "at"}',
}


@pytest.mark.parametrize("name", SAME)
def test_the_three_formats_say_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(SAME[name])
    assert read_config(path) == FilesConfig(
        policy=replace(DriftPolicy(), q=0.02, ks=Threshold(0.1)),
        kinds={"zip": "categorical"},
        monitored=("age", "zip"),
        time_column="at",
        limits_set=frozenset({"q", "ks"}),
    )


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert read_config(path) == FilesConfig()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q: 3", "q=3.0; expected a rate between 0 and 1"),
        ("min_rows: many", 'min_rows = "many": input should be a valid integer'),
        ("treshold: 0.2", "treshold = 0.2: unknown field; did you mean drift_threshold?"),
        ("ks: {flor: 0.2}", "ks.flor = 0.2: unknown field; did you mean ks.floor?"),
        ("ks: {floor: -1}", "Threshold(floor=-1.0, alpha=None); expected a floor of at least 0"),
        ("ks: 0.2", "ks = 0.2: input should be a dictionary or an instance of Threshold"),
        ("kinds: {age: numerical}", "kinds.age = \"numerical\": input should be 'numeric' or 'categorical'"),
        ("monitored: age", 'monitored = "age": input should be a valid tuple'),
        ("monitored: []", "monitored = []: tuple should have at least 1 item"),
        ("score_column: weight", "score_column='weight', weight_column='weight'; expected three different columns"),
        ("window: P7D", 'window = "P7D": says which requests of a table are compared'),
        ("- 1", "holds list; expected fields and their values"),
        ("q: [", "cannot be read: while parsing"),
        ("cluster: week", "cluster = \"week\": input should be 'day'"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_was_expected(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(ShadowPlatformError, match=re.escape(message)) as raised:
        read_config(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", ["missing.yaml", "other.ini"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ShadowPlatformError, match=re.escape(name)):
        read_config(tmp_path / name)


def test_the_fields_are_taught_with_their_defaults() -> None:
    taught = fields_help()
    assert all(re.search(f"^{name}: ", taught, re.MULTILINE) for name in OF_FILES)
    score = DriftPolicy().score
    assert f"score: {{floor: {score.floor}, alpha: {score.alpha}}}" in taught


def test_only_monitored_columns_count(files: tuple[Path, Path], tmp_path: Path) -> None:
    config, output = tmp_path / "config.yaml", tmp_path / "verdict.json"
    config.write_text("monitored: [n0]\nscore_column: none\ndrift_threshold: 1.0\n")
    assert compare_files(*files, simulate=0.5, config=config, wanted=Wanted(output=output)) == 1
    verdict = DriftVerdict.model_validate_json(output.read_text())
    assert [row.feature for row in verdict.features if row.is_monitored] == ["n0"]
    assert verdict.rules_fired == ("feature_drift",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("monitored: [n9]", "monitored: 'n9' is no column of"),
        ("monitored: [n0, score]", "monitored: 'score' of .* is not compared: it is the time, the score or the weight"),
        ("{monitored: [score], score_column: p}", "monitored: 'score' of .* it has a name that means something else"),
    ],
)
def test_a_column_that_shall_count_must_be_compared(
    files: tuple[Path, Path], tmp_path: Path, content: str, message: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content)
    with pytest.raises(ShadowPlatformError, match=message):
        compare_files(*files, config=config)


@pytest.mark.parametrize(
    ("content", "variable", "option", "expected"),
    [
        ("", None, None, 0.3),
        ("", "0.5", None, 0.5),
        ("drift_threshold: 0.6", "0.5", None, 0.6),
        ("drift_threshold: 0.6", "0.5", 0.7, 0.7),
    ],
)
def test_the_option_goes_before_the_file_and_the_file_before_the_environment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    variable: str | None,
    option: float | None,
    expected: float,
) -> None:
    from shadow_platform.cli.drift import _configured

    config = tmp_path / "config.yaml"
    config.write_text(content)
    if variable is not None:
        monkeypatch.setenv("DRIFT_THRESHOLD", variable)
    assert _configured(config, option).policy.drift_threshold == expected
