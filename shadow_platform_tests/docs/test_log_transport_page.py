"""The page on logs across machines names settings, options and forms of messages that exist."""

import re
from typing import get_args

from typer.testing import CliRunner

from shadow_platform.adapters.landing import SEGMENT
from shadow_platform.cli import typer_app
from shadow_platform.contracts import metrics
from shadow_platform.log_transport import topics
from shadow_platform.settings import ROLES, Settings
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "log-transport.md").read_text(encoding="utf-8")


def test_every_setting_on_the_page_exists_and_has_the_values_it_names() -> None:
    named = {name.lower() for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", PAGE)}
    assert len(named) > 5
    assert named <= set(Settings.model_fields)
    assert "kafka" in get_args(Settings.model_fields["log_transport"].annotation)
    roles = [set(text.split(",")) for text in re.findall(r"SERVE_ROLES=(\S+)", PAGE)]
    assert set.union(*roles) == ROLES


def test_topics_logs_and_headers_are_as_the_page_says() -> None:
    prefix = str(Settings.model_fields["kafka_log_prefix"].default)
    for log in topics.SERVED_LOGS.split(","):
        assert f"`{topics.topic_of(prefix, log, 'churn')}`" in PAGE
    assert all(f"`{log}`" in PAGE for log in topics.LOGS)
    assert all(f"header `{name}`" in PAGE for name in (topics.OFFSET_HEADER, topics.HOST_HEADER))
    assert SEGMENT.fullmatch("dt=2026-05-01/hour=03/7-0190163d-8694-739b-aea5-73c1b7a1c6b7.jsonl")


def test_every_option_on_the_page_is_one_of_the_commands() -> None:
    offered = "".join(CliRunner().invoke(typer_app, ["log", name, "--help"]).output for name in ("relay", "land"))
    named = set(re.findall(r"`(?:shadow log relay )?(--[a-z-]+)`", PAGE))
    assert named >= {"--again", "--group", "--logs", "--until-caught-up"}
    assert all(name in offered for name in named)


def test_every_metric_on_the_page_is_in_the_catalogue() -> None:
    named = set(re.findall(r"`((?:log|shadow)_[a-z_]+_(?:bytes|total|seconds))`", PAGE))
    assert len(named) == 6
    assert named <= set(metrics.by_series())
