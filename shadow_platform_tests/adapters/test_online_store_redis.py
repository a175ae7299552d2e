"""The Redis online store: its server may restart, fall silent or refuse, and serving says so or goes on."""

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from shadow_platform.adapters.feature_store import FeastOnline, FeastStore
from shadow_platform.adapters.feature_store.configuration import repo_config
from shadow_platform.adapters.feature_store.online import entity_key, open_online_store
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform_tests.adapters.feature_rows import HISTORY, PLANS, REPOSITORY, USE_CASE, history, plans
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.feature_servers import Valkey

ASKED = [{"user": "u1", "shop": "s1"}]


def stores(url: str) -> FeatureStores:
    """The scale column on this server. Online rows need no registry, so its address leads nowhere."""
    return FeatureStores("scale", url, "postgresql://nobody@127.0.0.1:1/none", "s3://features/rows")


@pytest.fixture
def store(layout: Layout, valkey: Valkey) -> Iterator[FeastStore]:
    yield FeastStore(layout, REPOSITORY, USE_CASE, stores(valkey.url))
    valkey.suspend(is_suspended=False)


def test_reading_goes_on_by_itself_after_the_server_was_restarted(store: FeastStore, valkey: Valkey) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    reader, answers, refusals = store.online(), [0], [0]
    has_stopped, problems = threading.Event(), list[BaseException]()

    def read() -> None:
        while not has_stopped.is_set():
            try:
                assert reader.read(ASKED)[0]["history"].values == {"visits": 10.0, "device": "a"}
                answers[0] += 1
            except FeatureStoreError:
                refusals[0] += 1
            except BaseException as problem:  # noqa: BLE001 - told by the test
                problems.append(problem)
                return

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(2):
            _wait_for_more(answers, thread)
            valkey.stop()
            _wait_for_more(refusals, thread)
            valkey.start()
        _wait_for_more(answers, thread)
    finally:
        has_stopped.set()
        thread.join()
    assert problems == []


def _wait_for_more(count: list[int], thread: threading.Thread) -> None:
    before = count[0]
    while count[0] == before and thread.is_alive():
        thread.join(0.01)


def test_a_writer_goes_on_after_the_server_forgot_its_script(store: FeastStore, valkey: Valkey) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    with redis.Redis.from_url(valkey.url) as client:
        client.script_flush()
    store.write_online(HISTORY, history(("u1", 2, 20, "b"), ("u2", 1, 1, "c")))
    assert store.online().read(ASKED)[0]["history"].values["visits"] == 20.0


def test_a_silent_server_is_given_up(store: FeastStore, valkey: Valkey) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    reader = store.online()
    reader.read(ASKED)
    valkey.suspend()
    with pytest.raises(FeatureStoreError, match="view 'history' cannot be read online: TimeoutError"):
        reader.read(ASKED)
    valkey.suspend(is_suspended=False)
    wait_until(lambda: _visits(reader) == 10.0, "it answers again")


def _visits(reader: FeastOnline) -> object:
    """What a reader says, nothing while its server is too slow for it."""
    with suppress(FeatureStoreError):
        return reader.read(ASKED)[0]["history"].values["visits"]
    return None


def test_a_server_that_is_down_is_one_line_to_readers_writers_and_apply(layout: Layout, free_port: int) -> None:
    store = FeastStore(layout, REPOSITORY, USE_CASE, stores(f"redis://:hidden-word@127.0.0.1:{free_port}"))
    online, config = open_online_store(store.config), store.config
    for call in (
        lambda: store.online().read(ASKED),
        lambda: store.write_online(HISTORY, history(("u1", 1, 10, "a"))),
    ):
        with pytest.raises(FeatureStoreError, match="Connection refused") as refused:
            call()
        assert "\n" not in str(refused.value)
        assert "hidden-word" not in str(refused.value)
    with pytest.raises(redis.ConnectionError, match="Connection refused"):
        online.update(config, [], list(store.objects.views.values()), [], [], partial=True)


def test_a_wrong_password_is_told_without_telling_it(layout: Layout, valkey: Valkey) -> None:
    url = valkey.url.replace("redis://", "redis://somebody:hidden-word@")
    with pytest.raises(FeatureStoreError, match=r"AuthenticationError|ResponseError") as refused:
        FeastStore(layout, REPOSITORY, USE_CASE, stores(url)).online().read(ASKED)
    assert "hidden-word" not in str(refused.value)


def test_the_configuration_hides_the_password_when_it_is_printed(layout: Layout) -> None:
    config = repo_config(REPOSITORY, layout, stores("redis://:hidden-word@127.0.0.1:1"))
    assert "hidden-word" not in repr(config.online_store)


def test_removing_a_view_removes_its_rows_and_no_others(store: FeastStore, valkey: Valkey) -> None:
    store.write_online(HISTORY, history(*[(f"u{n}", 1, n, "a") for n in range(2_500)]))
    store.write_online(PLANS, plans(("s1", 1, 4.5)))
    online, views = open_online_store(store.config), store.objects.views
    online.update(store.config, [views["history"]], [views["plans"]], [], [], partial=False)
    assert list(store.online().read(ASKED)[0]) == ["plans"]
    with redis.Redis.from_url(valkey.url) as client:
        assert client.dbsize() == 1
    online.teardown(store.config, list(views.values()), [])
    assert store.online().read(ASKED) == [{}]


def test_a_view_with_a_name_like_a_pattern_removes_no_others(store: FeastStore) -> None:
    from copy import copy

    from feast.protos.feast.types.Value_pb2 import Value

    online, views = open_online_store(store.config), store.objects.views
    star = copy(views["history"])
    star.name = "shop_*"
    key = entity_key("user", "u1")
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    row = (key, {"visits": Value(double_val=1.0)}, history(("u1", 1, 10, "a"))["event_at"][0].to_pydatetime(), None)
    online.online_write_batch(store.config, star, [row], None)
    online.update(store.config, [star], [], [], [], partial=True)
    assert online.online_read(store.config, star, [key]) == [(None, None)]
    assert store.online().read(ASKED)[0]["history"].values["visits"] == 10.0


def test_without_its_client_the_extra_to_install_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("redis.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "shadow_platform.adapters.feature_store.redis", raising=False)
    with pytest.raises(FeatureStoreError, match=r"pip install 'shadow-platform\[redis\]'"):
        repo_config(REPOSITORY, layout, stores("redis://127.0.0.1:1"))
