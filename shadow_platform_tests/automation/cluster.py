"""A cluster's API that knows no object and takes every one, with the launcher that asks it.

Belongs here: the server, and an instance of Dagster beside it. Does not belong here: what must be true of them
(test_cluster_launcher). Downstream: tests.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.test_utils import instance_for_test

LAUNCHERS = {
    "ours": ("shadow_platform.automation.cluster_launcher", "ClusterRunLauncher"),
    "dagster's": ("dagster_k8s", "K8sRunLauncher"),
}


@dataclass
class Cluster:
    """What was asked of the API, and the file that leads there."""

    kubeconfig: Path
    asked: list[str] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def instance(self, launcher: str) -> Iterator[dg.DagsterInstance]:
        """An instance on files whose runs a launcher of ``LAUNCHERS`` starts."""
        module, name = LAUNCHERS[launcher]
        config = {
            "load_incluster_config": False,
            "kubeconfig_file": str(self.kubeconfig),
            "dagster_home": "/opt/dagster/dagster_home",
            "instance_config_map": "dagster-instance",
            "service_account_name": "shadow-dagster",
            "job_image": "registry.example.com/shadow-platform/platform:1",
            "job_namespace": "ml-staging",
        }
        overrides = {
            "run_launcher": {"module": module, "class": name, "config": config},
            "run_monitoring": {"enabled": True},
        }
        with instance_for_test(overrides) as made:
            yield made


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Answer 404 to whoever asks for an object, and give back what is to be made."""
    known = Cluster(folder / "kubeconfig")

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            is_list = self.path.partition("?")[0].endswith(("/pods", "/events"))
            self._answer(200 if is_list else 404, {"items": []})

        def do_DELETE(self) -> None:
            known.asked.append(self.path)
            self._answer(404, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known.made.append(body)
            self._answer(201, body)

        def _answer(self, code: int, body: dict[str, Any]) -> None:
            written = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    known.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(server.server_port)), encoding="utf-8")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {"token": "none"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
