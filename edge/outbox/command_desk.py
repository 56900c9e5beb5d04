"""Commands from the network, judged, carried out and answered."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from pydantic import ValidationError

from edge.contract.orders import Command, CommandAnswer, CommandOutcome
from edge.errors import LeukoscopeError, StorageError
from edge.outbox.commands import CommandGate, Refusal, RefusalReason

_LOG: Final = logging.getLogger(__name__)
_UNKNOWN: Final = "the station was stopped while it carried the order out; see what it has done"


class AnswerLog(Protocol):
    """Where answers are durable; the outbox fits it."""

    def remember_answer(self, command_id: str, answer: bytes) -> None:
        """Note what was answered. Raises StorageError."""
        ...

    def answer_to(self, command_id: str) -> bytes | None:
        """What was answered; None where nothing was. Raises StorageError."""
        ...


class CommandDesk:
    """Has commands carried out by ``on_command``, which must return soon, and answers all that have an id.

    A LeukoscopeError of it is the answer. Used from one thread.
    """

    def __init__(
        self,
        *,
        gate: CommandGate,
        answers: AnswerLog,
        site: str,
        station: str,
        on_command: Callable[[Command], None],
        utc_now: Callable[[], datetime],
    ) -> None:
        self._gate = gate
        self._answers = answers
        self._site = site
        self._station = station
        self._on_command = on_command
        self._utc_now = utc_now
        self._refused: Counter[RefusalReason] = Counter()
        self.obeyed = 0
        """How many were carried out."""

    @property
    def refused(self) -> dict[RefusalReason, int]:
        """How many were not, by the reason."""
        return dict(self._refused)

    def obey(self, payload: bytes) -> CommandAnswer | None:
        """Carry the command out, if it is one for now; the answer, None where there is nobody to answer."""
        judged = self._gate.judge(payload)
        if isinstance(judged, Refusal):
            self.refuse(judged)
            return self._answer_refused(judged)
        _LOG.info("command %s: %s", judged.id, judged.command)
        try:
            self._on_command(judged)
        except LeukoscopeError as error:
            self.refuse(Refusal(reason="not_done", detail=f"{judged.id}: {error}"))
            answer = self._answer(judged.id, "not_done", str(error))
        else:
            self.obeyed += 1
            answer = self._answer(judged.id, "done")
        try:
            self._answers.remember_answer(judged.id, answer.model_dump_json(by_alias=True).encode())
        except StorageError as error:
            _LOG.warning("the answer to command %s is not noted: %s", judged.id, error)
        return answer

    def refuse(self, refusal: Refusal, *, times: int = 1) -> None:
        """Count what is not carried out."""
        # A flood is counted, but it does not flood the log as well.
        if refusal.reason != "too_many" or not self._refused["too_many"]:
            _LOG.warning("a command was refused (%s): %s", refusal.reason, refusal.detail)
        self._refused[refusal.reason] += times

    def _answer_refused(self, refusal: Refusal) -> CommandAnswer | None:
        if refusal.command_id is None:
            return None
        match refusal.reason:
            case "expired" | "malformed" | "not_saved" as outcome:
                return self._answer(refusal.command_id, outcome, refusal.detail)
            case "repeated":
                return self._answer_again(refusal.command_id)
            case _:
                return None

    def _answer_again(self, command_id: str) -> CommandAnswer:
        try:
            noted = self._answers.answer_to(command_id)
            answer = None if noted is None else CommandAnswer.model_validate_json(noted)
        except (StorageError, ValidationError) as error:
            _LOG.warning("the answer to command %s cannot be read: %s", command_id, error)
            answer = None
        answer = answer or self._answer(command_id, "unknown", _UNKNOWN)
        return answer.model_copy(update={"repeated": True})

    def _answer(self, command_id: str, outcome: CommandOutcome, detail: str = "") -> CommandAnswer:
        return CommandAnswer(
            site=self._site,
            station=self._station,
            id=command_id,
            outcome=outcome,
            detail=detail,
            answered_at=self._utc_now(),
        )
