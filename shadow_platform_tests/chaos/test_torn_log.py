"""What the shadow may rely on when the prediction log holds what no writer of ours leaves behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shadow_platform.adapters.log import FileLogSource
from shadow_platform_tests.bento.helpers import USE_CASE, wait_until
from shadow_platform_tests.chaos.home import CATCH_UP_S, Home
from shadow_platform_tests.chaos.ledger import account, shadowed
from shadow_platform_tests.chaos.load import TIMEOUT_S, Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

GARBAGE = (
    b"",
    b"\x00" * 4096,
    b"\xff\xfe garbage\n\n[]\nnull\n" + b"[" * 2000 + b"\n",
    b'{"request_id": "r", "features": 3}\n{"request_id": "torn", "use_ca',
)


@contextmanager
def damaged(folder: Path) -> Iterator[None]:
    """Segments that are empty, garbage, torn, a folder or a link to themselves, as long as the block runs."""
    segments = [folder / f"{place}-00000000-damaged.jsonl" for place in range(len(GARBAGE) + 2)]
    for segment, content in zip(segments, GARBAGE, strict=False):
        segment.write_bytes(content)
    a_folder, a_loop = segments[-2:]
    a_folder.mkdir()
    a_loop.symlink_to(a_loop)
    try:
        yield
    finally:
        a_folder.rmdir()
        for segment in (*segments[:-2], a_loop):
            segment.unlink()


def test_garbage_torn_and_unreadable_segments_stop_neither_answers_nor_comparisons(home: Home) -> None:
    load, version = Load(home.service.url), home.challenger.version
    with Load(home.service.url).running() as first:
        first.more_answers(1)
    home.catch_up()
    newest, _ = FileLogSource(home.layout.log("predictions", USE_CASE)).segments()[-1]
    before = len(shadowed(home.layout, version))
    with damaged((home.layout.log("predictions", USE_CASE) / newest).parent):
        with load.running():
            load.more_answers(200)
        goal = before + len(load.answers)
        wait_until(lambda: len(shadowed(home.layout, version)) >= goal, "all others are compared", CATCH_UP_S)
        assert httpx.get(f"{home.service.url}/shadow/comparison", timeout=TIMEOUT_S).status_code == 200
    assert set(load.statuses) == {200}
    found = account(load, home.layout)
    assert (found.lost, found.doubled) == (set(), set())
    home.catch_up()
