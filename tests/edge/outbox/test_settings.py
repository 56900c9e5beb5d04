from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge.outbox.settings import MqttSettings, OutboxLimits, TlsSettings


def test_a_host_is_enough() -> None:
    settings = MqttSettings(host="broker")
    assert (settings.port, settings.protocol, settings.ack, settings.tls) == (1883, "5", "collector", None)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "host"),
        ({"host": ""}, "host"),
        ({"host": "b", "port": 0}, "port"),
        ({"host": "b", "protocol": "4"}, "protocol"),
        ({"host": "b", "hots": 1}, "hots"),
        ({"host": "b", "password_file": "p"}, "password_file without username"),
        ({"host": "b", "reconnect_min_s": 5, "reconnect_max_s": 1}, "reconnect_max_s"),
        ({"host": "b", "ack_timeout_s": 500}, "ack_timeout_max_s"),
        ({"host": "b", "tls": {"key_file": "k"}}, "belong together"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        MqttSettings.model_validate(settings)


def test_every_setting_is_described() -> None:
    for model in (MqttSettings, OutboxLimits, TlsSettings):
        for name, setting in model.model_fields.items():
            assert setting.description, f"{model.__name__}.{name}"
