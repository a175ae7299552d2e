"""The whole contract of a use case, for a test file to name.

Belongs here: which rules apply to which use case. Does not belong here: the rules. Upstream: the files of rules.
Downstream: test files.
"""

from shadow_platform.contracts.use_case import UseCase
from shadow_platform.testing.declarations import DeclarationRules
from shadow_platform.testing.derivations import DerivationRules
from shadow_platform.testing.models import ModelRules
from shadow_platform.testing.point_in_time import LabelRules, RequestRules, ViewRules
from shadow_platform.testing.searching import SearchRules
from shadow_platform.testing.simulation import SimulationRules
from shadow_platform.testing.source import SourceRules


def use_case_contract(use_case: UseCase, n_entities: int | None = None) -> type:
    """Class of tests that hold a use case to the contract; bind it to a name that pytest collects (``Test...``).

    Args:
        n_entities: size of the small world that a simulated use case is tried on; ``None``: a quarter of its default.
    """
    rules: list[type] = [DeclarationRules, SourceRules, RequestRules, LabelRules, ModelRules, SearchRules]
    if use_case.views:
        rules.append(ViewRules)
    if use_case.derivations or any(feature.derivation for feature in use_case.features):
        rules.append(DerivationRules)
    if use_case.simulation:
        rules.append(SimulationRules)
    return type(f"Contract_{use_case.name}", tuple(rules), {"use_case": use_case, "n_entities": n_entities})
