"""Explanations: what they say, and that they end in time and alone, whatever the model or the process does."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import comb
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pandas as pd
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper
from prometheus_client import CollectorRegistry

from bento.answering.features import RequestFeatures
from bento.answering.metrics import ServiceMetrics
from bento.answering.models import ModelWatcher
from bento.answering.online import OnlineReader
from bento.answering.predictor import RequestHeaders
from bento.explaining.explain import MAX_WAITING, Explainer
from bento.explaining.explain_process import N_BACKGROUND, READY, Explanations
from bento.http import ProblemError
from bento.package import import_path
from shadow_platform.adapters.bundle import Bundle, write_bundle
from shadow_platform.contracts.bundle import NumericInput
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, hanging_bundle, line_bundle, raising_bundle
from shadow_platform_tests.bento.conftest import Shop
from shadow_platform_tests.bento.helpers import deploy, explained, predictions, ticks, wait_until
from shadow_platform_tests.deriving import USE_CASE as DERIVING
from shadow_platform_tests.tiny import USE_CASE as TINY

ENDLESS = 2_000_000_000
CART = {"visit_id": "v-1", "cart_value": 80.0, "channel": "shop"}


@contextmanager
def explainer(
    home: Path,
    bundle: Callable[[Path], str] = line_bundle,
    timeout_ms: float = 150_000.0,
    use_case: UseCase = shop.USE_CASE,
    online: OnlineReader | None = None,
) -> Iterator[Explainer]:
    """An explainer of the champion, ended with its process."""
    layout = Layout(home)
    deploy(layout, bundle(layout.bundles))
    if use_case.name != "shop":
        layout.manifest("shop").rename(layout.manifest(use_case.name))
    models = ModelWatcher(layout, use_case.name)
    assert models.refresh(), models.reason
    contract = RequestContract(use_case)
    features = RequestFeatures(contract, online, ServiceMetrics(CollectorRegistry()))
    found = Explainer(models, contract, features, timeout_ms)
    try:
        yield found
    finally:
        found.stop()


def ask(found: Explainer, body: dict[str, Any], top: int = 5) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(asyncio.run(found.explain(orjson.dumps(body), RequestHeaders(), top)))
    return answer


def total(answer: dict[str, Any]) -> float:
    return float(answer["base_value"] + sum(c["contribution"] for c in answer["contributions"]) + answer["others"])


def refusal(found: Explainer, body: bytes = orjson.dumps(CART)) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        asyncio.run(found.explain(body, RequestHeaders()))
    return caught.value


def test_base_contributions_and_others_add_up_to_the_probability_the_champion_answers(tmp_path: Path) -> None:
    with explainer(tmp_path) as found:
        answer = ask(found, CART, top=1)

    layout = Layout(tmp_path)
    bundle = Bundle.load(next(layout.bundles.iterdir()))
    assert answer["purchase_probability"] == pytest.approx(bundle.predict(bundle.encode([CART])[0])[0], abs=1e-6)
    assert total(answer) == pytest.approx(answer["purchase_probability"], abs=1e-6)
    assert [c["feature"] for c in answer["contributions"]] == ["cart_value"]
    assert answer["others"] != 0.0
    assert (answer["visit_id"], answer["model_version"], answer["is_truncated"]) == ("v-1", "1", False)
    assert answer["method"] in {"permutation-sampling", "shap-exact"}
    assert datetime.fromisoformat(answer["timestamp"]).tzinfo is not None


def test_numbers_categories_and_missing_values_are_named_with_the_value_the_model_saw(tmp_path: Path) -> None:
    with explainer(tmp_path) as found:
        full, empty = ask(found, CART), ask(found, {"visit_id": "v"})

    def told(answer: dict[str, Any]) -> set[tuple[Any, ...]]:
        return {(c["feature"], c["value"], c["source"]) for c in answer["contributions"]}

    assert told(full) == {("cart_value", 80.0, "request"), ("channel", "shop", "request")}
    assert told(empty) == {("cart_value", 50.0, "imputed"), ("channel", None, "imputed")}
    for answer in (full, empty):
        assert total(answer) == pytest.approx(answer["purchase_probability"], abs=1e-6)


def test_features_of_the_store_are_explained_too(tmp_path: Path) -> None:
    class Store:
        def read(self, entities: Any) -> list[dict[str, OnlineRow]]:
            row = OnlineRow({"visits_7d": 5.0}, datetime.now(UTC) - timedelta(hours=1))
            return [{"visitor_history": row} for _ in entities]

    wide = write_wide(("cart_value", "visits_7d", "purchases_7d"))
    with explainer(tmp_path, wide, use_case=TINY, online=OnlineReader(Store, timeout_s=60.0)) as found:
        answer = ask(found, {"visit_id": "v", "visitor_id": "visitor-01", "cart_value": 1.0})

    assert {c["feature"]: c["source"] for c in answer["contributions"]} == {
        "cart_value": "request",
        "visits_7d": "online",
        "purchases_7d": "imputed",
    }


def test_derived_features_are_explained_as_such(tmp_path: Path) -> None:
    with explainer(tmp_path, write_wide(("cart_value", "cart_per_visit")), use_case=DERIVING) as found:
        full, empty = ask(found, {**CART, "visits_7d": 4.0}), ask(found, CART)

    assert {(c["feature"], c["value"], c["source"]) for c in full["contributions"]} == {
        ("cart_value", 80.0, "request"),
        ("cart_per_visit", 20.0, "derived"),
    }
    assert {c["feature"]: c["source"] for c in empty["contributions"]} == {
        "cart_value": "request",
        "cart_per_visit": "imputed",
    }


def test_a_request_is_refused_as_the_predictor_refuses_it(tmp_path: Path) -> None:
    with explainer(tmp_path) as found:
        assert refusal(found, b"{").slug == "not-json"
        invalid = refusal(found, b'{"cart_value": -1, "nothing": 2}')
        assert invalid.status == 422
        assert {error["field"] for error in invalid.errors or []} == {"visit_id", "cart_value", "nothing"}
        assert found.process.pid is None
        (tmp_path / "empty").mkdir()
        found._models = ModelWatcher(Layout(tmp_path / "empty"), "shop")
        assert refusal(found).slug == "not-ready"


def write_wide(names: tuple[str, ...]) -> Callable[[Path], str]:
    """A bundle of a logistic regression on these inputs, with more background than is used."""
    rng = np.random.default_rng(3)
    weights = np.column_stack([np.zeros(len(names)), rng.normal(size=len(names))]).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("Softmax", ["product"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", len(names)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    reference = pd.DataFrame(rng.normal(size=(3 * N_BACKGROUND, len(names))), columns=list(names))
    reference = reference.assign(score=0.5, requested_at=datetime(2024, 1, 31, tzinfo=UTC))

    def write(parent: Path) -> str:
        known = Bundle.load(parent / line_bundle(parent)).manifest
        inputs = tuple(NumericInput(name=name, imputed=0.5) for name in names)
        manifest = known.model_copy(update={"inputs": inputs})
        return write_bundle(parent, manifest, model.SerializeToString(), reference, [])[0]

    return write


def shapley(bundle: Bundle, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Exact values by all coalitions, from one call of the model."""
    n = len(row)
    is_in = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 > 0
    mixed = np.where(is_in[:, None, :], row, background).reshape(-1, n).astype(np.float32)
    values = bundle.predict(mixed).reshape(2**n, -1).mean(axis=1)
    size = is_in.sum(axis=1)
    found = np.zeros(n)
    for place in range(n):
        without = np.flatnonzero(~is_in[:, place])
        weights = np.array([1.0 / (n * comb(n - 1, int(size[i]))) for i in without])
        found[place] = np.sum(weights * (values[without + 2**place] - values[without]))
    return found


