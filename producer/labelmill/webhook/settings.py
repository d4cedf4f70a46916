"""The settings of the webhook, from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import BrokerSettings
from labelmill.webhook.signature import key_of


class WebhookSettings(BrokerSettings):
    """Where finished jobs are announced, and how."""

    webhook_url: SecretStr | None = Field(None, description="Where to POST finished jobs.")
    webhook_secret: SecretStr | None = Field(
        None, description="whsec_…, what they are signed with; two, with a space, to change it."
    )
    webhook_timeout: float = Field(15.0, gt=0, le=30, description="Seconds to wait for an answer.")
    webhook_give_up: float = Field(
        86_400.0, ge=0, description="Seconds after which a delivery is given up."
    )

    @property
    def url(self) -> str:
        """Where to POST.

        Raises:
            ConfigurationError: it is not set, or no http address.
        """
        url = self.webhook_url.get_secret_value() if self.webhook_url else ""
        if not url.startswith(("https://", "http://")):
            raise ConfigurationError(
                "set LABELMILL_WEBHOOK_URL to an address with https:// or http://"
            )
        return url

    @property
    def secrets(self) -> list[str]:
        """What to sign with, the newest first.

        Raises:
            ConfigurationError: none is set, or one cannot be used.
        """
        value = self.webhook_secret.get_secret_value() if self.webhook_secret else ""
        secrets = value.split()
        for secret in secrets or [""]:
            key_of(secret)
        return secrets
