"""A service that is traced and logs JSON, in front of a real collector: what belongs together is found together.

What concerns people is in no line and no span, and a collector that hangs is not noticed by callers.
Its use case reads features from a store that is not there, and its models fail for dear carts, so that every kind of
trouble leaves its lines.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bento.serve import RunningService, free_port, running_service
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests import tiny
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, raising_bundle
from shadow_platform_tests.bento.helpers import deploy, settings_at, ticks, wait_until
from shadow_platform_tests.otlp import Collector, Received, collecting

pytestmark = pytest.mark.processes

NAME = "shadow_platform_tests.tiny:USE_CASE"
CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STEPS = ["validate", "online features", "model", "log append"]
WHO, WHERE_FROM, HOW_MUCH, TOO_MUCH = "visit-k7q2x", "visitor-w9z4j", 31.415926, 271.828182
CHALLENGER_FAILS_ABOVE, DEAR = 40.0, 57.721566
"""The champion answers a dear cart, which is logged; so the challenger is asked, and fails."""
MARKERS = (WHO, WHERE_FROM, "31.4159", "57.7215", "271.828", "chan-v3n8")
SERVER, CONSUMER = 2, 5
PATIENCE_S = 120.0
"""The shadow worker takes seconds to start, and on a busy machine many."""


@dataclass(frozen=True)
class Observed:
    """The service, its collector, and everything its processes printed."""

    service: RunningService
    layout: Layout
    client: httpx.Client
    collector: Collector

    def printed(self) -> str:
        """Everything printed so far, by any of the processes."""
        return self.service.output.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Every line of it that has its end."""
        return [json.loads(line) for line in self.printed().rpartition("\n")[0].splitlines()]

    def segment_bytes(self) -> int:
        """Size of the segment of the prediction log that was appended to last."""
        found = [path.stat() for path in self.layout.home.glob("log/predictions/**/*.jsonl")]
        return max(found, key=lambda status: status.st_mtime_ns).st_size

    def predict(self, cart: float = HOW_MUCH, **headers: str) -> httpx.Response:
        """Ask once."""
        return self.client.post("/predict", json=body(cart), headers=headers)

    def spans(self, name: str, holds: Callable[[Received], bool]) -> list[Received]:
        """Spans of a name that something holds of, as soon as there are any."""
        wait_until(lambda: any(map(holds, self.collector.named(name))), f"a span {name}", PATIENCE_S)
        return [span for span in self.collector.named(name) if holds(span)]

    def root_of(self, request_id: str) -> Received:
        """The span of the request with one prediction."""
        (span,) = self.spans("POST /predict", lambda span: span.attributes.get("shadow.request_id") == request_id)
        return span


def body(cart: float = HOW_MUCH, visit: str = WHO) -> dict[str, object]:
    return {"visit_id": visit, "visitor_id": WHERE_FROM, "cart_value": cart, "channel": "mail"}


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """The service that logs JSON."""
    with observing(tmp_path_factory.mktemp("observed"), "json") as observed:
        yield observed


@contextmanager
def observing(home: Path, log_format: str) -> Iterator[Observed]:
    """Everybody is traced; the collector gets spans at once."""
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        settings = settings_at(
            home,
            feast_repo_path=Path(__file__).parents[2] / "feature_repo",
            log_format=log_format,
            otel_exporter_otlp_endpoint=collector.url,
            otel_traces_sampler_arg=1.0,
        )
        layout = settings.layout
        challenger = raising_bundle(layout.bundles, CHALLENGER_FAILS_ABOVE)
        deploy(layout, raising_bundle(layout.bundles), {"2": challenger})
        layout.manifest("shop").rename(layout.manifest(tiny.USE_CASE.name))
        with (
            running_service(settings, NAME, free_port()) as service,
            httpx.Client(base_url=service.url, timeout=60.0) as client,
        ):
            yield Observed(service, layout, client, collector)


def test_a_request_is_a_trace_of_its_steps_named_after_it(observed: Observed) -> None:
    answer = observed.predict()
    request_id = answer.json()["request_id"]
    root = observed.root_of(request_id)

    assert answer.headers["x-request-id"] == request_id
    assert (root.trace_id, root.parent, root.kind) == (request_id.replace("-", ""), "", SERVER)
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["shadow.model_version"] == "1"

    def steps_so_far() -> list[Received]:
        found = [span for span in observed.collector.of_trace(root.trace_id) if span.parent == root.span_id]
        return sorted((span for span in found if span.name in STEPS), key=lambda span: span.started_ns)

    wait_until(lambda: len(steps_so_far()) >= len(STEPS), "a span of each step")
    steps = steps_so_far()
    assert [span.name for span in steps] == STEPS
    assert all(root.started_ns <= s.started_ns <= s.ended_ns <= root.ended_ns for s in steps)
    assert abs(root.ended_ns / 1e9 - time.time()) < 600


