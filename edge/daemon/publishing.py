"""The publisher of a running station, and the one that takes over from it when it is stuck."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Literal

from edge.contract.orders import Command
from edge.contract.status import HealthRecord, StateRecord
from edge.daemon.timing import StageClock
from edge.errors import BrokerError
from edge.outbox.publisher import Publisher, PublisherStatus
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox

_log = logging.getLogger(__name__)

PUBLISHING: Final = "publishing"
_NAME_LOOKUP_S: Final = 30.0
"""What a name server that is away may cost: the system's resolver asks again for so long."""
Make = Callable[[Callable[[Command], None], Callable[[], None]], Publisher]
"""From what obeys a command, and what hears of each round of work, to a publisher that was not started."""


def publishing_by(
    *,
    outbox: Outbox,
    settings: MqttSettings,
    site: str,
    station: str,
    birth: Callable[[], StateRecord],
    obey: Callable[[Command], None],
    clock: StageClock,
) -> Publishing:
    """The publishing of one station's outbox to the broker of ``settings``."""
    return Publishing(
        make=lambda obey_order, note_round: Publisher(
            outbox=outbox,
            settings=settings,
            site=site,
            station=station,
            birth=birth,
            on_command=obey_order,
            on_progress=note_round,
        ),
        obey=obey,
        clock=clock,
        silence_s=_NAME_LOOKUP_S + settings.connect_timeout_s + settings.keepalive_s,
    )


class Publishing:
    """Has one publisher at a time work on the outbox; what one before it still does is ignored.

    Nothing is lost with a publisher: what it had sent without an acknowledgement is sent again by the next,
    and the collector knows it by its key.
    """

    def __init__(
        self, *, make: Make, obey: Callable[[Command], None], clock: StageClock, silence_s: float = 0.0
    ) -> None:
        self._make = make
        self.silence_s = silence_s
        """How long it may be silent in good order: name looked up, connection made, write waited for."""
        self._obey = obey
        self._clock = clock
        self._before: list[Publisher] = []
        self._started = False
        self._given_up = False
        self._relieved, self._publisher = self._made()

    def start(self) -> None:
        """Begin. Raises BrokerError when a certificate or password file does not serve."""
        self._started = True
        self._clock.alive(PUBLISHING)
        self._publisher.start()

    def restart(self, reason: str) -> None:
        """Have another publisher take over. Raises what ``start`` raises."""
        _log.warning("the connection to the broker is made anew: %s", reason)
        self._leave()
        self._relieved, self._publisher = self._made()
        self.start()

    def give_up(self, reason: str) -> None:
        """Publish no more; records wait in the outbox for the next run."""
        _log.error("publishing is given up: %s", reason)
        self._given_up = True
        self._leave()

    def stop(self, timeout_s: float) -> None:
        """Send what can be sent within the time, say goodbye and end."""
        self._started = False
        if not self._given_up:
            self._publisher.stop(timeout_s)

    def publish_health(self, record: HealthRecord) -> None:
        """Publish how the station fares; while there is no connection, only the newest is kept."""
        self._publisher.publish_health(record)

    @property
    def status(self) -> PublisherStatus:
        """How it fares now."""
        return self._publisher.status

    @property
    def broker(self) -> Literal["connected", "disconnected"]:
        """Whether there is a connection that works."""
        return "disconnected" if self._given_up else self._publisher.status.broker

    @property
    def silent_s(self) -> float | None:
        """How long since its last round; None before the start and after the end."""
        return self._clock.silent_s(PUBLISHING) if self._started and not self._given_up else None

    @property
    def fault(self) -> str:
        """Why nobody publishes any more though somebody should; empty where all is well."""
        if not self._started or self._given_up or self._publisher.running:
            return ""
        return "its thread has ended"

    @property
    def left_behind(self) -> int:
        """How many relieved publishers are still stuck."""
        return sum(each.running for each in self._before)

    def _made(self) -> tuple[threading.Event, Publisher]:
        relieved = threading.Event()

        def obey(command: Command) -> None:
            if relieved.is_set():
                raise BrokerError(f"The command {command.id} came to a connection that was given up.")
            self._obey(command)

        def note_round() -> None:
            if not relieved.is_set():
                self._clock.passed(PUBLISHING)

        return relieved, self._make(obey, note_round)

    def _leave(self) -> None:
        self._relieved.set()
        self._publisher.abandon()
        self._before = [each for each in (*self._before, self._publisher) if each.running]
