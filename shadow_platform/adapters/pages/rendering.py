"""What every page is made with: one environment for templates, pictures inside the page, titles of pictures.

Belongs here: what pages share. Does not belong here: any one page. Upstream: templates. Downstream: ``card``,
``comparison``.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

TEMPLATES = Path(__file__).parent / "templates"
PICTURE_TITLES = {
    "reliability": "Reliability: observed share by probability",
    "roc": "ROC curve",
    "precision_recall": "Precision and recall",
    "gain": "Cumulative gain",
    "scores": "Distribution of probabilities",
    "importance": "Importance of features",
    "segments": "Metrics by segment",
}


def page_template(name: str, filters: Mapping[str, Callable[..., object]]) -> Template:
    """A template in which text from outside is never markup, and a name that is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name)


def picture_title(name: str) -> str:
    """Title of a picture of a training."""
    return PICTURE_TITLES.get(name, words(name))


def words(name: str) -> str:
    """A name as people write it.

    >>> words("log_loss")
    'Log loss'
    """
    return name.replace("_", " ").capitalize()


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
