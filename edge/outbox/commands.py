"""Which orders from the network a station obeys. No I/O: what was obeyed before is asked of the outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import ValidationError

from edge.contract.message import MAX_COMMAND_BYTES
from edge.contract.orders import Command

RefusalReason = Literal["oversized", "too_many", "malformed", "expired", "repeated", "not_saved", "not_done"]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a command is not carried out; ``detail`` is for the log."""

    reason: RefusalReason
    detail: str


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
        self._tokens = float(per_minute)
        self._filled_at_s = monotonic_s()

    def judge(self, payload: bytes) -> Command | Refusal:
        """The command to carry out, which counts as carried out from now on, or why it is refused.

        Raises StorageError when it cannot be noted as carried out; then it must not be.
        """
        if len(payload) > MAX_COMMAND_BYTES:
            return Refusal(
                reason="oversized", detail=f"{len(payload)} bytes, {MAX_COMMAND_BYTES} are allowed"
            )
        if not self._take_token():
            return Refusal(reason="too_many", detail=f"more than {self._per_minute} in a minute")
        try:
            command = Command.model_validate_json(payload)
        except ValidationError as error:
            return Refusal(reason="malformed", detail=_first_fault(error))
        if command.expires_at <= self._utc_now():
            return Refusal(reason="expired", detail=f"{command.id} expired at {command.expires_at}")
        if not self._remember(command.id, expires_at=command.expires_at):
            return Refusal(reason="repeated", detail=f"{command.id} was carried out before")
        return command

    def _take_token(self) -> bool:
        now_s = self._monotonic_s()
        gained = (now_s - self._filled_at_s) * self._per_minute / 60
        self._tokens = min(float(self._per_minute), self._tokens + gained)
        self._filled_at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _first_fault(error: ValidationError) -> str:
    # The input itself stays out of the log: it is whatever a stranger sent.
    fault = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"[:200]
