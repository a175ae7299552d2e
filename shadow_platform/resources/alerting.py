"""Who is told of alerts, and telling them.

Upstream: ``home``, ``adapters.alerts``. Downstream: ``PlatformResource``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from shadow_platform.resources.home import Home

if TYPE_CHECKING:
    from shadow_platform.adapters.alerts import Mail, Receiver


class Alerting(Home):
    """The receivers of ``ALERT_URLS``."""

    def alert_receivers(self) -> "list[Receiver]":
        """Everybody who is to be told; nobody when ``ALERT_URLS`` is not set."""
        from shadow_platform.adapters.alerts import receivers_of

        urls = self.settings.alert_urls
        return receivers_of(urls.get_secret_value()) if urls else []

    def send_alerts(self, mails: "Sequence[Mail]") -> list[list[str | None]]:
        """What became of every message of every mail; ``None``: the receiver took it."""
        from shadow_platform.adapters.alerts import send

        return send(mails)

    def without_secrets(self, text: str) -> str:
        """The text without any secret of the settings: the error of a run may hold the URL it could not reach."""
        values = [value.get_secret_value() for _, value in self.settings if isinstance(value, SecretStr)]
        parts = [part.strip() for value in values for part in (value, *value.split(","))]
        passwords = [urlsplit(part).password or "" for part in parts if "://" in part]
        for secret in sorted({*parts, *passwords} - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text
