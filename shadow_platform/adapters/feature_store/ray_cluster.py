"""Ray, which runs functions on many machines: starting or joining a cluster, and handing work to it.

Belongs here: the connection, alone. Does not belong here: what is run (``ray_tasks``). Upstream: ray. Downstream:
``ray_offline``, ``ray_engine``. Ray costs a second to import and seconds to start; both happen when work is handed in.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shadow_platform.contracts.errors import FeatureStoreError

OBJECT_STORE_BYTES = 512 * 1024**2
"""Of a cluster on this machine; what does not fit is spilled to disk."""
_QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
_STARTING = threading.Lock()


def address_or_none(filled_in: str | None) -> str | None:
    """The address in a configuration; a variable that was never filled in, or an empty one, is none."""
    return filled_in if filled_in and not filled_in.startswith("${") else None


def cpus(address: str | None) -> int:
    """Processors of the cluster, started or joined if need be; raises ``FeatureStoreError``."""
    return max(1, int(_connected(address).cluster_resources().get("CPU", 1)))


def submit(address: str | None, task: Callable[..., Any], arguments: Iterable[Sequence[Any]], returns: int = 1) -> Any:
    """Start a task for each tuple of arguments; returns what ``collect`` and further tasks take in place of results.

    With ``returns`` over 1 a task returns as many values, and what is returned is a list of lists.
    """
    ray = _connected(address)
    remote = ray.remote(num_returns=returns)(task)
    return [remote.remote(*given) for given in arguments]


def collect(address: str | None, references: Sequence[Any]) -> list[Any]:
    """Results of tasks, in order; raises what the first failed task raised, as it raised it."""
    ray = _connected(address)
    try:
        return list(ray.get(list(references)))
    except ray.exceptions.RayTaskError as error:
        raise error.cause or error from error
    except ray.exceptions.RayError as error:
        raise FeatureStoreError(f"Ray lost the work: {error}; check the cluster at RAY_ADDRESS and retry") from error


def _connected(address: str | None) -> Any:
    try:
        import ray
    except ImportError as missing:
        raise FeatureStoreError(
            "FEATURE_STORE=scale joins and materializes on Ray; install it: pip install 'shadow-platform[ray]'"
        ) from missing
    with _STARTING:
        if not ray.is_initialized():
            _start(ray, address)
    return ray


def _start(ray: Any, address: str | None) -> None:
    """Start or join; Ray allows its own processes 30 s, so that on a busy machine a second start gets there."""
    failure = _failure_to_start(ray, address)
    if failure is not None and address is None:
        failure = _failure_to_start(ray, address)
    if failure is not None:
        where = "on this machine" if address is None else f"at {address}"
        raise FeatureStoreError(
            f"Ray {where} does not answer: {failure}; correct RAY_ADDRESS, and RAY_AUTH_MODE if it asks for a token"
        ) from failure


def _failure_to_start(ray: Any, address: str | None) -> Exception | None:
    """Start or join in a thread that never ends: the kernel ends Ray's processes with the thread that started them."""
    done, failed = threading.Event(), []

    def keep() -> None:
        try:
            if address is None:
                ray.init("local", object_store_memory=OBJECT_STORE_BYTES, _node_ip_address="127.0.0.1", **_QUIET)
            else:
                ray.init(address, **_QUIET)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the work was handed in
            failed.append(error)
            return
        finally:
            done.set()
        threading.Event().wait()

    threading.Thread(target=keep, name="ray", daemon=True).start()
    done.wait()
    return failed[0] if failed else None
