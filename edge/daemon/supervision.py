"""Watches the progress of the station's parts: begins a stuck one anew, does without one that stays so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge.daemon.problems import Problems
from edge.daemon.supervision_rules import MOST_LEFT_BEHIND, History, Patience, Sight, judge
from edge.errors import LeukoscopeError

_log = logging.getLogger(__name__)

SUBJECT: Final = "supervision"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part under supervision, as :class:`~edge.daemon.supervision_rules.Sight` wants it seen.

    ``restart`` and ``give_up`` are told why, are called in the supervisor's thread, and must return soon.
    ``lost`` says to a person what no longer works once it was given up, and what still does.
    """

    name: str
    lost: str
    limit_s: Callable[[], float]
    silent_s: Callable[[], float | None]
    passes: Callable[[], int]
    fault: Callable[[], str]
    restart: Callable[[str], None]
    give_up: Callable[[str], None]
    left_behind: Callable[[], int] = lambda: 0
    restartable: bool = True


class Supervisor:
    """Looks at every part when it is told to, about once a second, and acts on what the rules say.

    It has no thread of its own: it runs where the watchdog is fed, so that whatever stops it also starves
    the watchdog.
    """

    def __init__(
        self,
        *,
        parts: Sequence[Part],
        patience: Patience,
        problems: Problems,
        monotonic_s: Callable[[], float],
        on_degraded: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = tuple(parts)
        self._patience = patience
        self._problems = problems
        self._monotonic_s = monotonic_s
        self._on_degraded = on_degraded
        self._histories = {part.name: History() for part in parts}
        self._given_up: dict[str, str] = {}

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each part was begun anew."""
        return {name: history.restarts for name, history in self._histories.items()}

    @property
    def degraded(self) -> tuple[str, ...]:
        """The parts that the station does without, in their order."""
        return tuple(part.name for part in self._parts if part.name in self._given_up)

    def why_degraded(self, name: str) -> str:
        """Why a part was given up; empty where it was not."""
        return self._given_up.get(name, "")

    @property
    def left_behind(self) -> int:
        """How many stuck threads the process carries along."""
        return sum(part.left_behind() for part in self._parts)

    @property
    def beyond_mending(self) -> bool:
        """Whether so many threads are stuck that only a new process helps: the watchdog is to starve then."""
        return self.left_behind > MOST_LEFT_BEHIND

    def tick(self) -> None:
        """See to every part once."""
        for part in self._parts:
            self._see_to(part)
        if self.beyond_mending:
            self._problems.raise_(
                SUBJECT, f"{self.left_behind} threads are stuck: the station has to be restarted."
            )

    def _see_to(self, part: Part) -> None:
        sight = Sight(
            now_s=self._monotonic_s(),
            silent_s=part.silent_s(),
            limit_s=part.limit_s(),
            passes=part.passes(),
            fault=part.fault(),
            restartable=part.restartable,
        )
        decision, history = judge(sight, self._histories[part.name], self._patience)
        self._histories[part.name] = history
        if decision == "restart":
            self._restart(part, _reason(sight), history)
        elif decision == "degrade":
            self._give_up(part, _reason(sight))

    def _restart(self, part: Part, reason: str, history: History) -> None:
        _log.error(
            "%s is begun anew (%d in a row): %s",
            part.name,
            history.in_a_row,
            reason,
            extra={"stage": part.name, "error": reason},
        )
        try:
            part.restart(reason)
        except LeukoscopeError as error:
            # It counts as a restart without success; the next look tries again or gives it up.
            _log.error("%s cannot be begun anew: %s", part.name, error, extra={"stage": part.name})

    def _give_up(self, part: Part, reason: str) -> None:
        self._given_up[part.name] = reason
        self._problems.raise_(
            f"{part.name} given up", f"{part.lost} ({reason}). Restart the station; see its log."
        )
        part.give_up(reason)
        self._on_degraded()


def _reason(sight: Sight) -> str:
    if sight.fault:
        return sight.fault
    return f"no progress for {sight.silent_s or 0.0:.0f} s"
