"""Versions as the commands ask for them: by number or alias, with all that bundles, frames and tables say of them.

Belongs here: the one place that resolves what a person calls a version, and gathers its details. Does not belong here:
what they mean (``domain.versions``), how they are shown. Upstream: resources. Downstream: the modules of this package.
"""

from typing import Any

from shadow_platform.adapters.training_runs import TrainingRuns
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.tables import GATE_DECISIONS, MODEL_EXPERIMENTS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.versions import RunRecord, ServiceRecord, VersionDetails, VersionSummary
from shadow_platform.domain import versions
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

CARD_FILES = ("card.html", "card.json")
# Which making of the frame the version was trained on; the same content may have come about twice.
PARTITIONS_TAG = "partitions_fingerprint"
_SERVICE = """
SELECT
    variant,
    count(*) AS n_predictions,
    count(DISTINCT requested_at::DATE) AS n_days,
    min(requested_at) AS first_at,
    max(requested_at) AS last_at
FROM predictions
WHERE use_case = $use_case AND model_version = $version
GROUP BY variant
ORDER BY variant
"""


class Versions:
    """Trained models of one use case.

    Args:
        use_case: name, or ``package.module:ATTRIBUTE``.
    """

    def __init__(self, use_case: str) -> None:
        self.platform = PlatformResource()
        self.use_case: UseCase = load_use_case(use_case)

    @property
    def looked_at(self) -> str:
        """Where was looked, for an answer that found nothing there."""
        return f"{self.use_case.name} in {self.platform.layout.home}"

    def number(self, named: str) -> str:
        """Version that a number or an alias names; raises ``RegistryError`` for an alias that points nowhere."""
        if named.isdecimal():
            return versions.parse_number(named)
        found = self.platform.registry().alias(self.use_case.name, named)
        if found is None:
            raise RegistryError(
                f"{named!r} names no version of {self.use_case.name}; expected a number, or an alias that points to "
                "one, such as champion; `shadow models list` shows both"
            )
        return found

    def summary(self, named: str) -> VersionSummary:
        """What the registry says of one version."""
        return versions.summary_of_version(self.platform.registry().get(self.use_case.name, self.number(named)))

    def registered(self, limit: int | None = None) -> list[VersionSummary]:
        """Versions, newest first: at most so many, or all."""
        registry, name = self.platform.registry(), self.use_case.name
        found = registry.versions(name)[::-1] if limit is None else registry.newest(name, limit)
        return [versions.summary_of_version(version) for version in found]

    def archived(self) -> list[VersionSummary]:
        """Training runs that did not become a version, newest first."""
        rows = self.platform.lake().read_table(MODEL_EXPERIMENTS, self.use_case)
        rows = rows[~rows["is_registered"].astype(bool)].sort_values("trained_at", ascending=False)
        return [
            versions.summary_of_experiment({str(name): value for name, value in row.items()})
            for row in rows.to_dict("records")
        ]

    def details(self, summary: VersionSummary) -> VersionDetails:
        """Bundle, card and frame record of a registered version; raises ``BundleError`` when its bundle is unusable."""
        bundle = self.platform.bundle(self.use_case, str(summary.version))
        return VersionDetails(
            summary=summary,
            manifest=bundle.manifest,
            card=bundle.card(),
            frame=self.platform.lake().frame_record(
                self.use_case, bundle.manifest.fingerprints.get("data", ""), summary.tags.get(PARTITIONS_TAG)
            ),
        )

    def paths(self, details: VersionDetails) -> dict[str, str]:
        """Where the files of a version lie: bundle, card, frame; only those that are there."""
        layout, summary = self.platform.layout, details.summary
        folder = layout.bundles / str(summary.bundle_hash)
        frame = layout.frame(self.use_case.name, details.manifest.fingerprints.get("data", ""))
        files = {"bundle": folder, **{name: folder / name for name in CARD_FILES}, "frame": frame}
        return {name: str(path) for name, path in files.items() if path.exists()}

    def run(self, summary: VersionSummary) -> RunRecord | None:
        """MLflow run that trained a version; ``None`` when it is gone."""
        return TrainingRuns(self.platform.settings.mlflow_uri).record(summary.run_id)

    def pictures(self, summary: VersionSummary) -> dict[str, bytes]:
        """PNG pictures of a version's training by name; none when they are gone."""
        return TrainingRuns(self.platform.settings.mlflow_uri).pictures(summary.run_id)

    def transitions(self, version: str | None, alias: str | None = None) -> list[dict[str, Any]]:
        """Changes of aliases that name a version, of one alias, or all of them, oldest first.

        Raises:
            RegistryError: neither they nor the registry know of the version, or they not of the alias.
        """
        every = self.platform.transitions(self.use_case)
        named = [row for row in every if version is None or version in (row["from_version"], row["to_version"])]
        if version is not None and not named:
            # A version that was deleted has a history all the same; one that nobody knows has none.
            self.platform.registry().get(self.use_case.name, version)
        known = sorted({row["alias"] for row in every})
        if alias is not None and alias not in known:
            raise RegistryError(
                f"no version of {self.use_case.name} ever had the alias {alias!r}, only "
                f"{', '.join(known) or 'none at all'}; correct the alias, or leave it out"
            )
        return [row for row in named if alias is None or row["alias"] == alias]

    def decisions(self, version: str) -> list[dict[str, Any]]:
        """Decisions of the gate that name a version, oldest first."""
        names = [column for column in GATE_DECISIONS.column_names if column not in {"criteria", "fingerprints"}]
        rows = self.platform.lake().read_table(GATE_DECISIONS, self.use_case, columns=names)
        is_named = rows["champion_version"].eq(version) | rows["challenger_version"].eq(version)
        found = rows[is_named].sort_values("as_of").to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in found]

    def service(self, version: str) -> list[ServiceRecord]:
        """What a version answered, by variant."""
        names = {"use_case": self.use_case.name, "version": version}
        rows = self.platform.lake().sql(_SERVICE, names).to_dict("records")
        return [ServiceRecord.model_validate(row) for row in rows]
