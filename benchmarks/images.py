"""How large the container images are, and how long a container takes until it is ready, beside a plain process.

Run from the root of the repository, as root, on Debian: ``python -m benchmarks.images WORK``. It needs ``buildah`` and
``mmdebstrap`` (Debian packages) and a package index, no Docker: the base is a small Debian with its Python, and the
serving image's root file system runs read-only, as user 10001, in namespaces of its own. What lies in WORK from an
earlier run is used again. Ten minutes on a quiet machine. Upstream: deploy/docker. Downstream: docs/benchmarks.md.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bento.build import build_bento
from bento.serve import free_port
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento.test_build import TINY, VISIT, deployed

ROUNDS = 3
BASE = "localhost/python-base"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
BASE_FILE = "FROM scratch\nADD base.tar /\nRUN ln -s /usr/bin/python3.11 /usr/local/bin/python\n"
CONTAINER = """
set -eu
root=$1; volume=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind /etc/hosts "$root/etc/hosts"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom; do
    touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"; mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount --bind "$volume" "$root/var/lib/shadow"
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups= "$root" /usr/bin/env -i -C /app "$@"
"""


def run(*command: str | Path, **variables: str) -> str:
    """Output of a command; its errors are shown."""
    environment = {**os.environ, **variables}
    done = subprocess.run([str(part) for part in command], env=environment, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def build(work: Path) -> None:
    """Build both images in a store of their own, and lay each down in ``WORK/oci``, compressed as in a registry."""
    store = ["--storage-driver", "vfs", "--root", str(work / "store"), "--runroot", str(work / "run")]
    buildah = ["buildah", *store]
    if not (work / "base.tar").is_file():
        packages = "python3.11-venv,ca-certificates"
        run("mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", work / "base.tar")
        (work / "Base").write_text(BASE_FILE)
        run(*buildah, "build", "--isolation", "chroot", "--tag", BASE, "--file", work / "Base", work)
    digest = run(*buildah, "images", "--format", "{{.Digest}}", BASE).strip()
    layout = Layout(work / "home")
    variables = {
        "PYTHON_IMAGE": BASE,
        "PYTHON_DIGEST": digest,
        "TAG": "measured",
        "SHADOW_HOME": str(layout.home),
        "BENTO": build_bento(layout, deployed(layout), TINY),
        "BUILDER": " ".join(buildah),
        "BUILD_OPTIONS": f"--format docker --isolation chroot --volume {CERTIFICATES}:{CERTIFICATES}:ro",
    }
    for image in ("serving", "platform"):
        began = time.perf_counter()
        run("deploy/docker/build.sh", IMAGES=image, **variables)
        seconds = time.perf_counter() - began
        print(f"{image} built in {seconds:.0f} s")
        run(*buildah, "push", "-q", f"localhost/shadow-platform/{image}:measured", f"oci:{work / 'oci'}:{image}")


def read(work: Path, image: str) -> tuple[list[Path], Mapping[str, Any]]:
    """Layers of an image, from the base up, and what it runs with."""

    def blob(digest: str) -> Path:
        return work / "oci" / "blobs" / digest.replace(":", "/")

    index = json.loads((work / "oci" / "index.json").read_text())
    titles = {each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"] for each in index["manifests"]}
    manifest = json.loads(blob(titles[image]).read_text())
    config: Mapping[str, Any] = json.loads(blob(manifest["config"]["digest"]).read_text())["config"]
    return [blob(layer["digest"]) for layer in manifest["layers"]], config


def print_sizes(work: Path) -> None:
    """What an image weighs, packed as it travels and unpacked as it lies."""
    print(f"\n{'image':<10}{'layer':>7}{'packed MB':>12}{'unpacked MB':>13}")
    for image in ("serving", "platform"):
        layers, _ = read(work, image)
        total = [0.0, 0.0]
        for number, layer in enumerate(layers):
            with tarfile.open(layer) as archive:
                sizes = layer.stat().st_size / 1e6, sum(member.size for member in archive) / 1e6
            total = [before + size for before, size in zip(total, sizes, strict=True)]
            print(f"{image:<10}{number:>7}{sizes[0]:>12.1f}{sizes[1]:>13.1f}")
        print(f"{image:<10}{'all':>7}{total[0]:>12.1f}{total[1]:>13.1f}")


def unpack(work: Path) -> Path:
    """The serving image's root file system."""
    root = work / "root"
    if not root.is_dir():
        root.mkdir()
        for layer in read(work, "serving")[0]:
            run("tar", "--extract", "--gzip", "--file", layer, "--directory", root)
        (root / "etc" / "hosts").touch()
    return root


def seconds_to_ready(command: Sequence[str], environment: Mapping[str, str], port: int, output: Path) -> float:
    """From starting a command to the first ``/ready``; it has answered one request and ended afterwards."""
    began = time.perf_counter()
    with output.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            while not _is_ready(client):
                if process.poll() is not None or time.perf_counter() - began > 300:
                    raise SystemExit(f"the service is not ready; see {output}")
                time.sleep(0.05)
            seconds = time.perf_counter() - began
            client.post("/predict", json=VISIT).raise_for_status()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return seconds


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def starts(work: Path) -> dict[str, list[float]]:
    """Seconds to ready: a plain process, the image, and the image as if it held no byte code, in turns."""
    root, (_, config) = unpack(work), read(work, "serving")
    (work / "container.sh").write_text(CONTAINER)
    isolated = ["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--kill-child", "sh"]
    found: dict[str, list[float]] = {"process": [], "image": [], "image without byte code": []}
    for number in range(ROUNDS):
        for title, seconds in found.items():
            port, volume = free_port(), work / f"volume-{number}-{title.replace(' ', '-')}"
            volume.mkdir(exist_ok=True)
            os.chown(volume, 10001, 10001)
            own = {"BENTOML_PORT": str(port), "BENTOML_HOST": "127.0.0.1"}
            own |= {"PYTHONPYCACHEPREFIX": "/nowhere"} if title == "image without byte code" else {}
            told = dict(variable.split("=", 1) for variable in config["Env"]) | own
            if title == "process":
                app = str(root / "app")
                here = {"PYTHONPATH": app, "SHADOW_HOME": str(volume), "BENTOML_HOME": str(volume / "bentoml")}
                command = [word.replace("/app", app) for word in [sys.executable, *config["Cmd"][1:]]]
                environment = told | here | {"PATH": os.environ["PATH"], "FEAST_REPO_PATH": f"{app}/feature_repo"}
            else:
                pairs = [f"{name}={value}" for name, value in told.items()]
                script = [str(work / "container.sh"), str(root), str(volume)]
                command, environment = [*isolated, *script, *pairs, *config["Cmd"]], dict(os.environ)
            seconds.append(seconds_to_ready(command, environment, port, work / "service.log"))
    return found


def main() -> None:
    """Build unless it was done, then print sizes and starts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for store, images and root file system; 15 GB")
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "oci" / "index.json").is_file():
        build(work)
    print_sizes(work)
    found = starts(work)
    print(f"\n{'start to ready':<28}{'median s':>10}{'of process':>12}")
    for title, seconds in found.items():
        ratio = median(seconds) / median(found["process"])
        print(f"{title:<28}{median(seconds):>10.1f}{ratio:>11.2f}x   {', '.join(f'{s:.1f}' for s in seconds)}")


if __name__ == "__main__":
    main()
