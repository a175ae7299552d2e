"""How often an equal challenger is promoted in two months of daily looks, by the gate and by naive gates.

Upstream: worlds, rules. Downstream: docs/benchmarks.md.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.decisions.rules import ALPHA, GATES, NAIVE, batches, is_ever_promoted, naive_promotes
from benchmarks.decisions.worlds import DAYS, PER_DAY, WORLDS, Play
from benchmarks.drift.tables import Rate, Table

STREAMS = 2_000
STRICT_STREAMS = 200
"""Bets are slower to compute."""


def measure(scale: float) -> Iterator[Table]:
    """One table: worlds by rules."""
    streams, strict = max(10, round(STREAMS * scale)), max(10, round(STRICT_STREAMS * scale))
    table = Table(
        f"False promotions of an equal challenger: {DAYS} days of {PER_DAY} requests, daily looks, {streams:,} streams",
        ["world", *NAIVE, *GATES],
    )
    for seed, (name, world) in enumerate(WORLDS.items()):
        rng = np.random.default_rng(seed)
        hits: dict[str, list[bool]] = {rule: [] for rule in (*NAIVE, *GATES)}
        for n in batches(streams):
            play = world(rng, n)
            for rule, promoted in naive_promotes(play).items():
                hits[rule] += promoted.tolist()
            for rule, promoted_rows in gate_promotes(play, strict - len(hits["gate, betting"])).items():
                hits[rule] += promoted_rows
        rates = {rule: Rate(sum(rows), len(rows)) for rule, rows in hits.items() if rows}
        cells = [rates[rule].percent_up_to() if rule in rates else "" for rule in hits]
        table.add([name, *cells], {"world": name} | {rule: [rate.hits, rate.windows] for rule, rate in rates.items()})
    yield table.end(
        f"In brackets the exact upper 95 % bound. Gates at alpha {ALPHA}, as if the challenger were the only one; bets "
        f"take each request on its own and were played on {strict:,} streams. 'day and subject' is 'day' where "
        "subjects do not come back."
    )


def gate_promotes(play: Play, strict: int) -> dict[str, list[bool]]:
    """Whether each stream is ever promoted, by form of the gate; bets on the first ``strict`` only."""
    found: dict[str, list[bool]] = {rule: [] for rule in GATES}
    for index in range(len(play.gains)):
        for rule, gate in GATES.items():
            if rule == "gate, betting" and (index >= strict or play.is_hidden is not None):
                continue
            if rule == "gate, day and subject" and play.subject is None:
                found[rule].append(found["gate, day"][-1])
            else:
                found[rule].append(is_ever_promoted(gate, play, index))
    return found
