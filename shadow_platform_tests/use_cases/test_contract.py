"""One contract for every use case: those shipped, and those that other packages bring."""

from shadow_platform.testing.contract import use_case_contract
from shadow_platform.use_cases import load_use_case, use_case_names

ADDRESSES = (*use_case_names(), "shadow_platform_tests.tiny:USE_CASE")

for _address in ADDRESSES:
    _use_case = load_use_case(_address)
    globals()[f"Test{_use_case.name.title()}"] = use_case_contract(_use_case)
