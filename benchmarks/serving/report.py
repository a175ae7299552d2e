"""Figures of one run: medians with their spread, ratios against targets, as a table and as JSON.

Upstream: every measurement of this package. Downstream: whoever reads the terminal, docs/benchmarks.md.
"""

import json
import operator
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

Sign = Literal[">=", "<="]
COMPARE: dict[Sign, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}
PACKAGES = ("bentoml", "fastapi", "feast", "onnxruntime", "orjson", "starlette", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Effort:
    """How long and how often each contender is measured, and how many entities the online store holds."""

    seconds: int
    rounds: int
    n_entities: int


@dataclass(frozen=True)
class Spread:
    """Median of the rounds, with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, values: Sequence[float], to: Sequence[float]) -> "Spread":
        """Spread of the ratios of neighbouring runs."""
        return cls.of([value / other for value, other in zip(values, to, strict=True)])

    def text(self, form: str = ",.0f") -> str:
        """Median and range."""
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True)
class Ratio:
    """A comparison.

    Attributes:
        limit: the target, ``None`` where there is none.
        is_aim: whether missing the target is said, but does not fail the run.
    """

    text: str
    value: Spread
    sign: Sign = ">="
    limit: float | None = None
    is_aim: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the median meets the target."""
        return self.limit is None or COMPARE[self.sign](self.value.median, self.limit)


@dataclass
class Report:
    """What was measured so far."""

    settings: dict[str, Any]
    rows: dict[str, dict[str, dict[str, Spread]]] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, part: str, name: str, figures: Mapping[str, Sequence[float]]) -> None:
        """Keep the figures of one contender, a value a round."""
        spreads = {figure: Spread.of(values) for figure, values in figures.items()}
        self.rows.setdefault(part, {})[name] = spreads

    def note(self, text: str) -> None:
        """Keep and print something that figures do not say."""
        self.notes.append(text)
        print(f"  {text}", flush=True)

    @property
    def is_met(self) -> bool:
        """Whether every target was met; an aim is none."""
        return all(ratio.is_met or ratio.is_aim for ratio in self.ratios)

    def print(self) -> None:
        """Print a table a part, then the ratios."""
        for part, rows in self.rows.items():
            print(f"\n{part}: median (smallest to largest)")
            for name, spreads in rows.items():
                cells = [f"{figure} {spread.text(_form(spread.median))}" for figure, spread in spreads.items()]
                print(f"  {name:46} {'   '.join(cells)}")
        print("\nratios")
        for ratio in self.ratios:
            verdict = "" if ratio.limit is None else f"{ratio.sign} {ratio.limit}: {_verdict(ratio)}"
            print(f"  {ratio.text:66} {ratio.value.text('.2f'):22} {verdict}")
        for text in self.notes:
            print(f"  {text}")

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
        document = {
            "machine": machine | {name: version(name) for name in PACKAGES},
            "settings": self.settings,
            "parts": {
                part: {n: {f: asdict(s) for f, s in r.items()} for n, r in rows.items()}
                for part, rows in self.rows.items()
            },
            "ratios": [asdict(ratio) | {"is_met": ratio.is_met} for ratio in self.ratios],
            "notes": self.notes,
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _verdict(ratio: Ratio) -> str:
    return "met" if ratio.is_met else "missed (an aim)" if ratio.is_aim else "MISSED"


def _form(value: float) -> str:
    return ",.0f" if abs(value) >= 100 else ",.2f"
