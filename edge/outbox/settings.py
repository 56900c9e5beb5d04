"""What a person may set about the outbox and its connection to the broker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge.config_path import ConfigPath

MiB = 1024 * 1024
DAY_S = 24 * 3600


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutboxLimits(_Settings):
    """How much the outbox may hold while nobody takes its records."""

    max_bytes: Annotated[int, Field(ge=1 * MiB)] = Field(
        default=512 * MiB,
        description=(
            "Records beyond this are discarded: fields first, then update steps, reviews, slides, the oldest "
            "of each first; each is counted and reported."
        ),
    )
    max_age_s: Annotated[float, Field(ge=60)] = Field(
        default=90 * DAY_S,
        description="Older records are discarded and counted, from an hour after the start on.",
    )


class TlsSettings(_Settings):
    """Certificates; the broker's name is always checked against its certificate."""

    ca_file: ConfigPath | None = Field(
        default=None, description="Authorities that may vouch for the broker; absent: the system's own."
    )
    certificate_file: ConfigPath | None = Field(
        default=None, description="This station's certificate, where the broker asks for one."
    )
    key_file: ConfigPath | None = Field(default=None, description="The private key of certificate_file.")
    crl_file: ConfigPath | None = Field(
        default=None,
        description=(
            "Certificates that the authorities of ca_file have revoked (PEM); a broker with one is refused, "
            "and so is any broker once the list has expired."
        ),
    )

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: give both or neither")
        if self.crl_file is not None and self.ca_file is None:
            raise ValueError("crl_file without ca_file: name the authorities whose list it is")
        return self


class MqttSettings(_Settings):
    """The connection to the broker."""

    host: Annotated[str, Field(min_length=1)] = Field(description="Name or address of the MQTT broker.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=1883, description="1883 without TLS, 8883 with it, by custom."
    )
    protocol: Literal["5", "3.1.1"] = Field(
        default="5", description="MQTT version; 3.1.1 for brokers that speak no 5."
    )
    tls: TlsSettings | None = Field(default=None, description="Present: the connection is encrypted.")
    username: str | None = Field(default=None, description="Where the broker asks for a name and password.")
    password_file: ConfigPath | None = Field(
        default=None,
        description="File with the password in its first line; keep it readable by the station alone.",
    )
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = Field(
        default=30, description="A connection that died in silence is noticed within twice this."
    )
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=5, description="How long one attempt to reach the broker may take."
    )
    session_expiry_s: Annotated[int, Field(ge=0, le=30 * DAY_S)] = Field(
        default=3600, description="How long the broker keeps commands for a station that is away (MQTT 5)."
    )
    health_expiry_s: Annotated[int, Field(ge=1)] = Field(
        default=120,
        description="The broker throws a health message away that nobody took for so long (MQTT 5).",
    )
    ack: Literal["collector", "broker"] = Field(
        default="collector",
        description=(
            "Who must have a record before it leaves the outbox: a collector that has committed it, or, "
            "where there is no collector, the broker."
        ),
    )
    in_flight: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=64, description="Records that may be under way without an acknowledgement."
    )
    answer_timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=20,
        description=(
            "A connection on which the broker owes an answer and has given none for so long is half-open: it "
            "is given up and made anew."
        ),
    )
    backlog_per_s: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=200,
        description=(
            "Records that have waited are sent at no more than this rate; what is new goes before them."
        ),
    )
    ack_timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=15, description="Records are sent again when no acknowledgement came for so long."
    )
    ack_timeout_max_s: Annotated[float, Field(gt=0)] = Field(
        default=300, description="The wait before sending again doubles up to this while nobody acknowledges."
    )
    reconnect_min_s: Annotated[float, Field(gt=0)] = Field(
        default=1,
        description="Wait before the second attempt to connect; it doubles, with chance, from there.",
    )
    reconnect_max_s: Annotated[float, Field(gt=0)] = Field(
        default=60, description="Longest wait between attempts to connect."
    )
    commands_per_minute: Annotated[int, Field(ge=0, le=6000)] = Field(
        default=30, description="Commands beyond this rate are refused; 0 refuses all."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.username is None and self.password_file is not None:
            raise ValueError("password_file without username: give both")
        if self.reconnect_max_s < self.reconnect_min_s:
            raise ValueError("reconnect_max_s is below reconnect_min_s")
        if self.ack_timeout_max_s < self.ack_timeout_s:
            raise ValueError("ack_timeout_max_s is below ack_timeout_s")
        return self
