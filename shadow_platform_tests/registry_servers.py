"""A shared model registry: MLflow's tracking server with users, its artifacts in an S3 object store, both real.

Belongs here: how the two are set up, as a person would, and how a test reaches behind them. Does not belong here:
assertions. Downstream: tests of the registry.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shadow_platform_tests import processes
from shadow_platform_tests.processes import Started

BUCKET, REGION = "models", "us-east-1"
OURS = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")
"""What a store says of a bucket that it made, when its first answer came too late."""
ACCESS_KEY, SECRET_KEY = "platform", "key-of-the-object-store"
READER_KEY = "reader"
ADMIN = ("administrator", "password-of-the-administrator")
PLATFORM, READER = ("platform", "password-of-the-platform"), ("reader", "password-of-the-reader")
IDENTITIES = f"""{{"identities": [{{"name": "{ACCESS_KEY}", "actions": ["Admin", "Read", "Write", "List"],
  "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}]}},
  {{"name": "{READER_KEY}", "actions": ["Read", "List"],
  "credentials": [{{"accessKey": "{READER_KEY}", "secretKey": "{SECRET_KEY}"}}]}}]}}"""
# Without the cache every request pays for a slow hash of the password.
USERS = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = {user}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


class ObjectStore:
    """SeaweedFS with one bucket, a key that may use it, and one that may only read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {
            name: processes.free_port()
            for name in ("master", "volume", "filer", "s3")
            for name in (f"{name}.port", f"{name}.port.grpc")
        }
        self.url = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.settings = {
            "MLFLOW_S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }
        self._process: Started | None = None

    def start(self) -> "ObjectStore":
        """Start it and make its bucket."""
        identities = self.folder / "identities.json"
        identities.write_text(IDENTITIES)
        (self.folder / "data").mkdir()
        flags = {
            "dir": self.folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 20,
            "filer": "true",
            "filer.localSocket": self.folder / "filer.sock",
            "s3": "true",
            "s3.localSocket": self.folder / "s3.sock",
            "s3.config": identities,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **self._ports,
        }
        command = [
            Path(sys.executable).parent / "weed",
            "server",
            *(f"-{name}={value}" for name, value in flags.items()),
        ]
        self._process = processes.start(
            [str(part) for part in command], self.folder / "weed.log", os.environ, self.folder
        )
        self._process.wait_until(self._has_bucket, "object store", timeout_s=180)
        return self

    def keys(self, ending: str) -> list[str]:
        """Names of the objects that end so."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [found["Key"] for page in pages for found in page.get("Contents", []) if found["Key"].endswith(ending)]

    def replace(self, key: str, content: bytes) -> None:
        """Overwrite one object, as somebody with access to the store may."""
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content)

    def client(self) -> Any:
        """Client of the store with its key."""
        quick = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 0})
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=quick,
        )

    def _has_bucket(self) -> bool:
        try:
            self.client().create_bucket(Bucket=BUCKET)
        except ClientError as error:
            return error.response["Error"]["Code"] in OURS
        except BotoCoreError:
            return False
        return True

    def stop(self) -> None:
        """End it at once: it takes half a minute to leave in peace, and its data is thrown away."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            self._process.stop()


class TrackingServer:
    """MLflow's server on SQLite and an object store; users and proxied artifacts, or neither.

    Args:
        is_guarded: users must say who they are, and the server alone has the key of the object store. Otherwise anyone
            may ask, and clients write to the store themselves.
    """

    def __init__(self, folder: Path, store: ObjectStore, is_guarded: bool = True) -> None:
        self.folder, self.store, self.is_guarded = folder, store, is_guarded
        self._port = processes.free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: Started | None = None

    def start(self) -> "TrackingServer":
        """Start it, unless it runs; what it held before is there again."""
        if self._process is None or not self._process.is_running:
            command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
            command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", *self._artifacts()]
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **self.store.settings,
                **self._users(),
            }
            self._process = processes.start(
                [sys.executable, *command], self.folder / "mlflow.log", environment, self.folder
            )
            self._process.wait_until(self._answers, "tracking server", timeout_s=180)
            if self.is_guarded:
                self._add_user(*PLATFORM)
                self._add_user(*READER)
        return self

    def _artifacts(self) -> list[str]:
        if self.is_guarded:
            return [
                "--app-name",
                "basic-auth",
                "--serve-artifacts",
                "--artifacts-destination",
                f"s3://{BUCKET}/proxied",
            ]
        return ["--no-serve-artifacts", "--default-artifact-root", f"s3://{BUCKET}/direct"]

    def _users(self) -> dict[str, str]:
        if not self.is_guarded:
            return {}
        user, password = ADMIN
        (self.folder / "users.ini").write_text(USERS.format(folder=self.folder, user=user))
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "users.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret-of-the-login-form",
        }

    def _add_user(self, name: str, password: str) -> None:
        """Make a user who may read everything, and change what they made themselves."""
        url, user = f"{self.uri}/api/2.0/mlflow/users/create", {"username": name, "password": password}
        answer = httpx.post(url, auth=ADMIN, json=user, timeout=60)
        if "RESOURCE_ALREADY_EXISTS" not in answer.text:
            answer.raise_for_status()

    def client_settings(self) -> dict[str, str]:
        """What the environment of a process of the platform must say."""
        user, password = PLATFORM
        named = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        return {"MLFLOW_TRACKING_URI": self.uri, **(named if self.is_guarded else self.store.settings)}

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/health", timeout=30).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it; nothing it acknowledged is lost."""
        if self._process is not None:
            self._process.stop()
