"""How a request is answered: features, model, log record, and what is counted of it.

Belongs here: everything an answer waits for. Does not belong here: routes (``bento.api``), challengers
(``bento.shadowing``). Upstream: ``bento.worker``. Downstream: prediction log, failures, metrics.
"""
