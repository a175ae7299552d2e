"""What every page is made with: one environment for templates, pictures inside the page, numbers and times as text.

Belongs here: what pages share. Does not belong here: any one page. Upstream: templates. Downstream: ``card``,
``comparison``, ``decision``.
"""

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
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


def number(value: float) -> str:
    """Four significant digits, without an exponent where a person would write none."""
    if not math.isfinite(value) or value == 0:
        return "0" if value == 0 else "not a number" if math.isnan(value) else f"{value}"
    if abs(value) < 1e-4:
        return f"{value:.2g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """A share as people write it."""
    return f"{100 * share:.4g} %"


def moment(time: datetime) -> str:
    """A time in UTC, a midnight as its day."""
    at = time.astimezone(UTC)
    is_midnight = (at.hour, at.minute, at.second) == (0, 0, 0)
    return f"{at:%Y-%m-%d}" if is_midnight else f"{at:%Y-%m-%d %H:%M:%S} UTC"