@contextmanager
def explaining_in_haste() -> Iterator[Connection]:
    """The pipe of an explaining process that lets nobody go first: shap takes it seconds of work, or many."""
    script = "import sys, bento.explaining.explain_process as own; own.NICENESS = 0; own.main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
    ours, theirs = Pipe()
    with ours, theirs:
        descriptor = theirs.fileno()
        command = [sys.executable, "-c", script, str(descriptor)]
        with subprocess.Popen(command, env=environment, pass_fds=[descriptor]) as process:
            theirs.close()
            try:
                assert ours.recv_bytes() == READY
                yield ours
            finally:
                process.kill()


def told_by(pipe: Connection, model: Bundle, values: dict[str, float]) -> dict[str, Any]:
    """What an explaining process says of one row."""
    pipe.send_bytes(orjson.dumps({"bundle": str(model.folder), "values": values, "budget_s": 600.0}))
    answer: dict[str, Any] = orjson.loads(pipe.recv_bytes())
    return answer


@pytest.mark.timeout(400)
def test_shap_and_sampling_agree_with_the_exact_values_and_name_themselves(tmp_path: Path) -> None:
    names = tuple(f"x{place}" for place in range(10))
    bundle = Bundle.load(tmp_path / write_wide(names)(tmp_path))
    few = Bundle.load(tmp_path / write_wide(names[:4])(tmp_path))
    values = {name: 1.5 - place / 4 for place, name in enumerate(names)}
    found = dict[str, tuple[Bundle, dict[str, Any]]]()
    with explaining_in_haste() as pipe:
        for _ in ticks(300.0, pause_s=1.0):
            answer = told_by(pipe, bundle, values)
            found[answer["method"]] = bundle, answer
            if "shap-permutation" in found:
                break
        answer = told_by(pipe, few, values)
        found[answer["method"]] = few, answer
    assert found.keys() == {"permutation-sampling", "shap-permutation", "shap-exact"}
    for method, (model, answer) in found.items():
        sample = model.reference().sample(N_BACKGROUND, random_state=0)
        expected = shapley(model, model.encode([values])[0][0], model.encode_frame(sample)[0])
        np.testing.assert_allclose(answer["contributions"], expected, rtol=0, atol=0.02, err_msg=method)
        assert answer["base_value"] + sum(answer["contributions"]) == pytest.approx(answer["probability"], abs=1e-6)
    np.testing.assert_allclose(found["shap-exact"][1]["contributions"], expected, rtol=0, atol=1e-6)


