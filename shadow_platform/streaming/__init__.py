"""The consumer process: what a topic brings, onto disk and into the online store.

Belongs here: wiring of adapters and stages in one loop. Does not belong here: talking to a broker, files, Feast
(``adapters``), what makes an event valid (``domain.events``), what a feature says (the use case's SQL). Upstream:
Kafka. Downstream: the events stage, the online store.
"""
