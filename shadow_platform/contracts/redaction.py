"""Text without passwords and tokens, for every place that shows what it did not word itself.

Belongs here: what a secret looks like in a text. Does not belong here: values that quote people's data
(``telemetry.logs``). Upstream: nothing. Downstream: messages of bad settings, lines of log.
"""

import re

SECRETS = (
    # Up to the last @, since a password may hold one; a long token may be a user's whole name.
    (re.compile(r"(?<=://)\S{1,4000}@"), "***@"),
    (re.compile(r"(?i)(\bbearer(?:\s|%20)+)[A-Za-z0-9._~+/=-]{8,}"), r"\1***"),
    (re.compile(r"(?i)(\bauthorization\b\W{1,8}(?:b['\"])?(?:basic|digest|token)(?:\s|%20)+)[^\s'\"]+"), r"\1***"),
    (
        # AWS_SECRET_ACCESS_KEY=…, 'password': '…', \"token\": \"…\"; a list goes on behind its commas.
        re.compile(
            r"(?i)((?:password|passwd|pwd|secret|tokens?|api[_-]?key|access[_-]?key)[\w-]{0,40}\\?['\"]?\s*[=:]\s*)"
            r"(?:\\?'[^']*'|\\?\"[^\"]*\"|[^\s;'\"]+)"
        ),
        r"\1***",
    ),
)


def redact(text: str) -> str:
    """The text without passwords and tokens.

    >>> redact("redis://:hunter2@cache:6379/0 is away")
    'redis://***@cache:6379/0 is away'
    """
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text
