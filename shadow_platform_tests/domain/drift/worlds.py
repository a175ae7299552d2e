"""Shop requests and a model with known truth, for tests of where a shift comes from.

Upstream: numpy. Downstream: tests of attribution and segments.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.use_case import Feature

FEATURES = (
    Feature("visits", "visits a week"),
    Feature("spent", "money spent"),
    Feature("age", "years"),
    Feature("idle", "the model does not look at it"),
    Feature("region", "where", kind="categorical"),
    Feature("plan", "what", kind="categorical"),
)
NAMES = tuple(feature.name for feature in FEATURES)
REGIONS, PLANS = ("north", "south", "west", "öst"), ("basic", "plus")


def predict(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """A model with an interaction of three: visits, spent and region."""
    x = matrix.astype(np.float64)
    logit = 0.9 * x[:, 0] - 0.5 * x[:, 1] + 0.2 * x[:, 2] + 0.3 * x[:, 0] * x[:, 1] * (x[:, 4] == 1) + 0.1 * x[:, 5]
    probability: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logit))
    return probability


def encode(rows: pd.DataFrame) -> npt.NDArray[np.float32]:
    """The rows as the model sees them."""
    codes = rows.assign(
        region=rows["region"].map({name: i for i, name in enumerate(REGIONS, start=1)}),
        plan=rows["plan"].map({name: i for i, name in enumerate(PLANS, start=1)}),
    )
    return codes[list(NAMES)].astype(np.float64).fillna(0.0).to_numpy(np.float32)


def requests(n: int, seed: int, fall_in_north: float = 0.0, fall: float = 0.0) -> pd.DataFrame:
    """Scored requests; visits fall by so much, everywhere or in the north alone."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.standard_normal((n, 4)), columns=list(NAMES[:4]))
    rows["region"] = rng.choice(np.array(REGIONS, dtype=object), n, p=[0.25, 0.4, 0.25, 0.1])
    rows["plan"] = rng.choice(np.array(PLANS, dtype=object), n)
    rows["visits"] -= fall + fall_in_north * (rows["region"] == "north")
    return rows.assign(score=predict(encode(rows)))
