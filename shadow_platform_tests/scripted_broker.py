"""A broker that does what no real one does at will: it refuses rights, and drops old messages after 5 MB.

Belongs here: librdkafka's own test cluster, which a client reaches over TCP like any broker. Does not belong here:
assertions; what a real broker can show (``broker``). Downstream: tests of the Kafka client.
"""

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka

FETCH, OFFSET_COMMIT, JOIN_GROUP = 1, 8, 11
TOPIC_REFUSED, GROUP_REFUSED = 29, 30
N_ANSWERS = 100
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (ctypes.c_void_p, []),
    "rd_kafka_conf_set": (ctypes.c_int, [ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t]),
    "rd_kafka_new": (ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_handle_mock_cluster": (ctypes.c_void_p, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [ctypes.c_void_p]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
    ),
}


class ScriptedBroker:
    """One broker with topics of one partition."""

    def __init__(self) -> None:
        (library,) = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*")
        self._rdkafka = ctypes.CDLL(str(library))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._rdkafka, name)
            function.restype, function.argtypes = result, arguments
        said = ctypes.create_string_buffer(512)
        config = self._rdkafka.rd_kafka_conf_new()
        for name, value in {"test.mock.num.brokers": "1", "log_level": "2"}.items():
            assert self._rdkafka.rd_kafka_conf_set(config, name.encode(), value.encode(), said, 512) == 0, said.value
        self._client = self._rdkafka.rd_kafka_new(0, config, said, 512)
        self._cluster = self._rdkafka.rd_kafka_handle_mock_cluster(self._client)
        self._rdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.servers = self._rdkafka.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic: str) -> None:
        """Create a topic."""
        assert self._rdkafka.rd_kafka_mock_topic_create(self._cluster, topic.encode(), 1, 1) == 0

    def refuse(self, request: int, error: int) -> None:
        """Answer the next requests of a kind with an error."""
        errors = (ctypes.c_int * N_ANSWERS)(*[error] * N_ANSWERS)
        self._rdkafka.rd_kafka_mock_push_request_errors_array(self._cluster, request, N_ANSWERS, errors)

    def stop(self) -> None:
        """End it; its messages are gone."""
        self._rdkafka.rd_kafka_destroy(self._client)
