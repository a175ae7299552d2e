"""The use case that docs/tutorial-your-own-use-case.md prints, as a module.

Upstream: the page. Downstream: the contract suite of all use cases. What the page prints is what runs here.
"""

import re

from shadow_platform.contracts.use_case import UseCase
from shadow_platform_tests.sources import REPOSITORY

PAGE = REPOSITORY / "docs" / "tutorial-your-own-use-case.md"
USE_CASE: UseCase

_blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
exec(compile("\n".join(_blocks), str(PAGE), "exec"), globals())
