"""Commands that look at versions: what they find, what they say, what they refuse."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.adapters.training_runs import TrainingRuns
from shadow_platform.cli import typer_app
from shadow_platform.cli.models.printing import KEY_METRICS
from shadow_platform.cli.models.sources import Versions
from shadow_platform.contracts.errors import BundleError, RegistryError, ShadowPlatformError
from shadow_platform.contracts.versions import RunRecord, VersionComparison
from shadow_platform_tests.cli.versions_home import ADDRESS, CARDED, CHALLENGER, OLD, PNG, WEAK, VersionsHome
from shadow_platform_tests.versions import make_card, make_details, make_summary

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> VersionsHome:
    """Making a registry takes seconds, so the tests share one."""
    return VersionsHome(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def models(home: VersionsHome, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``shadow models``; what it prints is in ``output``."""
    monkeypatch.setenv("SHADOW_HOME", str(home.layout.home))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(typer_app, ["models", *arguments, "--use-case", ADDRESS])

    return run


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def numbers(result: Result) -> list[str | None]:
    return [version["version"] for version in told(result)]


def test_the_list_begins_with_the_newest_and_says_when_there_are_more(models: Command) -> None:
    text = models("list", "--limit", "2").output
    assert [line.split()[0] for line in text.splitlines()[2:4]] == [CHALLENGER, CARDED]
    assert "These are 2, and there are more" in text
    assert "there are more" not in models("list", "--limit", "3").output
    assert "champion" in text
    assert "0.8000" in text
    assert numbers(models("list", "--all", "--json")) == [CHALLENGER, CARDED, OLD]


def test_a_run_that_became_no_version_is_listed_with_its_reason(models: Command) -> None:
    assert WEAK not in models("list").output
    assert f"run feedbeef was archived: {WEAK}" in models("list", "--archived").output
    (archived,) = told(models("search", "--status", "archived", "--json"))
    assert (archived["version"], archived["archived_reason"]) == (None, WEAK)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("--metric", "roc_auc>=0.79"), [CHALLENGER, CARDED]),
        (("--metric", "roc_auc>=0.79", "--metric", "log_loss<0.42"), [CARDED]),
        (("--sort", "-roc_auc"), [CARDED, CHALLENGER, OLD]),
        (("--sort", "log_loss", "--limit", "1"), [CARDED]),
        (("--model", "trees"), [CHALLENGER]),
        (("--alias", "champion", "--alias", "previous", "--sort", "created_at"), [OLD, CARDED]),
        (("--tag", "trigger=bootstrap", "--tag", "role=champion"), [CARDED, OLD]),
        (("--tag", "trigger=bootstrap", "--tag", "trigger=drift"), []),
        (("--since", "1h", "--version", "02"), [CARDED]),
        (("--until", "2024-01-01"), []),
        (("--as-of-since", "2024-02-10", "--as-of-until", "2024-02-11"), [CHALLENGER, CARDED, OLD]),
        (("--metric", "roc_auc<0.6", "--status", "any"), [None]),
    ],
)
def test_versions_are_found_by_family_alias_tag_metric_and_date(
    models: Command, asked: tuple[str, ...], expected: list[str | None]
) -> None:
    assert numbers(models("search", *asked, "--json")) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--metric", "roc_auc=>0.7"), "compares no metric with a number"),
        (("--metric", "rocauc>0.7"), "has the metric 'rocauc', only"),
        (("--model", "tress"), "has the model 'tress', only 'line', 'trees'"),
        (("--alias", "champoin"), "has the alias 'champoin', only 'challenger', 'champion', 'previous'"),
        (("--tag", "triger=drift"), "has the tag 'triger', only"),
        (("--version", "v1"), "'v1' is no number of a version"),
        (("--version", "9"), "has the number '9', only '1', '2', '3'"),
        (("--tag", "drift"), "is no tag; expected name=value"),
        (("--since", "yesterday"), "is no time; expected ISO 8601"),
    ],
)
def test_a_search_that_cannot_be_read_says_why(models: Command, asked: tuple[str, ...], message: str) -> None:
    result = models("search", *asked)
    assert isinstance(result.exception, ShadowPlatformError)
    assert message in str(result.exception)


def test_a_search_without_result_says_so(models: Command) -> None:
    assert "no version" in models("search", "--until", "2024-01-01").output


@pytest.mark.parametrize("named", [CARDED, "champion"])
def test_a_version_is_shown_by_number_or_alias(models: Command, named: str) -> None:
    text = models("show", named).output
    for part in ("[0.7800, 0.8200]", "amount", "well above", "fingerprints", "0123abcd", "card.html", "max_abs_diff"):
        assert part in text
    shown = told(models("show", named, "--json"))
    assert shown["summary"]["version"] == CARDED
    assert shown["card"]["segments"][1]["level"] == "mail"
    assert Path(shown["paths"]["card.html"]).exists()
    assert shown["frame"]["partitions_fingerprint"] == "p"


