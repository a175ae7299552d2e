"""``python -m shadow_platform.cli``: the ``shadow`` command where no script of that name is installed.

Upstream: the command line. Downstream: processes that start another one with the interpreter they run in.
"""

from shadow_platform.cli import app

app()
