"""The HTTP contract: routes, who may call them, and the documents that describe them.

Belongs here: what a caller sees. Does not belong here: how a request is answered (``bento.answering``).
Upstream: callers. Downstream: ``bento.worker``.
"""
