"""What is told of a training: to MLflow, to the model tables, to the Dagster UI.

Belongs here: the form in which a made model is accounted for. Does not belong here: making, judging, registering it.
Upstream: ``model``. Downstream: MLflow's UI, ``model_experiments``, ``model_versions``, ``model_metrics``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from shadow_platform.assets.training.making import Made
from shadow_platform.contracts.lineage import CodeState
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.tracking import TrainingRun

SHOWN_HASH = 12


@dataclass(frozen=True, slots=True)
class Account:
    """A training that has ended.

    Attributes:
        registered: the version it became; ``None``: it was archived.
        training_s: seconds from the frame to the judged model.
    """

    made: Made
    run_id: str
    role: str
    trigger: str
    trained_at: datetime
    training_s: float
    registered: RegisteredVersion | None


def provenance_tags(made: Made, partitions_fingerprint: str, code: CodeState) -> dict[str, str]:
    """What the bundle itself must not hold, because it may differ between two makings of the same model."""
    tags = {
        "trained_as_of": made.recipe.as_of.isoformat(),
        "partitions_fingerprint": partitions_fingerprint,
        "git_commit": code.git_commit,
        "git_is_dirty": None if code.is_dirty is None else str(code.is_dirty).lower(),
        "lock_sha256": code.lock_sha256,
    }
    return {name: text for name, text in tags.items() if text}


def log_run(platform: PlatformResource, run: "TrainingRun", made: Made, tags: Mapping[str, str]) -> str | None:
    """Parameters, metrics, pictures, card and the fitted model in the step's MLflow run; why not the last, if not."""
    manifest = made.manifest
    run.log_params(
        {
            "model": manifest.model_name,
            "seed": manifest.seed,
            "n_train": manifest.n_train,
            "n_evaluation": manifest.n_evaluation,
            **tags,
            **_configuration(made.trained.estimator),
        }
    )
    run.log_metrics({**manifest.metrics, "parity_max_abs_diff": manifest.parity.max_abs_diff})
    fingerprints = {f"fingerprint.{name}": value for name, value in manifest.fingerprints.items()}
    run.set_tags({**tags, **fingerprints, "archived_reason": made.archived_reason or ""})
    for name, png in made.pictures.items():
        run.log_png(name, png)
    for name, content in platform.card_documents(made.card, made.pictures).items():
        run.log_file(name, content)
    run.log_json("bundle.json", manifest.model_dump(mode="json"))
    return run.log_model(made.trained.estimator)


def _configuration(estimator: Any) -> dict[str, Any]:
    """Plain hyperparameters of the estimator and its parts, those it was not asked for included."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    plain = {name: value for name, value in parameters.items() if isinstance(value, str | int | float | bool)}
    return {f"estimator.{name}": value for name, value in plain.items()}


def experiment_row(use_case: UseCase, account: Account) -> dict[str, Any]:
    """Row of ``model_experiments``."""
    made, registered = account.made, account.registered
    return {
        "use_case": use_case.name,
        "run_id": account.run_id,
        "model_name": made.manifest.model_name,
        "trained_at": account.trained_at,
        "trained_as_of": made.recipe.as_of,
        "is_registered": registered is not None,
        "version": registered.version if registered else None,
        "archived_reason": made.archived_reason,
        "trigger": account.trigger,
        "metrics": _json(made.manifest.metrics),
        "parameters": _json(made.manifest.parameters),
        "fingerprints": _json(made.manifest.fingerprints),
        "frame_rows": len(made.frame),
        "training_s": account.training_s,
    }


def version_row(use_case: UseCase, made: Made, registered: RegisteredVersion) -> dict[str, Any]:
    """Row of ``model_versions``."""
    return {
        "use_case": use_case.name,
        "version": registered.version,
        "model_name": registered.model_name,
        "bundle_hash": registered.bundle_hash,
        "run_id": registered.run_id,
        "created_at": registered.created_at,
        "trained_as_of": made.recipe.as_of,
        "metrics": _json(made.manifest.metrics),
        "parameters": _json(made.manifest.parameters),
        "fingerprints": _json(made.manifest.fingerprints),
    }


def metric_rows(use_case: UseCase, account: Account) -> list[dict[str, Any]]:
    """Rows of ``model_metrics``."""
    return [
        {
            "use_case": use_case.name,
            "run_id": account.run_id,
            "trained_at": account.trained_at,
            "segment_feature": segment.feature or "",
            "segment_level": segment.level or "",
            "n": segment.n,
            "n_positive": segment.n_positive,
            "metric": name,
            "value": metric.value,
            "low": metric.low,
            "high": metric.high,
        }
        for segment in account.made.card.segments
        for name, metric in segment.metrics.items()
    ]


def metadata_of(use_case: UseCase, account: Account, card: Path | None) -> dict[str, Any]:
    """What the Dagster UI shows of the asset.

    Args:
        card: page of the model card, if the model became a version.
    """
    names = ["metric", "value", f"{use_case.training.confidence:.0%} from", "to"]
    made, registered = account.made, account.registered
    overall = made.card.segments[0]
    return {
        "model": made.manifest.model_name,
        "version": registered.version if registered else f"archived: {made.archived_reason}",
        "bundle_hash": registered.bundle_hash if registered else "",
        "mlflow_run_id": account.run_id,
        "trained_as_of": made.recipe.as_of.isoformat(),
        "trigger": account.trigger,
        "frame": made.recipe.frame,
        **made.manifest.metrics,
        "metrics": dg.MetadataValue.md(_table(names, _metric_cells(overall.metrics))),
        "quality": dg.MetadataValue.md(
            _table(["limit", "outcome", "reason"], [[c.name, c.outcome, c.reason] for c in made.card.quality])
        ),
        "parameters": dg.MetadataValue.json(dict(made.manifest.parameters)),
        "fingerprints": dg.MetadataValue.md(
            _table(["of", "fingerprint"], [[name, v[:SHOWN_HASH]] for name, v in made.manifest.fingerprints.items()])
        ),
        "plots": dg.MetadataValue.md(made.markdown),
        **({"card": dg.MetadataValue.path(card)} if card else {}),
    }


def _metric_cells(metrics: Mapping[str, Any]) -> list[list[str]]:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    return [[name, shown(metric.value), shown(metric.low), shown(metric.high)] for name, metric in metrics.items()]


def _table(names: list[str], rows: list[list[Any]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _json(value: Mapping[str, Any]) -> str:
    """JSON without NaN, which JSON does not know."""
    return json.dumps({name: None if isinstance(v, float) and math.isnan(v) else v for name, v in value.items()})
