"""Feast's configuration of either column, with the addresses filled in.

Belongs here: finding, reading and completing ``feature_store.yaml`` and ``feature_store.scale.yaml``. Does not belong
here: what they choose (``feature_repo``), reading the environment (``settings``). Upstream: ``feature_repo``, settings
as values. Downstream: ``store``, and whoever needs Feast's configuration without its SDK.
"""

from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from shadow_platform.adapters.feature_store.online import one_line, remedy_of
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig

CONFIGURATIONS = {"local": "feature_store.yaml", "scale": "feature_store.scale.yaml"}
"""File of each column, by the names that ``FEATURE_STORE`` takes."""
_POSTGRES, _POSTGRES_3 = "postgresql://", "postgresql+psycopg://"


def repo_folder(repo_path: Path) -> Path:
    """The folder, or the one shipped with the platform when it has no ``feature_store.yaml``.

    Raises:
        FeatureStoreError: none is installed either.
    """
    if (repo_path / CONFIGURATIONS["local"]).exists():
        return repo_path.resolve()
    shipped = find_spec("feature_repo")
    if shipped is None or shipped.origin is None:
        raise FeatureStoreError(f"{repo_path} has no feature_store.yaml and none is installed; set FEAST_REPO_PATH")
    return Path(shipped.origin).parent


def repo_config(repo_path: Path, layout: Layout, stores: FeatureStores) -> "RepoConfig":
    """Feast's configuration of the column; raises ``FeatureStoreError`` if it is unusable.

    The addresses are those of ``layout`` and ``stores``, whatever the environment says.
    """
    import yaml
    from feast.repo_config import RepoConfig

    path = repo_path / CONFIGURATIONS[stores.column]
    try:
        # Filled in after reading: an address may hold what YAML takes for its own.
        config = RepoConfig(**_filled(yaml.safe_load(path.read_text(encoding="utf-8")), _addresses(layout, stores)))
        config.repo_path = repo_path
    except Exception as error:
        raise FeatureStoreError(
            f"{path} is no usable Feast configuration: {one_line(error)}; {remedy_of(error, 'correct it')}"
        ) from error
    return config


def _addresses(layout: Layout, stores: FeatureStores) -> dict[str, str]:
    found = {
        "SHADOW_HOME": str(layout.home),
        "REDIS_URL": stores.redis_url,
        "POSTGRES_URL": _with_driver(stores.postgres_url),
        "FEATURES_URL": stores.features_url,
        "RAY_ADDRESS": stores.ray_address,
    }
    return {name: address for name, address in found.items() if address is not None}


def _with_driver(postgres_url: str | None) -> str | None:
    """The URL with the driver that Feast would choose; it warns when it must choose."""
    if postgres_url is None or not postgres_url.startswith(_POSTGRES):
        return postgres_url
    return _POSTGRES_3 + postgres_url.removeprefix(_POSTGRES)


def _filled(found: Any, addresses: dict[str, str]) -> Any:
    if isinstance(found, dict):
        return {key: _filled(value, addresses) for key, value in found.items()}
    if isinstance(found, list):
        return [_filled(value, addresses) for value in found]
    return Template(found).safe_substitute(addresses) if isinstance(found, str) else found
