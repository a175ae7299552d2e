"""Parts that use cases are made of; what a second use case would otherwise write again.

Belongs here: columns of event schemas, model families, event sources and the tools of simulators. Does not belong here:
anything one product alone declares, anything that runs a use case. Upstream: contracts. Downstream: ``use_cases``, and
packages that bring their own use case.
"""
