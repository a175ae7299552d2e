"""What is said of an error of the operating system: which file it is about, and what to do.

Belongs here: words alone. Does not belong here: errors that the platform raises itself. Upstream: commands that meet a
disk. Downstream: the one line of ``shadow``, the checks of ``shadow doctor``.
"""

from contextlib import suppress
from pathlib import Path

from shadow_platform.contracts.errors import SettingsError
from shadow_platform.settings import load_settings


def refused_by_system(error: OSError) -> str:
    """One line: the file and why it cannot be used; SHADOW_HOME, if the file lies in it or above it."""
    why = error.strerror or str(error) or type(error).__name__
    if not isinstance(error.filename, str):
        return f"{why} ({type(error).__name__}); see what runs there, on this machine or the one that was asked"
    path = Path(error.filename)
    with suppress(SettingsError):
        home = load_settings().layout.home
        if home.is_relative_to(path) or path.is_relative_to(home):
            told = f"SHADOW_HOME={home} cannot be used: {path}: {why}"
            return f"{told}; make it a folder with room that you may read and write"
    return f"{path} cannot be used: {why}; correct the path, or who may read and write it"
