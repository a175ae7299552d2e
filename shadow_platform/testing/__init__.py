"""The contract of every use case, as tests that any package can run over its own.

Belongs here: what the platform relies on when it runs a use case it has never seen. Does not belong here: what one use
case must guarantee of its own, tests of the platform itself. Upstream: contracts, the events and serving stages.
Downstream: test files, here and in packages that bring a use case; nothing that runs in production. It needs pytest.

A test file of three lines holds a use case to the contract::

    from my_package import USE_CASE
    from shadow_platform.testing.contract import use_case_contract

    TestMyUseCase = use_case_contract(USE_CASE)
"""

import pytest

# Before they are imported, so that a broken rule shows the values that broke it.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{rules}"
        for rules in ("declarations", "derivations", "models", "point_in_time", "searching", "simulation", "source")
    )
)
