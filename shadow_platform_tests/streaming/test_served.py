"""From a message to an answer: what a user just paid is in the next answer about them."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from bento.serve import free_port, running_service
from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.log import FileLogSource, decode_prediction
from shadow_platform.contracts.bundle import CategoricalInput, NumericInput
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform_tests import processes
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import settings_at, wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.use_cases.fraud.payments import FRAUD

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
TOPIC = "transactions"
INPUTS = (NumericInput(name="payments_1h", imputed=0.0), CategoricalInput(name="device", levels=("android", "ios")))
PATIENT_S = 240.0


@dataclass
class Gateway:
    """Sends payments into the stream, and asks the service about them."""

    broker: Broker
    client: httpx.Client
    layout: Layout
    n_sent: int = 0

    def pay(self, user: str, n_payments: int) -> None:
        """A user pays so often, each time somewhere else, and nobody asks."""
        sent = [self._payment(user) for _ in range(n_payments)]
        messages = [{"key": user.encode(), "value": orjson.dumps(payment | {"schema_version": 1})} for payment in sent]
        self.broker.send(TOPIC, messages)

    def asks(self, user: str) -> PredictionRecord:
        """What the log says of an answer about one more payment of the user."""
        payment = self._payment(user)
        event = {name: payment[name] for name in ("event_id", "user_id", "transaction_amount", "country", "device")}
        request = {"user_id": user, "event": event | {"event_ts": payment["event_at"]}}
        answer = self.client.post("/predict", json=request).raise_for_status().json()
        log = FileLogSource(self.layout.log("predictions", FRAUD.name))
        records = (decode_prediction(line.payload) for line in log.read({}))
        return next(record for record in records if record.request_id == answer["request_id"])

    def wait_for(self, user: str, n_payments: int) -> PredictionRecord:
        """The first answer that knows so many payments of the last hour."""
        found: list[PredictionRecord] = []

        def is_known() -> bool:
            found.append(self.asks(user))
            return found[-1].features["payments_1h"] == n_payments

        wait_until(is_known, f"{n_payments} payments of {user} are known", PATIENT_S)
        return found[-1]

    def _payment(self, user: str) -> dict[str, Any]:
        self.n_sent += 1
        return {
            "event_id": f"01J{self.n_sent:023d}",
            # A broker stamps whole milliseconds, and nothing is received before it happens.
            "event_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user_id": user,
            "transaction_amount": 12.5,
            "country": ("US", "GB", "DE")[self.n_sent % 3],
            "device": "android",
            "merchant_id": "merchant-001",
            "merchant_category": "grocery",
        }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Gateway]:
    """A service of use case fraud, and a consumer that keeps its features."""
    settings = settings_at(tmp_path_factory.mktemp("fraud"))
    FeastStore(settings.layout, Path("feature_repo"), FRAUD).apply()
    _deploy(settings.layout)
    broker.create(TOPIC)
    home = settings.layout.home
    command = [str(Path(sys.executable).with_name("shadow")), "stream", "-u", FRAUD.name]
    env = os.environ | broker.environment | {"SHADOW_HOME": str(home)}
    consumer = processes.start(command, home / "stream.log", env, Path.cwd())
    try:
        with (
            running_service(settings, FRAUD.name, free_port(), shadow=False, guard=False) as service,
            httpx.Client(base_url=service.url, timeout=PATIENT_S) as client,
        ):
            yield Gateway(broker, client, settings.layout)
    finally:
        consumer.stop()


def _deploy(layout: Layout) -> None:
    now = datetime.now(UTC)
    digest = line_bundle(layout.bundles, use_case=FRAUD.name, inputs=INPUTS)
    model = DeployedModel(version="1", bundle_hash=digest, model_name="line", since=now)
    written = DeploymentManifest(use_case=FRAUD.name, generation=1, champion=model, challengers=(), written_at=now)
    write_manifest(layout.manifest(FRAUD.name), written)


def test_a_burst_of_payments_is_in_the_next_answer_about_the_user_and_in_no_other(gateway: Gateway) -> None:
    gateway.pay("user-1", 1)
    first = gateway.wait_for("user-1", 1)
    gateway.pay("user-1", 5)
    after = gateway.wait_for("user-1", 6)
    assert (first.features["countries_1h"], after.features["countries_1h"]) == (1, 3)
    assert after.features["amount_sum_1h_usd"] == 6 * 12.5
    assert after.probability > first.probability
    other = gateway.asks("user-2")
    assert other.features["payments_1h"] is None
    assert other.feature_sources["online"] == 0
