"""One error tree: a caller that catches its root catches everything raised on purpose."""

import inspect

from shadow_platform.contracts import errors


def test_every_error_is_a_shadow_platform_error() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]

    assert kinds
    assert [kind for kind in kinds if not issubclass(kind, errors.ShadowPlatformError)] == []


def test_a_request_error_names_every_field_at_once() -> None:
    problem = errors.RequestError(
        [{"field": "age", "message": "17 is below 18"}, {"field": "income", "message": "is missing"}]
    )

    assert str(problem) == "age: 17 is below 18; income: is missing"
    assert [error["field"] for error in problem.errors] == ["age", "income"]
