"""A version's frame can be taken out exactly, and its bundle made again byte for byte; what cannot be is told."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.cli import typer_app
from shadow_platform.cli.pulling import parts_of, windows_of
from shadow_platform.contracts.errors import LakeError, NotEnoughData, RegistryError, ShadowPlatformError, UseCaseError
from shadow_platform.contracts.use_case import Estimator, Feature, UseCase
from shadow_platform.domain import training
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.home_of_tiny import NAME, TinyHome
from shadow_platform_tests.tiny import USE_CASE

HERE = "shadow_platform_tests.cli.test_pulling_and_reproducing"
TIMES = ["requested_at", "known_at"]


def _other_line(features: Any, n_levels: Any, seed: int, /, **parameters: Any) -> Estimator:
    """The family as somebody changed it since."""
    line: Any = USE_CASE.models[0].build(features, n_levels, seed, **parameters)
    return line.set_params(regression__C=0.01)  # type: ignore[no-any-return]


def _strict_line(features: Any, n_levels: Any, seed: int, /, penalty: float) -> Estimator:
    """The family as somebody changed it since, so that it takes other parameters."""
    return USE_CASE.models[0].build(features, n_levels, seed, C=penalty)


def _with_line(**changes: Any) -> UseCase:
    return replace(USE_CASE, models=(replace(USE_CASE.models[0], **changes), USE_CASE.models[1]))


OTHER_CODE = _with_line(build=_other_line)
OTHER_WINDOW = replace(USE_CASE, training=replace(USE_CASE.training, window=timedelta(days=20)))
OTHER_WORDS = replace(USE_CASE, features=(replace(USE_CASE.features[0], description="Cart"), *USE_CASE.features[1:]))
NO_FAMILY = replace(USE_CASE, models=USE_CASE.models[1:])
OTHER_PARAMETERS = _with_line(build=_strict_line)
NEW_FEATURE = replace(USE_CASE, features=(*USE_CASE.features, Feature("mood", "Mood of the visitor", example=1.0)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyHome]:
    """A home with one version, made by the assets."""
    with dg.DagsterInstance.ephemeral() as instance:
        home = TinyHome(tmp_path_factory.mktemp("made") / "home", instance).make_data()
        home.materialize("training_frame", "champion_model", champion_model={"seed": 3})
        yield home


@pytest.fixture
def home(made: TinyHome, monkeypatch: pytest.MonkeyPatch) -> TinyHome:
    """The home, as the command finds it."""
    monkeypatch.setenv("SHADOW_HOME", str(made.home))
    monkeypatch.setenv("COLUMNS", "200")
    return made


@pytest.fixture
def bundle(home: TinyHome) -> Bundle:
    return home.platform.bundle(USE_CASE, "1")


@pytest.fixture
def frame(home: TinyHome, bundle: Bundle) -> pd.DataFrame:
    """The frame of version 1 with its parts, as training saw them."""
    found = home.platform.lake().read_frame("tiny", bundle.manifest.fingerprints["data"])
    windows = training.windows(USE_CASE.training, USE_CASE.label.horizon, bundle.manifest.trained_as_of)
    part = training.split(found, windows, USE_CASE.training.min_rows)
    return found.assign(part=pd.Series(part).replace("", "gap"))


def _shadow(*arguments: str | Path, use_case: str = NAME) -> Any:
    words = [*map(str, arguments), "--use-case", use_case]
    return CliRunner().invoke(typer_app, words, catch_exceptions=False)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        found = pd.read_csv(path, float_precision="round_trip", keep_default_na=False, na_values=[""])
    else:
        found = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    for name in TIMES:
        found[name] = pd.to_datetime(found[name], utc=True).dt.as_unit("us")
    return found


@pytest.mark.parametrize("name", ["frame.csv", "frame.parquet", "frame.jsonl"])
def test_a_pulled_frame_is_the_frame_digit_by_digit_with_the_part_of_each_row(
    home: TinyHome, frame: pd.DataFrame, bundle: Bundle, tmp_path: Path, name: str
) -> None:
    told = _shadow("data", "pull", "1", "--output", tmp_path / name)

    pulled = _read(tmp_path / name)
    assert pulled["part"].tolist() == frame["part"].tolist()
    without = pulled.drop(columns="part").astype({"subject_id": object, "channel": object})
    assert training.frame_fingerprint(without) == bundle.manifest.fingerprints["data"]
    assert (pulled["part"] == "fit").sum() == bundle.manifest.n_train
    assert (pulled["part"] == "evaluation").sum() == bundle.manifest.n_evaluation
    assert f"{len(frame):,} rows of frame {bundle.manifest.fingerprints['data']}" in told.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_frame_is_pulled_by_the_first_digits_of_its_fingerprint(
    home: TinyHome, frame: pd.DataFrame, bundle: Bundle, tmp_path: Path
) -> None:
    _shadow("data", "pull", bundle.manifest.fingerprints["data"][:8], "--output", tmp_path / "frame.parquet")

    assert _read(tmp_path / "frame.parquet")["part"].tolist() == frame["part"].tolist()


def test_a_large_frame_is_written_in_chunks_that_make_one_file(
    home: TinyHome, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.cli.pulling.CHUNK_ROWS", 1_000)
    for name in ("frame.csv", "frame.parquet", "frame.jsonl"):
        _shadow("data", "pull", "1", "--output", tmp_path / name)
        assert _read(tmp_path / name)["subject_id"].tolist() == frame["subject_id"].tolist()

    assert pq.ParquetFile(tmp_path / "frame.parquet").num_row_groups > 1


def test_a_version_is_split_as_it_was_whatever_the_policy_says_today(
    home: TinyHome, frame: pd.DataFrame, bundle: Bundle
) -> None:
    windows = windows_of(OTHER_WINDOW, bundle.manifest, bundle.card())
    assert bundle.card() is not None
    assert parts_of(frame, windows).tolist() == frame["part"].tolist()

    moved = replace(USE_CASE, training=replace(USE_CASE.training, evaluation=timedelta(days=2)))
    with pytest.raises(ShadowPlatformError, match="policy of tiny was changed since, and the bundle has no card"):
        windows_of(moved, bundle.manifest, None)
    assert windows_of(USE_CASE, bundle.manifest, None) == windows


@pytest.mark.parametrize(
    ("named", "output", "error", "message"),
    [
        ("9", "frame.csv", RegistryError, r"version '9' of tiny does not exist .* known versions: 1; a frame is named"),
        ("champion", "frame.csv", RegistryError, "'champion' names no version of tiny"),
        ("ffffffff", "frame.csv", LakeError, r"no frame of tiny has a fingerprint that starts with 'ffffffff'"),
        ("1", "frame.xlsx", ShadowPlatformError, r"frame.xlsx: extension '.xlsx' is none of .csv, .parquet"),
        ("1", "frame", ShadowPlatformError, r"frame: extension '' is none of"),
    ],
)
def test_what_cannot_be_pulled_says_why_and_writes_nothing(
    home: TinyHome, tmp_path: Path, named: str, output: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _shadow("data", "pull", named, "--output", tmp_path / output)

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def spoilt(made: TinyHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own whose frame a test may spoil; the path of the frame."""
    shutil.copytree(made.home, tmp_path / "home")
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.platform.layout.mlflow}/mlflow.db")
    fingerprint = made.platform.bundle(USE_CASE, "1").manifest.fingerprints["data"]
    return tmp_path / "home" / "frames" / "tiny" / f"{fingerprint}.parquet"