def test_an_explanation_that_runs_out_of_time_is_an_estimate_that_says_so(tmp_path: Path) -> None:
    names = tuple(f"x{place}" for place in range(6))
    folder = str(tmp_path / write_wide(names)(tmp_path))

    def explain(budget_s: float) -> dict[str, Any]:
        message = {"bundle": folder, "values": dict.fromkeys(names, 1.0), "budget_s": budget_s}
        answer: dict[str, Any] = orjson.loads(Explanations().answer(orjson.dumps(message)))
        return answer

    short, full = explain(0.0), explain(600.0)
    assert (short["is_truncated"], full["is_truncated"]) == (True, False)
    assert short["n_evaluations"] < full["n_evaluations"]
    for answer in (short, full):
        assert answer["base_value"] + sum(answer["contributions"]) == pytest.approx(answer["probability"], abs=1e-6)
    assert explain(600.0) == full


def test_a_model_that_hangs_is_given_up_at_the_time_limit_and_the_next_request_is_explained(tmp_path: Path) -> None:
    with explainer(tmp_path, hanging_bundle) as found:
        ask(found, CART)
        hung, patience_s = found.process.pid, found._timeout_s
        assert hung is not None
        found._timeout_s = 3.0
        assert refusal(found, orjson.dumps({**CART, "cart_value": FAILS_ABOVE + 1})).slug == "explanation-unavailable"
        assert not psutil.pid_exists(hung)
        found._timeout_s = patience_s
        ask(found, CART)
        assert found.process.pid not in {None, hung}


def test_a_request_whose_time_is_nearly_used_up_is_not_passed_on_to_a_process_that_would_be_ended_for_it(
    tmp_path: Path,
) -> None:
    with explainer(tmp_path, hanging_bundle) as found:
        ask(found, CART)
        pid, folder = found.process.pid, next(path for path in Layout(tmp_path).bundles.iterdir())
        message = {"bundle": str(folder), "values": {**CART, "cart_value": FAILS_ABOVE + 1}}
        assert found._places.acquire()
        with pytest.raises(ProblemError, match="the time was used up"):
            asyncio.run(found._ask(message, time.monotonic() + 1.0))
        assert found.process.pid == pid
        assert ask(found, CART)["contributions"]


