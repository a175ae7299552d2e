"""The folder of a bundle: which files it may hold, their hash, and how it comes into being at once.

Belongs here: names, kinds, bytes. Does not belong here: what is in the files. Upstream: ``writing``. Downstream:
``loading``, and the registry, which knows a bundle by its hash.
"""

import hashlib
import os
from pathlib import Path

from shadow_platform.contracts.errors import BundleError

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "bundle.json"
REFERENCE_FILE = "reference.parquet"
SELFTEST_FILE = "selftest.json"
FILES = (MANIFEST_FILE, MODEL_FILE, REFERENCE_FILE, SELFTEST_FILE)

KINDS = frozenset({".onnx", ".json", ".parquet", ".html"})
"""Endings of the files a bundle may hold. Reading one of these kinds runs nothing that lies in it."""


def file_names(folder: Path) -> list[str]:
    """Names of a bundle's files, sorted; raises ``BundleError`` if one lacks, or something lies there that may not."""
    try:
        entries = sorted(folder.iterdir())
        strange = [entry.name for entry in entries if entry.suffix not in KINDS or not _is_plain(entry)]
    except OSError as error:
        raise _unreadable(folder, error) from error
    names = [entry.name for entry in entries]
    absent = sorted(set(FILES) - set(names))
    if absent:
        raise BundleError(f"bundle {folder} lacks {', '.join(absent)}; fetch it from the registry again")
    if strange:
        raise BundleError(
            f"bundle {folder} holds {', '.join(strange)}, expected only plain files ending in "
            f"{', '.join(sorted(KINDS))}: it was altered; fetch it again, or train again if the registry holds the same"
        )
    return names


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def bundle_hash(folder: Path) -> str:
    """SHA-256 over the sorted names and contents of a bundle's files; raises ``BundleError`` as ``file_names``."""
    digest = hashlib.sha256()
    for name in file_names(folder):
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise _unreadable(folder, error) from error
        digest.update(f"{len(name.encode())}:{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def _unreadable(folder: Path, error: OSError) -> BundleError:
    return BundleError(f"bundle {folder} cannot be read ({error}); fetch it from the registry again")


def publish(temporary: Path, folder: Path) -> Path:
    """``folder``, made by renaming ``temporary``, or found there intact; raises ``BundleError`` if it is altered."""
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if bundle_hash(folder) != folder.name:
            raise BundleError(
                f"bundle {folder} was altered: its content has hash {bundle_hash(folder)}; remove the folder and retry"
            ) from None
    else:
        sync(folder.parent)
    return folder


def sync(path: Path) -> None:
    """Flush a file or a folder's list of names to the device."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