@pytest.mark.parametrize("command", [["data", "pull", "1", "--output", "frame.csv"], ["models", "reproduce", "1"]])
def test_a_frame_that_is_gone_or_altered_is_refused(
    spoilt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = pd.read_parquet(spoilt)
    rows.loc[0, "label"] = not rows.loc[0, "label"]
    rows.to_parquet(spoilt, index=False)
    with pytest.raises(LakeError, match=rf"frame {spoilt.stem} of tiny was altered: its content has fingerprint"):
        _shadow(*command)

    spoilt.write_bytes(b"PAR1")
    with pytest.raises(LakeError, match="it is corrupt"):
        _shadow(*command)

    spoilt.unlink()
    with pytest.raises(LakeError, match=rf"frame '{spoilt.stem}' of tiny does not exist .* bring the file back"):
        _shadow(*command)
    assert not (tmp_path / "frame.csv").exists()


def test_a_frame_nobody_recorded_is_pulled_by_a_version_alone(spoilt: Path, tmp_path: Path) -> None:
    spoilt.with_suffix(".json").unlink()

    with pytest.raises(LakeError, match=r"nobody recorded as of when .* pull it by a version"):
        _shadow("data", "pull", spoilt.stem[:10], "--output", tmp_path / "frame.csv")
    assert _shadow("data", "pull", "1", "--output", tmp_path / "frame.csv").exit_code == 0


def _keep(spoilt: Path, frame: pd.DataFrame) -> str:
    """Fingerprint of a frame that is kept beside version 1's, as if made at its time."""
    lake = PlatformResource().lake()
    record = lake.frame_record("tiny", spoilt.stem)
    assert record is not None
    fingerprint = training.frame_fingerprint(frame)
    lake.write_frame("tiny", frame, record.model_copy(update={"fingerprint": fingerprint, "n_rows": len(frame)}))
    return fingerprint


def test_a_frame_that_training_refuses_can_be_pulled_to_see_why(bundle: Bundle, spoilt: Path, tmp_path: Path) -> None:
    refused = pd.read_parquet(spoilt).assign(label=True)
    windows = training.windows(USE_CASE.training, USE_CASE.label.horizon, bundle.manifest.trained_as_of)
    with pytest.raises(NotEnoughData, match="expected at least"):
        training.split(refused, windows, min_rows=0)
    fingerprint = _keep(spoilt, refused)

    _shadow("data", "pull", fingerprint[:12], "--output", tmp_path / "refused.parquet")
    assert set(_read(tmp_path / "refused.parquet")["part"]) == {"fit", "calibration", "evaluation", "gap"}


def test_a_feature_named_part_keeps_its_values_and_its_name(spoilt: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    values = pd.Series(range(len(frame))).astype(str)
    fingerprint = _keep(spoilt, frame.assign(part=values))
    told = _shadow("data", "pull", fingerprint[:12], "--output", tmp_path / "frame.parquet")

    pulled = _read(tmp_path / "frame.parquet")
    assert pulled["part"].tolist() == values.tolist()
    assert pulled["part_"].tolist() == frame["part"].tolist()
    assert "(column part_: " in told.stdout


def test_a_version_is_made_again_byte_for_byte_and_nothing_is_left(home: TinyHome, bundle: Bundle) -> None:
    before = sorted(path for path in home.home.rglob("*") if "mlflow" not in path.parts)
    result = _shadow("models", "reproduce", "1")

    assert result.exit_code == 0, result.stdout
    assert f"version 1 was made again byte for byte: bundle {bundle.hash}" in result.stdout
    assert sorted(path for path in home.home.rglob("*") if "mlflow" not in path.parts) == before
    assert len(home.platform.registry().versions("tiny")) == 1


def test_another_process_in_another_place_makes_the_same_bundle(home: TinyHome, bundle: Bundle, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another" / "home"
    shutil.copytree(home.home / "frames", elsewhere / "frames")
    script = (
        "import sys; from pathlib import Path\n"
        "from shadow_platform.adapters.bundle import Bundle\n"
        "from shadow_platform.assets.training.making import make\n"
        "from shadow_platform.cli.reproducing import recipe_of\n"
        "from shadow_platform.resources import PlatformResource\n"
        "from shadow_platform_tests.tiny import USE_CASE\n"
        "platform = PlatformResource(shadow_home=sys.argv[1])\n"
        "recipe = recipe_of(USE_CASE, Bundle.load(Path(sys.argv[2])).manifest)\n"
        "print(make(platform, USE_CASE, recipe).write(platform, USE_CASE, platform.bundles())[0])\n"
    )
    elsewhere_too = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "OMP_NUM_THREADS": "1", "PATH": ""}
    said = subprocess.run(
        [sys.executable, "-c", script, str(elsewhere), str(bundle.folder)],
        env={**os.environ, **elsewhere_too, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stdout.strip() == bundle.hash, said.stderr


@pytest.mark.parametrize(
    ("variant", "ingredient", "is_another_model"),
    [("OTHER_CODE", "code", True), ("OTHER_WINDOW", "configuration", True), ("OTHER_WORDS", "features", False)],
)
def test_what_makes_another_bundle_is_named_with_how_far_its_answers_are(
    home: TinyHome, variant: str, ingredient: str, is_another_model: bool
) -> None:
    result = _shadow("models", "reproduce", "1", use_case=f"{HERE}:{variant}")

    assert result.exit_code == 1
    told = [line.split("│")[1].strip() for line in result.stdout.splitlines() if line.startswith("│")]
    assert told == [ingredient]
    assert ("model.onnx" in result.stdout) == is_another_model
    assert "bundle.json" in result.stdout
    difference = float(result.stdout.rsplit(":", 1)[1])
    assert (difference > 0) == is_another_model


def test_another_environment_is_named(home: TinyHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadow_platform.adapters.code_state.platform.machine", lambda: "another")

    result = _shadow("models", "reproduce", "1")
    assert result.exit_code == 1
    assert "│ environment │ Python, the kind of machine, or a package" in result.stdout


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("NO_FAMILY", r"model 'line' is unknown .* the family of this version was taken out"),
        ("OTHER_PARAMETERS", r"version 1 cannot be made again: family 'line' does not take its parameters"),
    ],
)
def test_a_version_whose_family_is_gone_cannot_be_made_again(home: TinyHome, variant: str, message: str) -> None:
    with pytest.raises(UseCaseError, match=message):
        _shadow("models", "reproduce", "1", use_case=f"{HERE}:{variant}")


def test_a_feature_that_was_declared_since_is_named_with_the_code_to_go_back_to(home: TinyHome) -> None:
    commit = home.platform.registry().get("tiny", "1").tags.get("git_commit")
    way = f"check out the code it was trained with: git checkout {commit}" if commit else "no commit of it was recorded"
    with pytest.raises(UseCaseError, match=rf"version 1 cannot .* its frame has no column mood; .* {way}"):
        _shadow("models", "reproduce", "1", use_case=f"{HERE}:NEW_FEATURE")


def test_a_version_that_does_not_exist_cannot_be_made_again(home: TinyHome) -> None:
    with pytest.raises(RegistryError, match="version '9' of tiny does not exist"):
        _shadow("models", "reproduce", "9")
