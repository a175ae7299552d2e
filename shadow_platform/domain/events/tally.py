"""Counts of a run of the events stage: rows by kind and day, and the rules they broke.

Belongs here: counting. Does not belong here: sorting rows, showing counts. Upstream: sorted rows. Downstream: metadata
and checks of the events assets.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from shadow_platform.contracts.records import QuarantinedEvent
from shadow_platform.domain.events.faults import rule_of
from shadow_platform.domain.events.sorting import SortedRows

MAX_TABLE_ROWS = 20
# Names of unknown fields are the sender's: beyond so many different violations, new ones are counted as one.
MAX_DISTINCT = 1_000
OTHERS = "others"


@dataclass(slots=True)
class Tally:
    """Counts of one run over some kinds.

    Attributes:
        rows, valid, quarantined: rows by event kind.
        violations: by kind, column (``row``: as a whole; ``others``: see ``MAX_DISTINCT``) and rule.
        examples: first place of each of these, ``file:row``.
        nulls: by ``kind.column``, over rows that passed the schema.
        incomplete: files whose rows do not add up.
        by_day: valid rows and violations.
        outrun: by kind, days that hold events again which an earlier day of this run holds.
        received, misshapen: by kind and day, rows, and those that broke a rule; a repeated key breaks none here.
    """

    kinds: Sequence[str]
    rows: Counter[str] = field(default_factory=Counter)
    valid: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    violations: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], str] = field(default_factory=dict)
    nulls: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    incomplete: list[str] = field(default_factory=list)
    by_day: dict[date, tuple[int, int]] = field(default_factory=dict)
    outrun: dict[str, tuple[date, ...]] = field(default_factory=dict)
    unsettled: Counter[str] = field(default_factory=Counter)
    received: Counter[tuple[str, date]] = field(default_factory=Counter)
    misshapen: Counter[tuple[str, date]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for counts in (self.rows, self.valid, self.quarantined):
            counts.update(dict.fromkeys(self.kinds, 0))

    def sorted(self, kind: str, file: str, day: date, part: SortedRows) -> None:
        """Count a part of a file."""
        self.rows[kind] += part.n_rows
        self.received[kind, day] += part.n_rows
        self.misshapen[kind, day] += part.n_quarantined
        self.passed[kind] += len(part.valid)
        self.unsettled[file] += part.n_rows - part.n_quarantined
        for name, n in zip(part.valid.columns, part.valid.isna().to_numpy().sum(axis=0), strict=True):
            self.nulls[f"{kind}.{name}"] += int(n)
        if part.quarantined:
            self._refused(kind, day, part.quarantined, part.n_quarantined)

    def repeated(self, kind: str, file: str, day: date, events: Sequence[QuarantinedEvent]) -> None:
        """Count rows of a file that repeat a key."""
        self.unsettled[file] -= len(events)
        self._refused(kind, day, events, len(events))

    def written(self, kind: str, file: str, day: date, n_valid: int) -> None:
        """Count the events that a file came to in the end, which settles its account."""
        self.valid[kind] += n_valid
        so_far, n_violations = self.by_day.get(day, (0, 0))
        self.by_day[day] = (so_far + n_valid, n_violations)
        if self.unsettled.pop(file, 0) != n_valid:
            self.incomplete.append(file)

    def _refused(self, kind: str, day: date, events: Sequence[QuarantinedEvent], n_rows: int) -> None:
        self.quarantined[kind] += n_rows
        n_valid, so_far = self.by_day.get(day, (0, 0))
        self.by_day[day] = (n_valid, so_far + len(events))
        for event in events:
            broken = (kind, event.column or "row", rule_of(event.reason))
            if len(self.violations) >= MAX_DISTINCT and broken not in self.violations:
                broken = (kind, OTHERS, broken[2])
            self.violations[broken] += 1
            self.examples.setdefault(broken, f"{event.file}:{event.row}")

    def null_rates(self) -> dict[str, float]:
        """Share of nulls of every column that has any."""
        return {name: round(n / self.passed[name.split(".")[0]], 6) for name, n in self.nulls.items() if n}

    def violations_by_column(self) -> dict[str, int]:
        """Violations by ``kind.column``, of the columns with most; ``others`` are the rest together."""
        counts: Counter[str] = Counter()
        for (kind, column, _), n in self.violations.items():
            counts[f"{kind}.{column}"] += n
        shown = dict(counts.most_common(MAX_TABLE_ROWS))
        n_others = counts.total() - sum(shown.values())
        return {**shown, OTHERS: n_others} if n_others else shown

    def table(self) -> str:
        """Markdown table of what was refused and why, the most frequent first; says so if nothing was."""
        if not self.violations:
            return "Every row was accepted."
        lines = ["| rows | kind | column | what is wrong | for example |", "|---:|---|---|---|---|"]
        for broken, n in self.violations.most_common(MAX_TABLE_ROWS):
            cells = (f"{n:,}", *(_cell(text) for text in (*broken, self.examples[broken])))
            lines.append(f"| {' | '.join(cells)} |")
        n_more = len(self.violations) - MAX_TABLE_ROWS
        return "\n".join([*lines, *([f"\nand {n_more} rarer ones"] if n_more > 0 else [])])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
