"""One running service for all kinds of harm: starting it costs seconds, and it must survive each of them anyway.

Without libfaketime the tests of the clock are left out, except in continuous integration, which installs it.
"""

import os
import resource
from collections.abc import Iterator

import pytest

from shadow_platform_tests.chaos.faketime import faketime_library
from shadow_platform_tests.chaos.home import Home, running_home

collect_ignore = [] if faketime_library() or os.environ.get("CI") else ["test_clock.py"]
USUAL_OPEN_FILES = 1024


@pytest.fixture(scope="package")
def usual_limits() -> Iterator[None]:
    """The limit of open files that processes get where nobody raised it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL_OPEN_FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="package")
def shared_home(usual_limits: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A service with two workers."""
    with running_home(tmp_path_factory.mktemp("chaos")) as home:
        yield home


@pytest.fixture
def home(shared_home: Home) -> Home:
    """The shared service, whole, with a champion and a challenger of its own for this test."""
    version = shared_home.deploy()
    shared_home.wait_whole(version)
    return shared_home
