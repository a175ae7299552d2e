"""The drift and performance verdicts measured: how often they err, what they see, how soon, and what they cost.

``worlds`` makes requests whose truth is known, ``tables`` prints what was counted; every other module is one part of
``python -m benchmarks.drift``. Does not belong here: a rule, a statistic (domain.drift, domain.estimation).
"""

import os

# Before numpy is imported: on busy cores two threads that wait for each other spin away twenty times the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