def test_a_version_older_than_cards_is_shown_by_its_manifest_and_that_is_said(models: Command) -> None:
    text = models("show", OLD).output
    assert "older than model cards" in text
    assert "0.7" in text
    shown = told(models("show", OLD, "--json"))
    assert shown["card"] is None
    assert "card.html" not in shown["paths"]


@pytest.mark.parametrize("command", [("show",), ("lineage",), ("history",), ("compare", CARDED)])
def test_a_version_or_alias_that_is_not_there_is_refused(models: Command, command: tuple[str, ...]) -> None:
    result = models(*command, "champ")
    assert isinstance(result.exception, RegistryError)
    assert "'champ' names no version of tiny; expected a number, or an alias" in str(result.exception)


def test_a_number_that_is_not_there_is_refused(models: Command) -> None:
    for command in ("show", "history", "lineage"):
        result = models(command, "99")
        assert isinstance(result.exception, RegistryError)
        assert "'99' of tiny does not exist" in str(result.exception)
    result = models("show", "9" * 23)
    assert isinstance(result.exception, ShadowPlatformError)
    assert "is no number of a version; expected 1, 2 and so on, with at most 9 digits" in str(result.exception)


def test_a_number_with_zeros_before_it_is_the_number(models: Command) -> None:
    assert told(models("show", "003", "--json"))["summary"]["version"] == CHALLENGER
    assert told(models("history", "03", "--json")) == told(models("history", CHALLENGER, "--json")) != []


def test_two_versions_are_put_side_by_side(models: Command) -> None:
    text = models("compare", OLD, "champion").output
    assert "+0.1000" in text
    assert "2, no interval" in text
    assert "no model card in the bundle of version 1" in text
    assert "intervals overlap" in models("compare", CARDED, CHALLENGER).output
    found = VersionComparison.model_validate(told(models("compare", OLD, "2", "--json")))
    assert (found.a.version, found.b.version) == (OLD, CARDED)
    assert [(pair.name, pair.a, pair.b) for pair in found.parameters] == [("C", None, 2.0)]


def test_a_page_holds_the_pictures_of_both_and_names_those_that_are_missing(models: Command, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert str(page) in models("compare", OLD, CARDED, "--html", str(page)).output
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 3
    assert "The training run of Version 1 holds no such picture." in text
    models("compare", CHALLENGER, CHALLENGER, "--html", str(page))
    assert "Neither training run holds pictures." in page.read_text()


def test_a_page_that_cannot_be_written_says_where(models: Command, tmp_path: Path) -> None:
    result = models("compare", OLD, CARDED, "--html", str(tmp_path / "absent" / "page.html"))
    assert isinstance(result.exception, ShadowPlatformError)
    assert "page.html cannot be written" in str(result.exception)


def test_the_history_tells_who_moved_which_alias_and_why(models: Command) -> None:
    text = models("history").output
    assert "champion: 1 to 2, by tester" in text
    assert "better (evidence decision-1)" in text
    rows = told(models("history", CHALLENGER, "--json"))
    assert [(row["alias"], row["to_version"]) for row in rows] == [("challenger", CHALLENGER)]
    assert "champion: none to 1" not in models("history", CHALLENGER).output


def test_the_history_of_an_alias_is_told_though_nothing_has_it_now(models: Command) -> None:
    rows = told(models("history", "--alias", "challenger", "--json"))
    assert [row["to_version"] for row in rows] == [CARDED, None, CHALLENGER]
    assert told(models("history", CHALLENGER, "--alias", "challenger", "--json")) == rows[2:]
    assert (
        f"no change of alias champion names version {CHALLENGER}"
        in models("history", CHALLENGER, "--alias", "champion").output
    )
    result = models("history", "--alias", "champoin")
    assert isinstance(result.exception, RegistryError)
    assert "ever had the alias 'champoin', only challenger, champion, previous" in str(result.exception)


def test_a_version_that_the_registry_lost_keeps_its_history(
    home: VersionsHome, models: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise RegistryError("gone")

    monkeypatch.setattr(type(home.registry), "get", lost)
    assert told(models("history", CHALLENGER, "--json")) != []


@pytest.mark.parametrize("lines", [True, False])
def test_the_list_breaks_no_name_in_a_terminal_and_no_line_in_a_pipe(
    models: Command, monkeypatch: pytest.MonkeyPatch, lines: bool
) -> None:
    family = "a_family_with_quite_a_long_name"
    aliases = ("champion", "previous", "challenger-2")
    version = make_summary("1", model_name=family, aliases=aliases, metrics=dict.fromkeys(KEY_METRICS, 0.5))
    monkeypatch.setattr(Versions, "registered", lambda *_: [version])
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, without colours
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if lines else "0")
    text = models("list").output
    shown = [line for line in text.splitlines() if line.strip()]
    assert {family, *("champion,", "previous,", "challenger-2")} <= set(text.split())
    if lines:
        assert max(map(len, shown)) <= 80
        assert "roc_auc" in text
        assert "f1" not in text
    else:
        assert len(shown) == 3
        assert ", ".join(aliases) in text
        assert set(KEY_METRICS) <= set(text.split())


def test_what_others_wrote_into_the_registry_cannot_drive_the_terminal(
    models: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0)))) + "[2J"
    summary = make_summary("1", model_name=evil, aliases=(evil,), tags={evil: evil}, archived_reason=evil)
    monkeypatch.setattr(Versions, "registered", lambda *_: [summary])
    monkeypatch.setattr(Versions, "transitions", lambda *_: [_transition(evil)])
    monkeypatch.setattr(Versions, "summary", lambda *_: summary)
    monkeypatch.setattr(
        Versions,
        "run",
        lambda *_: RunRecord(
            run_id=evil, status=evil, started_at=None, ended_at=None, tags={"role": evil, "git_commit": evil}
        ),
    )
    details = make_details("1").model_copy(update={"summary": summary})
    monkeypatch.setattr(Versions, "details", lambda *_: details)
    for command in (("list",), ("history",), ("show", "1"), ("lineage", "1"), ("compare", "1", "1")):
        result = models(*command)
        assert result.exit_code == 0, result.exception
        assert "[2J" in result.output
        assert [char for char in result.output if char != "\n" and unicodedata.category(char) == "Cc"] == []


