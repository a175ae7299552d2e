"""A home of use case ``tiny`` with three versions, one of them older than cards, and a run that was archived.

Upstream: registry, bundles, lake, deployment. Downstream: tests of ``shadow models``.
"""

import base64
import json
from pathlib import Path
from typing import Any

from shadow_platform.contracts.tables import GATE_DECISIONS, MODEL_EXPERIMENTS, PREDICTIONS, TableSchema
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import USE_CASE
from shadow_platform_tests.trained import AS_OF, make_bundle, make_frame, make_manifest
from shadow_platform_tests.versions import AT, make_card, make_frame_record

ADDRESS = "shadow_platform_tests.tiny:USE_CASE"
WEAK = "roc_auc 0.51 is below 0.55"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
OLD, CARDED, CHALLENGER = "1", "2", "3"


class VersionsHome:
    """Version 1 was champion until version 2 was promoted; version 3 shadows it."""

    def __init__(self, home: Path) -> None:
        self.platform = PlatformResource(shadow_home=str(home))
        self.layout = self.platform.layout
        self.registry = self.platform.registry()
        self.runs: dict[str, str] = {}
        lake = self.platform.lake()
        record = make_frame_record()
        lake.write_frame(USE_CASE, make_frame(50), record)
        self._register(OLD, {}, has_card=False, pictures=("roc",))
        self._register(CARDED, {"metrics": {"roc_auc": 0.8, "log_loss": 0.4}, "parameters": {"C": 2.0}})
        self._register(CHALLENGER, {"metrics": {"roc_auc": 0.79, "log_loss": 0.45}, "model_name": "trees"}, pictures=())
        self._change("deploy_initial", OLD, "first")
        self._change("add_challenger", CARDED, "newest")
        self._change("promote", CARDED, "better", evidence_id="decision-1")
        self._change("add_challenger", CHALLENGER, "newest")
        lake.append_rows(MODEL_EXPERIMENTS, USE_CASE, [self._archived()])
        lake.append_rows(GATE_DECISIONS, USE_CASE, [self._decision()])
        answers = [_row(PREDICTIONS, **_answer(n)) for n in range(3)]
        lake.append_rows(PREDICTIONS, USE_CASE, answers)

    def run_of(self, version: str, *pictures: str) -> str:
        """Id of a new MLflow run that holds pictures."""
        client = self.registry._client
        experiment = client.get_experiment_by_name(self.registry.experiment(USE_CASE.name))
        assert experiment is not None
        run_id = str(client.create_run(experiment.experiment_id, tags={"dagster_run_id": "d1"}).info.run_id)
        folder = self.layout.home / "pictures" / version
        folder.mkdir(parents=True)
        for name in pictures:
            (folder / f"{name}.png").write_bytes(PNG)
            client.log_artifact(run_id, str(folder / f"{name}.png"), "plots")
        client.set_terminated(run_id, "FINISHED")
        return run_id

    def _register(
        self, version: str, changes: dict[str, Any], has_card: bool = True, pictures: tuple[str, ...] = ("roc", "gain")
    ) -> None:
        card = make_card(make_manifest(**changes))
        documents = {"card.json": card.model_dump_json().encode(), "card.html": b"<html></html>"} if has_card else {}
        _, folder = make_bundle(self.layout.bundles, documents, **changes)
        self.runs[version] = self.run_of(version, *pictures)
        tags = {
            "role": "champion",
            "trigger": "drift" if version == CHALLENGER else "bootstrap",
            "trained_as_of": AS_OF.isoformat(),
            "partitions_fingerprint": "p",
            "git_commit": "0123abcd",
        }
        assert self.registry.register(USE_CASE.name, folder, self.runs[version], tags).version == version

    def _change(self, name: Any, version: str, reason: str, **arguments: Any) -> None:
        self.platform.deploy(USE_CASE, name, version=version, actor="tester", reason=reason, **arguments)

    def _archived(self) -> dict[str, Any]:
        return _row(
            MODEL_EXPERIMENTS,
            run_id="feedbeef0000",
            model_name="line",
            trained_at=AT,
            trained_as_of=AS_OF,
            is_registered=False,
            archived_reason=WEAK,
            trigger="schedule",
            metrics=json.dumps({"roc_auc": 0.51}),
        )

    def _decision(self) -> dict[str, Any]:
        return _row(
            GATE_DECISIONS,
            decision_id="decision-1",
            champion_version=OLD,
            challenger_version=CARDED,
            as_of=AT,
            decision="promote",
            reason="certain gain",
            decided_at=AT,
        )


def _answer(n: int) -> dict[str, Any]:
    return {
        "request_id": f"r{n}",
        "subject_id": f"s{n}",
        "requested_at": AT,
        "model_version": CARDED,
        "variant": "canary" if n == 2 else "champion",
    }


def _row(schema: TableSchema, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(schema.column_names), "use_case": USE_CASE.name, **values}
