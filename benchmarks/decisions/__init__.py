"""Decisions of the gate and what follows from them, measured: errors, power, harm, kills, rollbacks, regret.

Belongs here: what takes more than a test may. A part is one module with one function, ``measure(scale)``, which yields
finished tables; ``__main__`` names them. Upstream: domain.gates, the platform as a whole, simulated streams.
Downstream: docs/benchmarks.md, docs/methods.md and docs/adr/0005, which quote these figures.
"""
