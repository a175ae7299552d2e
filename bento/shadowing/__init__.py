"""How challengers are compared: one lane each, its model in a process of its own, live or over a past period.

Belongs here: reading the prediction log, scoring, writing the shadow log. Does not belong here: anything an answer
waits for. Upstream: prediction log, manifest. Downstream: shadow log, metrics.
"""
