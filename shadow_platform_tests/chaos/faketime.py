"""Where libfaketime is, which moves the clock of processes that preload it. Downstream: tests of the clock."""

from pathlib import Path


def faketime_library() -> Path | None:
    """The library for programs with threads; ``None`` when it is not installed."""
    found = [
        path for root in ("/usr/lib", "/usr/local/lib") for path in Path(root).glob("**/faketime/libfaketimeMT.so.1")
    ]
    return found[0] if found else None
