"""The time machine: months of a use case in minutes, on a simulated clock, through the code that runs in real time.

Belongs here: what drives the loop when nobody waits for it (the clock, the callers, a policy of retraining and
promotion), and what came of it. Does not belong here: any stage of the loop: events, features, training, comparison,
labels, performance, drift, gates and promotion are the platform's own assets. Upstream: everything below. Downstream:
``shadow simulate``, ``benchmarks.decisions``.

One room of several files: ``trip`` says what is played, ``world`` lands it once for all policies, ``traffic`` answers
and shadows, ``runs`` executes assets, ``policies`` says who believes what, ``journey`` plays step by step, ``truth``
knows how good the answers were, ``story`` writes down what happened.
"""

from shadow_platform.time_machine.journey import Journey
from shadow_platform.time_machine.policies import POLICIES
from shadow_platform.time_machine.trip import Trip, plan_trip

__all__ = ["POLICIES", "Journey", "Trip", "plan_trip"]
