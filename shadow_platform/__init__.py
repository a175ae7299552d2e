"""Shadow Platform: replace tabular models in production safely, on evidence.

Nothing lives here but the version and the switches of the tools we start: none phones home.
"""

import os

__version__ = "0.1.0"

# Read by the tools at import time, so they must stand before any of them is imported.
for _switch, _off in {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "GIT_PYTHON_REFRESH": "quiet",
    # Read at import too. On two cores busy with other work, threads that spin made one fit take 29 s instead of 1.5 s.
    "OMP_WAIT_POLICY": "PASSIVE",
}.items():
    os.environ.setdefault(_switch, _off)
