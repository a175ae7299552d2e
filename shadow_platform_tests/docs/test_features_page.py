"""What docs/features.md says of commands, settings and names is so."""

import re
from configparser import ConfigParser

import click

from feature_repo.declarations import feast_objects
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "features.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def test_every_command_shown_is_one_of_feasts() -> None:
    from feast.cli.cli import cli

    shown = re.findall(r"\bfeast (?:-f \S+ )?([a-z-]+)(?: (list|describe))?", "\n".join(BLOCKS))
    assert len(shown) >= 7
    for name, below in shown:
        command = cli.commands[name]
        if isinstance(command, click.Group):
            assert below in command.commands


def test_every_setting_and_extra_named_exists() -> None:
    named = set(re.findall(r"\b([A-Z]+_(?:[A-Z]+_?)+)\b", PAGE)) - {"USE_CASE"}
    assert named <= {name.upper() for name in Settings.model_fields}
    assert {"FEATURE_STORE", "REDIS_URL", "POSTGRES_URL", "FEATURES_URL", "RAY_ADDRESS"} <= named
    configuration = ConfigParser()
    configuration.read(REPOSITORY / "setup.cfg")
    extras = {extra for found in re.findall(r"shadow-platform\[(.*?)\]", PAGE) for extra in found.split(",")}
    assert {*extras, "feast-ui"} <= set(configuration["options.extras_require"])


def test_names_in_feast_are_made_as_the_page_says(layout: Layout) -> None:
    fraud = load_use_case("fraud")
    objects = feast_objects(fraud, layout)
    (streamed,) = [view for view in fraud.views if view.streaming is not None]
    source = objects.views[streamed.name].stream_source
    assert source is not None
    assert f'push("{source.name}"' in PAGE
    assert source.name == f"fraud_{streamed.name}_stream"
    assert objects.version_service("3", {}).name == "fraud_v3"
    request = re.search(r"request = (\{.*?\})", PAGE)
    assert request is not None
    for name in (*(e.join_key for e in fraud.entities), *(f.name for f in fraud.request_features)):
        assert f'"{name}"' in request[1]