def test_a_model_that_raises_is_said_to_have_raised(tmp_path: Path) -> None:
    with explainer(tmp_path, raising_bundle) as found:
        problem = refusal(found, orjson.dumps({**CART, "cart_value": FAILS_ABOVE + 1}))
        assert problem.status == 500
        assert "the model could not be explained" in problem.detail
        assert ask(found, CART)["contributions"]


def test_a_killed_process_is_replaced_within_the_same_request(tmp_path: Path) -> None:
    with explainer(tmp_path) as found:
        first = ask(found, CART)
        killed = found.process.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        second = ask(found, CART)
        assert found.process.pid not in {None, killed}
        assert second["purchase_probability"] == first["purchase_probability"]


def test_a_request_beyond_the_short_queue_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def all_at_once(found: Explainer) -> list[Any]:
        body = orjson.dumps({**CART, "cart_value": FAILS_ABOVE + 1})
        calls = (found.explain(body, RequestHeaders()) for _ in range(MAX_WAITING + 3))
        return await asyncio.gather(*calls, return_exceptions=True)

    with explainer(tmp_path, hanging_bundle, timeout_ms=2_000.0) as found:
        problems = asyncio.run(all_at_once(found))
        assert [problem.slug for problem in problems[: MAX_WAITING + 1]] == ["explanation-unavailable"] * (
            MAX_WAITING + 1
        )
        assert [(p.status, p.headers) for p in problems[MAX_WAITING + 1 :]] == [(429, [(b"retry-after", b"1")])] * 2
        assert {p.slug for p in asyncio.run(all_at_once(found))} == {"explanation-unavailable", "too-many-requests"}


WORKER = """
import sys, time
from bento.explaining.explain import ExplainProcess
process = ExplainProcess()
values = {"cart_value": 20.0, "channel": "mail"}
process.ask({"bundle": sys.argv[1], "values": values}, time.monotonic() + 150)
print(process.pid, flush=True)
process.ask({"bundle": sys.argv[1], "values": {**values, "cart_value": 1e6}}, time.monotonic() + 150)
"""


def test_the_process_ends_with_its_worker_even_when_both_are_in_the_middle_of_a_hanging_model(tmp_path: Path) -> None:
    bundle = tmp_path / hanging_bundle(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
    command = [sys.executable, "-c", WORKER, str(bundle)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        child = psutil.Process(int(worker.stdout.readline()))
        wait_until(lambda: child.cpu_times().user > 0 and child.is_running(), "the child runs")
        assert child.nice() == 10
        worker.kill()
    psutil.wait_procs([child], timeout=90)
    assert not child.is_running()


def test_a_process_nobody_asks_gives_its_memory_back() -> None:
    script = "import bento.explaining.explain_process as own; own.IDLE_S = 0.0; own.main(['0'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
    command = [sys.executable, "-c", script]
    ours, theirs = Pipe()
    with ours, theirs:
        subprocess.run(command, env=environment, stdin=theirs.fileno(), timeout=150, check=True)
        assert ours.recv_bytes() == READY


@pytest.mark.processes
def test_explanations_are_no_predictions_and_their_process_goes_with_a_killed_worker(shop_service: Shop) -> None:
    client, layout = shop_service.client, shop_service.layout
    n_logged = len(predictions(layout))
    explanation = explained(client, CART, top="1")
    assert len(explanation["contributions"]) == 1
    assert len(predictions(layout)) == n_logged
    answer = client.post("/predict", json=CART).json()
    assert answer["purchase_probability"] == pytest.approx(explanation["purchase_probability"], abs=1e-6)

    (worker,) = (psutil.Process(pid) for pid in shop_service.service.worker_pids)
    (explaining,) = worker.children()
    worker.kill()
    wait_until(lambda: not explaining.is_running(), "the explaining process ends")
    wait_until(lambda: is_ready(client), "another worker is ready")


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
