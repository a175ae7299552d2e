"""What callers may rely on when the model is exchanged under load, however often, and whatever dies meanwhile."""

from random import Random

import httpx
import pytest

from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, wait_until
from shadow_platform_tests.chaos.home import Home, kill
from shadow_platform_tests.chaos.ledger import account, foreign_answers
from shadow_platform_tests.chaos.load import TIMEOUT_S, Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

N_PROMOTIONS = 50


def test_a_model_is_exchanged_under_load_without_a_failed_request(home: Home) -> None:
    load, models = Load(home.service.url), [home.manifest.champion]
    with load.running():
        for _ in range(3):
            load.more_answers(50)
            version = home.promote()
            models.append(home.manifest.champion)
            wait_until(lambda v=version: v in load.versions, f"version {version} answers")  # type: ignore[misc]
            load.more_answers(50)
    assert set(load.statuses) == {200}
    assert load.unreachable == []
    assert foreign_answers(load, home.layout, models) == []


def test_each_answer_is_of_the_version_it_names_through_a_storm_of_promotions_and_kills(home: Home) -> None:
    rng, load, models = Random(8), Load(home.service.url), [home.manifest.champion]
    with load.running():
        for n in range(N_PROMOTIONS):
            home.promote()
            models.append(home.manifest.champion)
            load.more_answers(rng.randrange(1, 30))
            if n in (N_PROMOTIONS // 3, N_PROMOTIONS * 2 // 3):
                kill(home, "server's child", rng)
        home.wait_whole(models[-1].version)
        load.more_answers(50)
    assert set(load.statuses) == {200}
    assert len(load.versions) > 10
    assert foreign_answers(load, home.layout, models) == []
    found = account(load, home.layout)
    assert (found.lost, found.doubled) == (set(), set())
    home.catch_up()


def test_a_bad_bundle_is_refused_and_the_old_model_goes_on(home: Home) -> None:
    good = line_bundle(home.layout.bundles, slope=0.2)
    bad = line_bundle(home.layout.bundles, slope=0.3)
    (home.layout.bundles / bad / "model.onnx").write_bytes(b"not a model")
    before = home.manifest.champion.version
    with httpx.Client(base_url=home.service.url, timeout=TIMEOUT_S) as client:
        for digest in (bad, "0" * 64):
            deploy(home.layout, digest, version="20")
            wait_until(lambda d=digest: d in client.get("/ready").text, "the refusal is shown")  # type: ignore[misc]
            assert client.get("/ready").json()["status"] == "degraded"
            assert client.post("/predict", json=body_of(1)).json()["model_version"] == before
        deploy(home.layout, good, version="21")
        wait_until(lambda: client.get("/model").json()["champion"]["version"] == "21", "a good bundle is taken")
        wait_until(lambda: client.get("/ready").json()["status"] == "ready", "the refusal is gone")
