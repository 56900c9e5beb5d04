"""The updates of a running station: its trial watched, its reports recorded, its next start chosen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from edge.bundle import read_manifest
from edge.cancellation import Cancelled
from edge.contract.manifest import Classifier
from edge.contract.message import Key
from edge.contract.records import DurableRecord, UpdateRecord
from edge.daemon.problems import Problems
from edge.daemon.shadow import Shadow
from edge.daemon.slide_desk import SlideDesk
from edge.engine.golden import GoldenReport
from edge.errors import BundleError, EngineError, LeukoscopeError, StorageError
from edge.update import rules
from edge.update.journal import JournalError
from edge.update.rules import Attempt, Report
from edge.update.serving import Opening, Serving
from edge.update.shadowing import told
from edge.update.store import UpdateBusyError, UpdateStore
from edge.update.trial import TrialWatch
from edge.update.updater import Outcome, Updater

_log = logging.getLogger(__name__)

UPDATES: Final = "updates"
_BUSY_S: Final = 60.0
_LOOK_EVERY_TICKS: Final = 5
"""The journal is read so often; what it says changes by the minute."""


class Recorder(Protocol):
    """Where records become durable; the outbox fits it."""

    def append_once(self, build: Callable[[Key], DurableRecord], *, subject: str, name: str) -> Key | None:
        """Save the record, or nothing where the newest of ``subject`` has this ``name``; or StorageError."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordedReports:
    """Turns the reports of updates into durable records, each once."""

    outbox: Recorder
    desk: SlideDesk

    def take(self, report: Report) -> None:
        """Save the report as a record. Raises StorageError."""

        def build(key: Key) -> UpdateRecord:
            return UpdateRecord(
                stamp=self.desk.stamp(key),
                state=report.state,
                candidate=report.candidate,
                release=report.release,
                attempt=report.attempt,
                detail=report.detail,
                shadow=report.shadow,
            )

        self.outbox.append_once(build, subject=UPDATES, name=report.key)


