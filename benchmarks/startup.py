"""How long starting takes: imports and the load of the code location, against importing the tools up front.

Run from the root of the repository: ``python -m benchmarks.startup``. Each figure is the median of three fresh
interpreters. Upstream: definitions. Downstream: docs/benchmarks.md.
"""

import subprocess
import sys
import time

ROUNDS = 3
STATEMENTS = {
    "nothing": "pass",
    "import shadow_platform": "import shadow_platform",
    "shadow --help": "import sys; sys.argv = ['shadow', '--help']; from shadow_platform.cli import app; app()",
    "load the code location": "import shadow_platform.definitions",
    "load it with Feast, MLflow, Evidently, BentoML": (
        "import feast, mlflow, evidently, bentoml, shadow_platform.definitions"
    ),
}


def main() -> None:
    """Print seconds and ratios to an empty interpreter."""
    seconds: dict[str, list[float]] = {title: [] for title in STATEMENTS}
    for _ in range(ROUNDS):
        for title, statement in STATEMENTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-W", "ignore", "-c", statement], check=False, capture_output=True)
            seconds[title].append(time.perf_counter() - began)
    load = sorted(seconds["load the code location"])[ROUNDS // 2]
    for title, values in seconds.items():
        median = sorted(values)[ROUNDS // 2]
        print(f"{title:<48}{median:7.2f} s {median / load:7.2f} x the code location")


if __name__ == "__main__":
    main()
