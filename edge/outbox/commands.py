"""Which orders from the network a station obeys. No I/O: what was obeyed before is asked of the outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ValidationError

from edge.contract.message import MAX_COMMAND_BYTES
from edge.contract.orders import Command, CommandId
from edge.errors import StorageError
from edge.outbox.token_bucket import TokenBucket

RefusalReason = Literal["oversized", "too_many", "malformed", "expired", "repeated", "not_saved", "not_done"]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a command is not carried out; ``command_id`` where it has one to be answered under."""

    reason: RefusalReason
    detail: str
    command_id: str | None = None


class Remember(Protocol):
    """Note a command's id durably; False where it is known already."""

    def __call__(self, command_id: str, *, expires_at: datetime) -> bool:
        """Raises StorageError when it cannot be noted."""
        ...


class CommandGate:
    """Lets a command through once by its id, in time, in measure, and only if it is one.

    The rate is a bucket of ``per_minute`` tokens that fills evenly; every message costs one, also one that
    is refused, so that rubbish cannot keep the station busy.
    """

    def __init__(
        self,
        *,
        per_minute: int,
        remember: Remember,
        utc_now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._per_minute = per_minute
        self._remember = remember
        self._utc_now = utc_now
        self._monotonic_s = monotonic_s
        self._tokens = TokenBucket(per_s=per_minute / 60, capacity=per_minute, now_s=monotonic_s())

    def judge(self, payload: bytes) -> Command | Refusal:
        """The command to carry out, which counts as carried out from now on, or why it is refused."""
        if len(payload) > MAX_COMMAND_BYTES:
            return Refusal(
                reason="oversized", detail=f"{len(payload)} bytes, {MAX_COMMAND_BYTES} are allowed"
            )
        if not self._tokens.take(now_s=self._monotonic_s()):
            return Refusal(reason="too_many", detail=f"more than {self._per_minute} in a minute")
        try:
            command = Command.model_validate_json(payload)
        except ValidationError as error:
            return Refusal(reason="malformed", detail=_first_fault(error), command_id=_id_of(payload))
        refusal = self._why_not(command)
        return command if refusal is None else refusal

    def _why_not(self, command: Command) -> Refusal | None:
        if command.expires_at <= self._utc_now():
            expired = f"{command.id} expired at {command.expires_at}"
            return Refusal(reason="expired", detail=expired, command_id=command.id)
        try:
            is_new = self._remember(command.id, expires_at=command.expires_at)
        except StorageError as error:
            return Refusal(reason="not_saved", detail=str(error), command_id=command.id)
        if not is_new:
            again = f"{command.id} was carried out before"
            return Refusal(reason="repeated", detail=again, command_id=command.id)
        return None


class _Named(BaseModel):
    """As much of an order as must be readable for it to be answered."""

    id: CommandId


def _id_of(payload: bytes) -> str | None:
    try:
        return _Named.model_validate_json(payload).id
    except ValidationError:
        return None


def _first_fault(error: ValidationError) -> str:
    # The input itself stays out of the log: it is whatever a stranger sent.
    fault = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"[:200]