def test_the_challengers_work_is_linked_to_the_request_by_its_id_alone(observed: Observed) -> None:
    request_id = observed.predict().json()["request_id"]
    root = observed.root_of(request_id)
    (compared,) = observed.spans("compare prediction", lambda s: s.attributes["shadow.request_id"] == request_id)
    (batch,) = observed.spans("score micro-batch", lambda s: root.context in s.links)

    assert (compared.service, compared.trace_id) == ("shadow-platform-shadow", root.trace_id)
    assert compared.parent == root.span_id
    assert {batch.context, root.context} == set(compared.links)
    assert batch.kind == CONSUMER
    assert compared.attributes["shadow.outcome"] == "compared"
    assert compared.attributes["shadow.challenger_version"] == "2"


def test_a_callers_trace_goes_on_and_the_prediction_is_found_from_both_sides(observed: Observed) -> None:
    answer = observed.predict(traceparent=f"00-{CALLER_TRACE}-{CALLER_SPAN}-01")
    request_id = answer.json()["request_id"]
    root = observed.root_of(request_id)
    (anchor,) = observed.spans("prediction", lambda s: s.attributes["shadow.request_id"] == request_id)

    assert (root.trace_id, root.parent) == (CALLER_TRACE, CALLER_SPAN)
    assert anchor.trace_id == request_id.replace("-", "")
    assert anchor.links == (root.context,)
    assert root.links == (anchor.context,)
    (compared,) = observed.spans("compare prediction", lambda s: s.attributes["shadow.request_id"] == request_id)
    assert compared.parent == anchor.span_id


def test_a_caller_that_does_not_trace_is_not_traced(observed: Observed) -> None:
    untraced = observed.predict(traceparent=f"00-{CALLER_TRACE}-{CALLER_SPAN}-00").json()["request_id"]
    observed.root_of(observed.predict().json()["request_id"])

    assert not [
        s for s in observed.collector.named("POST /predict") if s.attributes.get("shadow.request_id") == untraced
    ]


def test_every_prediction_of_a_batch_is_found_by_its_id(observed: Observed) -> None:
    answers = observed.client.post("/predict/batch", json=[body(), body(), body()]).json()
    ids = [answer["request_id"] for answer in answers]
    (root,) = observed.spans("POST /predict/batch", lambda s: s.trace_id == ids[0].replace("-", ""))
    (_,) = observed.spans("prediction", lambda s: s.trace_id == ids[-1].replace("-", ""))
    anchors = observed.spans("prediction", lambda s: s.attributes["shadow.request_id"] in ids)

    assert root.attributes["shadow.predictions"] == 3
    assert {span.trace_id for span in anchors} == {id_.replace("-", "") for id_ in ids[1:]}
    assert {span.context for span in anchors} == set(root.links)


def test_an_answer_from_memory_is_no_second_prediction(observed: Observed) -> None:
    key: dict[str, Any] = {"Idempotency-Key": "one-and-the-same"}
    ids = {observed.predict(**key).json()["request_id"] for _ in range(2)}

    assert len(ids) == 1
    assert observed.root_of(ids.pop()).attributes["shadow.predictions"] == 1


def test_every_line_of_every_process_is_json_and_says_whose_it_is(observed: Observed) -> None:
    wait_until(
        lambda: {"service", "shadow"} <= {line["process"] for line in observed.lines()}, "lines of both", PATIENCE_S
    )

    for line in observed.lines():
        assert {"timestamp", "level", "logger", "message", "process", "pid", "use_case"} <= set(line)
        assert line["use_case"] == tiny.USE_CASE.name
    assert {line["logger"] for line in observed.lines()} >= {"bentoml.serve", "shadow_platform.models"}


def test_a_failed_answer_is_a_line_with_request_trace_and_version(observed: Observed) -> None:
    refused = observed.predict(TOO_MUCH).json()
    assert (refused["status"], TOO_MUCH > FAILS_ABOVE) == (500, True)

    def told() -> list[dict[str, Any]]:
        of_it = [line for line in observed.lines() if line.get("request_id") == refused["request_id"]]
        return [line for line in of_it if line["logger"] == "shadow_platform.access"]

    wait_until(lambda: bool(told()), "a line about the failure")
    line = told()[-1]
    assert (line["level"], line["status"], line["problem"]) == ("WARNING", 500, "internal-error")
    assert line["trace_id"] == refused["request_id"].replace("-", "")
    assert line["model_version"] == "1"
    (root,) = observed.spans("POST /predict", lambda s: s.attributes.get("http.response.status_code") == 500)[-1:]
    assert (root.is_error, root.problem) == (True, "internal-error")


