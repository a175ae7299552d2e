"""Policies in force: what a use case declares, with the limits that the environment sets in their place.

Belongs here: which setting takes the place of which limit. Does not belong here: the limits and their defaults
(``contracts.policies``), reading the environment (``settings``). Upstream: settings, the use case. Downstream: drift,
gates, requests of a retraining.

A setting counts only where it is set: its default says nothing of a use case that chose another limit.
"""

from dataclasses import replace

from shadow_platform.contracts.use_case import DriftPolicy, GatePolicy, UseCase
from shadow_platform.settings import Settings

GATE_SETTINGS = {
    "min_samples_for_decision": "min_samples",
    "min_f1_improvement_pct": "min_f1_improvement_pct",
    "max_brier_degradation": "max_brier_degradation",
    "slo_p95_ms": "max_challenger_p95_ms",
    "slo_error_rate": "max_challenger_error_rate",
}
"""Setting, and the limit of a ``GatePolicy`` whose place it takes."""


def drift_policy(settings: Settings, use_case: UseCase) -> DriftPolicy:
    """The use case's policy, with ``DRIFT_THRESHOLD`` in place of its threshold if the environment sets it."""
    if "drift_threshold" not in settings.model_fields_set:
        return use_case.drift
    return replace(use_case.drift, drift_threshold=settings.drift_threshold)


def gate_policy(settings: Settings, use_case: UseCase) -> GatePolicy:
    """The use case's policy, with the limits that the environment sets in place of its own."""
    limits = {GATE_SETTINGS[name]: getattr(settings, name) for name in gate_settings(settings, use_case)}
    return replace(use_case.gate, **limits)


def gate_settings(settings: Settings, use_case: UseCase) -> list[str]:
    """Names of the settings that limit the use case's gate: set, and of a criterion that its policy has."""
    return [
        name
        for name, limit in GATE_SETTINGS.items()
        if name in settings.model_fields_set and getattr(use_case.gate, limit) is not None
    ]
