"""How logs cross machines: a relay publishes this home's segments to Kafka, a lander makes them again elsewhere.

Belongs here: the two loops, what a message of theirs looks like, what they count. Does not belong here: writing a log
(``adapters.log``), talking to a broker (``adapters.kafka``), landed files (``adapters.landing``). Upstream: settings,
segments, topics. Downstream: ``shadow log``; the lander's home, in which everything behind the log works as ever.
"""
