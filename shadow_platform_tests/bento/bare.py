"""A Python that has some of the installed distributions and nothing else, least of all this repository.

Belongs here: making its folder, in a second. Does not belong here: what is run with it. Downstream: tests of Bentos and
of images.
"""

import venv
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path


def bare_environment(folder: Path, names: Iterable[str]) -> Path:
    """Interpreter of a virtual environment in a folder, which links the files of these distributions."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    shared = {top for top, owners in packages_distributions().items() if len(set(owners)) > 1}
    for name in names:
        installed = distribution(name)
        for file in installed.files or ():
            part = Path(file) if file.parts[0] in shared else Path(file.parts[0])
            target = site / part
            if file.parts[0] not in {"..", "__pycache__"} and not target.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(str(installed.locate_file(part)))
    return folder / "bin" / "python"
