"""How one answer is explained: in a child process of each worker, within a time limit.

Upstream: ``bento.worker``. Downstream: callers. Explanations are no predictions and are not logged.
"""
