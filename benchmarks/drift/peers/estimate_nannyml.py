"""nannyml's own estimates on the car-loan data that comes with it, and the data, for a comparison value by value.

Belongs here: what only nannyml's environment can do. Upstream: nannyml. Downstream: ``estimation``.
"""

import json
import sys
from pathlib import Path

import nannyml

METRICS = ("roc_auc", "f1", "accuracy", "precision", "recall")
CHUNK_ROWS = 5_000


def main(folder: Path) -> None:
    """Write the data as Parquet; print estimated and realised metrics of every chunk."""
    reference, analysis, targets = nannyml.load_synthetic_car_loan_dataset()
    analysis = analysis.merge(targets, on="id")
    columns = ["y_pred_proba", "y_pred", "repaid"]
    reference[columns].astype(float).to_parquet(folder / "reference.parquet", index=False)
    analysis[columns].astype(float).to_parquet(folder / "analysis.parquet", index=False)
    found = {}
    for name, calculator in (("estimated", nannyml.CBPE), ("realised", nannyml.PerformanceCalculator)):
        made = calculator(
            y_true="repaid",
            y_pred="y_pred",
            y_pred_proba="y_pred_proba",
            problem_type="classification_binary",
            metrics=list(METRICS),
            chunk_size=CHUNK_ROWS,
        ).fit(reference)
        result = made.estimate(analysis) if name == "estimated" else made.calculate(analysis)
        frame = result.filter(period="analysis").to_df()
        found[name] = {metric: frame[metric, "value"].tolist() for metric in METRICS}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
