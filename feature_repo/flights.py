"""Feast's objects of the use case ``flights``: entities, views with their sources, feature service.

Belongs here: nothing but the call, so that ``feast apply`` finds each object under a name of this module. What they
hold is declared in the UseCase value; how it becomes Feast's is in ``declarations``. Upstream: use_cases. Downstream:
Feast.
"""

from feature_repo.declarations import feast_objects
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

SETTINGS = load_settings()
OBJECTS = feast_objects(load_use_case("flights"), SETTINGS.layout, SETTINGS.stores)

globals().update({f"{type(item).__name__}_{item.name}": item for item in OBJECTS.all()})
