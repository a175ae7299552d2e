"""Two files of feature rows without drift between them."""

from pathlib import Path

import pytest

from shadow_platform_tests.domain.drift.frames import frame


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Parquet file of sixty days and a CSV file of four weeks."""
    folder = tmp_path_factory.mktemp("files")
    reference, current = folder / "reference.parquet", folder / "current.csv"
    frame(3_000, 1, n_days=60).to_parquet(reference)
    frame(3_000, 2).to_csv(current, index=False)
    return reference, current
