"""Brokers with the settings in force.

Belongs here: settings made into what the Kafka adapter takes. Upstream: settings. Downstream: consumer, producer.
"""

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.settings import Settings


def kafka_settings(settings: Settings) -> KafkaSettings:
    """How brokers are reached; raises ``SettingsError`` when none is named."""
    if settings.kafka_bootstrap_servers is None:
        raise SettingsError(
            "KAFKA_BOOTSTRAP_SERVERS is not set, so there is no stream; set it to host:port in the environment or .env"
        )
    return KafkaSettings(settings.kafka_bootstrap_servers, settings.kafka_config)
