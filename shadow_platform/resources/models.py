"""Models: bundles, estimators, how one is trained and what it is made of.

Upstream: ``home``, adapters. Downstream: ``PlatformResource``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import dagster as dg

from shadow_platform.contracts.lineage import CodeState
from shadow_platform.contracts.models import Estimator
from shadow_platform.contracts.use_case import Build, Choice, Derivation, Parameter, Range, UseCase
from shadow_platform.resources.deployments import Deployments

if TYPE_CHECKING:
    from shadow_platform.adapters.bundle import Bundle, BundleStore
    from shadow_platform.adapters.search import SearchResult
    from shadow_platform.adapters.tracking import TrainingRun


class Models(Deployments):
    """Bundles, estimators and training."""

    def bundle(self, use_case: UseCase, version: str) -> "Bundle":
        """Bundle of a registered version, verified."""
        from shadow_platform.adapters.bundle import Bundle

        return Bundle.load(self.registry().fetch_bundle(use_case.name, version, self.layout.bundles))

    def bundles(self) -> "BundleStore":
        """Bundles of this home."""
        from shadow_platform.adapters.bundle import BundleStore

        return BundleStore(self.layout.bundles)

    def estimator(self, use_case: UseCase, version: str) -> Estimator:
        """Scikit-learn model behind a version, for a look inside; nothing serves it."""
        from shadow_platform.adapters.estimators import run_estimator

        return run_estimator(self.settings.mlflow_uri, self.registry().get(use_case.name, version).run_id)

    def export_onnx(self, estimator: Any, n_inputs: int) -> bytes:
        """ONNX model of a fitted estimator."""
        from shadow_platform.adapters.onnx_export import export_onnx

        return export_onnx(estimator, n_inputs)

    def search_parameters(
        self,
        losses: Callable[[Mapping[str, Parameter]], Iterator[float]],
        space: Mapping[str, Range | Choice],
        defaults: Mapping[str, Parameter],
        **budget: Any,
    ) -> "SearchResult":
        """Best of the hyperparameters tried; arguments as ``adapters.search``."""
        from shadow_platform.adapters.search import search

        return search(losses, space, defaults, **budget)

    def code(self, sources: Sequence[str], build: Build, derivations: Sequence[Derivation] = ()) -> dict[str, Any]:
        """Digests of files and folders of the platform, and what a builder and derivations do and captured."""
        from shadow_platform.adapters.code_state import described, source_digest

        code = {"sources": {path: source_digest(path) for path in sources}, "build": described(build)}
        return code | ({"derivations": described(derivations)} if derivations else {})

    def environment(self, estimator: Any) -> dict[str, str]:
        """Versions of Python and of the packages that make an estimator of this family and its bundle; kernels."""
        from shadow_platform.adapters.code_state import environment
        from shadow_platform.adapters.threads import blas_kernels

        return {**environment(estimator), "blas": blas_kernels()}

    def one_blas_thread(self) -> AbstractContextManager[object]:
        """Within it, linear algebra gives the same digits on every number of cores."""
        from shadow_platform.adapters.threads import one_blas_thread

        return one_blas_thread()

    def code_state(self) -> CodeState:
        """Commit, lock and packages of the program that runs."""
        from shadow_platform.adapters.code_state import code_state

        return code_state()

    def training_run(
        self, context: dg.AssetExecutionContext, use_case: UseCase, tags: Mapping[str, str]
    ) -> "AbstractContextManager[TrainingRun]":
        """MLflow run of the step, closed by the step's outcome."""
        from shadow_platform.adapters.tracking import training_run

        experiment = self.registry().experiment(use_case.name)
        return training_run(context, self.settings.mlflow_uri, experiment, tags)
