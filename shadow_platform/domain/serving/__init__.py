"""Serving stage: from a request's body to features, and from a probability to an answer and its log record.

One room of several files: ``values`` says what one field may hold, ``requests`` what a valid request of a use case is
and where each feature's value comes from, ``answers`` how an answer and its record read. Does not belong here: HTTP,
lookups, scoring, appending. Pure: takes the time and the request's id.
Upstream: bento (request bodies, online rows, probabilities). Downstream: bento, which answers and appends.
"""

from shadow_platform.domain.serving.answers import ModelOutput, build_answer, build_record, risk_category
from shadow_platform.domain.serving.requests import RequestContract, ServedFeatures, ValidRequest
from shadow_platform.domain.serving.values import CONTROL, MAX_TEXT, parse_as_of, parse_moment, rfc3339

__all__ = [
    "CONTROL",
    "MAX_TEXT",
    "ModelOutput",
    "RequestContract",
    "ServedFeatures",
    "ValidRequest",
    "build_answer",
    "build_record",
    "parse_as_of",
    "parse_moment",
    "rfc3339",
    "risk_category",
]