def _trouble(observed: Observed) -> None:
    """Valid, invalid, unanswerable, explained, unreadable, refused, to nowhere: the store is away all the while.

    The challenger fails for dear carts, and in the end so often that it is left alone.
    """
    client = observed.client
    for index in range(3):
        assert observed.predict().status_code == 200, index
    assert client.post("/predict", json={**body(), "cart_value": "chan-v3n8"}).status_code == 422
    assert client.post("/predict", json={**body(), "chan-v3n8": 1}).status_code == 422
    assert client.post("/predict", content=json.dumps(body())[:-1]).status_code == 400
    assert client.post("/predict/batch", json=[body(), body(-1.0)]).status_code == 422
    assert observed.predict(TOO_MUCH).status_code == 500
    assert client.post("/explain", json=body(TOO_MUCH)).status_code >= 500
    assert client.post("/explain", json=body(), timeout=60.0).status_code in (200, 503)
    assert client.get(f"/visits/{WHO}", params={"channel": "chan-v3n8"}).status_code == 404
    wait_until(lambda: _is_refused(observed), "an answer that cannot be logged is refused")
    marked = observed.root_of(observed.predict().json()["request_id"])
    observed.spans("compare prediction", lambda span: span.trace_id == marked.trace_id)
    for _ in ticks(PATIENCE_S, 0.5):
        assert client.post("/predict/batch", json=[body(DEAR)] * 60).status_code == 200
        if "circuit open" in observed.printed():
            break
    observed.spans("compare prediction", lambda span: span.is_error)


def _hold_nothing_of_anybody(observed: Observed) -> None:
    printed, sent = observed.printed(), b"".join(observed.collector.bodies)
    assert [marker for marker in MARKERS if marker in printed] == []
    assert [marker for marker in MARKERS if marker.encode() in sent] == []
    assert all(trouble in printed for trouble in ("online store", "log-unavailable", "circuit open"))
    # The markers were there to be found: the log of predictions, which is data, has them.
    logged = b"".join(path.read_bytes() for path in observed.layout.home.glob("log/predictions/**/*.jsonl"))
    assert WHO.encode() in logged
    assert b"57.7215" in logged


def test_no_line_and_no_span_says_who_asked_or_with_what(observed: Observed) -> None:
    _trouble(observed)

    _hold_nothing_of_anybody(observed)
    assert any(line.get("problem") == "log-unavailable" for line in observed.lines())


def test_no_line_of_text_says_who_asked_or_with_what(tmp_path: Path) -> None:
    with observing(tmp_path, "text") as observed:
        _trouble(observed)

        _hold_nothing_of_anybody(observed)
        assert not observed.printed().startswith("{")


def test_a_collector_that_hangs_is_not_noticed_by_callers(observed: Observed) -> None:
    observed.collector.mode = "hang"
    try:
        n_before = observed.collector.n_calls
        took = []
        for _ in range(400):
            began = time.monotonic()
            assert observed.predict().status_code == 200
            took.append(time.monotonic() - began)
        wait_until(lambda: observed.collector.n_calls > n_before, "a call that hangs")
        assert observed.predict().status_code == 200
    finally:
        observed.collector.over.set()
        observed.collector.mode = "take"
    assert sorted(took)[len(took) // 2] < 1.0, "an export is given up after five seconds"


def _is_refused(observed: Observed) -> bool:
    """Whether there is no answer while the log is full; each hour begins a segment, which may grow."""
    with _full_log(observed):
        return observed.predict().status_code == 503


@contextmanager
def _full_log(observed: Observed) -> Iterator[None]:
    """The next append to the prediction log fails: its segment, far longer than any other file, may not grow."""
    (pid,) = observed.service.worker_pids
    size = observed.service.output.stat().st_size
    while observed.segment_bytes() < 2 * size + 100_000:
        assert observed.client.post("/predict/batch", json=[body()] * 300).status_code == 200
    worker = psutil.Process(pid)
    before = worker.rlimit(psutil.RLIMIT_FSIZE)
    worker.rlimit(psutil.RLIMIT_FSIZE, (observed.segment_bytes(), before[1]))
    try:
        yield
    finally:
        worker.rlimit(psutil.RLIMIT_FSIZE, before)