class Updates:
    """Watches the bundle that this process opened, and says when another one is to be opened.

    ``updater`` brings and proves bundles, in a thread of its own, every ``every_s`` and when it is told to.
    ``shadow`` runs a proved one beside the active bundle, where the station wants that.
    """

    def __init__(
        self,
        *,
        opening: Opening,
        serving: Serving,
        store: UpdateStore,
        updater: Updater,
        shadow: Shadow | None,
        every_s: float,
        watch: TrialWatch,
        check_golden: Callable[[], GoldenReport],
        classifier: Classifier,
        desk: SlideDesk,
        reports: RecordedReports,
        problems: Problems,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._on_trial = opening.on_trial is not None
        self._opening = opening
        self._serving = serving
        self._store = store
        self._updater = updater
        self._shadow = shadow
        self._every_s = every_s
        self._watch = watch
        self._check_golden = check_golden
        self._classifier = classifier
        self._desk = desk
        self._reports = reports
        self._problems = problems
        self._now = now
        self._monotonic_s = monotonic_s
        self._next_look_s = monotonic_s()
        self._ticks = 0
        self._stopping = threading.Event()
        self._looking: threading.Thread | None = None
        self.restart = ""
        """Why the station is to start anew; empty where it goes on."""
        self.told = ""
        """How the updates stand, for the person at the microscope; empty where there is nothing to say."""

    def start(self) -> None:
        """Prove a bundle on trial in the very engines that will serve, before they see a frame."""
        if self._opening.problem:
            self._problems.raise_(UPDATES, self._opening.problem)
        if not self._on_trial:
            return
        try:
            golden = self._check_golden()
        except (BundleError, EngineError) as error:
            self._watch.note_engine_error(str(error))
            return
        self._watch.note_golden(passed=golden.passed, detail=str(golden))

    def tick(self) -> None:
        """What is to be done about once a second."""
        if self._ticks % _LOOK_EVERY_TICKS == 0:
            try:
                self._follow()
            except UpdateBusyError:
                pass  # A command is at work on them, and the next tick is soon.
            except (BundleError, StorageError, JournalError) as error:
                self._problems.raise_(UPDATES, str(error))
        self._ticks += 1
        # Only now: a look has the journal to itself, and would find it taken by what stands above.
        if self._monotonic_s() >= self._next_look_s and not self.restart:
            self.look()

    def look(self) -> None:
        """Look for a newer bundle now, unless that is being done."""
        self._next_look_s = self._monotonic_s() + self._every_s
        if self._looking is not None and self._looking.is_alive():
            return
        self._looking = threading.Thread(target=self._look, name=UPDATES, daemon=True)
        self._looking.start()

    def cancel(self) -> None:
        """Give up the update under way, while nothing of it is active."""
        try:
            given_up = self._updater.cancel()
        except (StorageError, JournalError) as error:
            self._problems.raise_(UPDATES, str(error))
            return
        _log.info("update: %s", "nothing to cancel" if given_up is None else f"cancelled {given_up.name}")

    def stop(self, timeout_s: float) -> None:
        """End; a bundle on trial is not blamed for it."""
        self._stopping.set()
        if self._shadow is not None and not self._shadow.stop(timeout_s):
            _log.warning("the candidate beside the active bundle does not come to an end")
        if self._looking is not None:
            self._looking.join(timeout_s)
        try:
            self._serving.stop(self._watch.figures())
            self._serving.hand_over_reports(self._reports)
        except (StorageError, JournalError, UpdateBusyError) as error:
            _log.warning("the end of this run is not noted in the updates: %s", error)

    def _follow(self) -> None:
        if self._on_trial:
            verdict = self._serving.observe(self._watch.figures())
            self.told = f"A new bundle is on trial: {verdict.detail}"
            if verdict.decision == "commit":
                self._on_trial = False
                self.told = ""
                _log.info("the bundle on trial stays: %s", verdict.detail)
            elif verdict.decision == "roll_back":
                self.restart = f"the bundle on trial did not pass: {verdict.detail}"
        elif not self.restart:
            self.restart = self._ready()
        self._serving.hand_over_reports(self._reports)

    def _ready(self) -> str:
        """Why to start anew for a proved candidate; empty while there is none, or it has to wait."""
        attempt = self._store.journal.read().attempt
        if self._shadow is not None:
            if attempt is not None and self._serving.awaits_shadow(attempt):
                self._follow_shadow(attempt, self._shadow)
                return ""
            self._shadow.stop(0)
        if attempt is None or not attempt.is_ready:
            look = self._store.hand_look()
            brought = "" if look is None else look.told(self._now())
            self.told = brought if attempt is None else f"An update is {attempt.state.replace('_', '-')}."
            return ""
        candidate = read_manifest(self._store.shelf.place(attempt.offer.id))
        waits = rules.waits_for_slide(
            counted_cells=self._desk.counted_cells,
            slide_classes=self._classifier.classes,
            candidate_classes=candidate.classifier.classes,
        )
        if waits:
            self.told = f"A new bundle waits for the slide's end: {waits}."
            return ""
        return f"{candidate.name} release {candidate.release} has proved itself and begins its trial"

    def _follow_shadow(self, attempt: Attempt, shadow: Shadow) -> None:
        end = shadow.follow(attempt.key, bundle=self._store.shelf.place(attempt.offer.id))
        self.told = f"A new bundle runs beside the active one: {shadow.progress}."
        if end is None:
            return
        fault = end.fault
        if end.found is not None:
            _log.info("the new bundle has run %s", told(end.found))
            fault = self._serving.shadowed(attempt, end.found)
        else:
            self._serving.shadow_failed(attempt, fault)
        if fault:
            self._failed(fault)

    def _look(self) -> None:
        stopped: Cancelled = self._stopping.is_set
        try:
            outcome = self._updater.run_once(cancelled=stopped)
        except UpdateBusyError:
            # A command is at work on them; what it does not look for is not to wait until the next round.
            self._next_look_s = self._monotonic_s() + min(self._every_s, _BUSY_S)
            return
        except (LeukoscopeError, JournalError) as error:
            self._problems.raise_(UPDATES, str(error))
            return
        self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        if outcome.kind == "failed":
            self._failed(outcome.detail)
        else:
            self._problems.clear(UPDATES)
        _log.info("update: %s (%s)", outcome.kind, outcome.detail)

    def _failed(self, detail: str) -> None:
        self._problems.raise_(UPDATES, f"An update failed, and nothing has changed: {detail}")
