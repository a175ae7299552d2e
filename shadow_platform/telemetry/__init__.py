"""What the platform's processes say about themselves: lines of log and spans, made alike everywhere.

Belongs here: how a process logs, what of a request its lines carry, where its spans go. Does not belong here: metrics
(``contracts.metrics``, ``adapters.exposition``), the logs of predictions (``adapters.log``), which are data, and which
span or line is made when. Upstream: settings, ``adapters.tracing``. Downstream: every process that runs on.

Neither says anything of those whom predictions are about: no entity key, no feature value, at INFO or above.
"""