def _transition(text: str) -> dict[str, Any]:
    names = ("alias", "from_version", "to_version", "actor", "reason", "evidence_id", "transitioned_at")
    return dict.fromkeys(names, text)


def test_a_card_without_segments_is_shown(models: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    details = make_details("1")
    bare = details.model_copy(update={"card": make_card(details.manifest, segments=())})
    monkeypatch.setattr(Versions, "details", lambda *_: bare)
    assert "features that matter most" in models("show", CARDED).output
    assert models("compare", CARDED, OLD).exit_code == 0


def test_the_lineage_goes_from_answers_to_partitions(models: Command) -> None:
    text = models("lineage", "champion").output
    for part in (
        "2024-01-01 to 2024-01-04, 2024-01-06 to 2024-01-10",
        "code 0123abcd",
        "status: FINISHED",
        "champion: 1 to 2",
        "decision promote",
        "2 as champion",
        "1 as canary",
    ):
        assert part in text
    tree = told(models("lineage", CARDED, "--json"))
    assert [child["kind"] for child in tree["children"]] == ["bundle", "run", "transitions", "decisions", "service"]


def test_a_bundle_that_was_altered_is_told_of_by_the_registry_and_not_believed(
    home: VersionsHome, models: Command
) -> None:
    folder = home.layout.bundles / home.registry.get("tiny", CHALLENGER).bundle_hash
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    try:
        card = folder / "card.json"
        card.write_text(card.read_text().replace("Will they buy?", "They will buy!"))
        result = models("show", CHALLENGER)
        assert isinstance(result.exception, BundleError)
        assert "trees" in result.output
        assert "They will buy" not in result.output
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)


def test_the_newest_of_many_are_those_at_the_end_of_all(home: VersionsHome) -> None:
    everything = home.registry.versions("tiny")
    assert home.registry.newest("tiny", 2) == everything[:0:-1]
    assert home.registry.newest("tiny", 9) == everything[::-1]
    assert [home.registry.get("tiny", version.version) for version in everything] == everything


def test_no_command_about_some_versions_reads_all_of_them(
    home: VersionsHome, models: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("ten thousand versions are not listed to show one")

    monkeypatch.setattr(type(home.registry), "versions", refuse)
    for command in (
        ("show", "champion"),
        ("compare", "previous", CARDED),
        ("lineage", CARDED),
        ("history", "champion"),
    ):
        assert models(*command).exit_code == 0


def test_a_run_that_is_gone_has_no_record_and_no_pictures(home: VersionsHome) -> None:
    runs = TrainingRuns(home.registry.tracking_uri)
    assert runs.record("0" * 32) is None
    assert runs.pictures("0" * 32) == {}
    assert runs.pictures(home.runs[CARDED]) == {"gain": PNG, "roc": PNG}


def test_a_run_that_was_deleted_is_gone_though_not_yet_swept_away(home: VersionsHome) -> None:
    run_id = home.run_of("deleted", "roc")
    runs = TrainingRuns(home.registry.tracking_uri)
    assert runs.record(run_id) is not None
    home.registry._client.delete_run(run_id)
    assert runs.record(run_id) is None
    assert runs.pictures(run_id) == {}


def test_a_file_that_only_calls_itself_a_picture_enters_no_page(home: VersionsHome, tmp_path: Path) -> None:
    run_id = home.run_of("forged")
    forged = tmp_path / "roc.png"
    forged.write_bytes(b"<script>alert(1)</script>")
    home.registry._client.log_artifact(run_id, str(forged), "plots")
    with pytest.raises(RegistryError, match=r"plots/roc.png is no PNG picture; remove it from the run"):
        TrainingRuns(home.registry.tracking_uri).pictures(run_id)
