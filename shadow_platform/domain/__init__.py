"""The verbs of the platform: pure functions, one file per stage, no I/O, clock, randomness or environment.

Imports contracts, numpy, pandas, scipy, scikit-learn. No file here imports another one here; stages meet in contracts.
"""
