"""Which bundle the station opens, and how long one on trial stays.

A bundle becomes active at the start of the station alone, before any is opened: no slide is open then, and
no engine has to change under a frame. A station that has a proved candidate starts again when the operator's
slide allows it (:func:`edge.update.rules.waits_for_slide`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from edge.bundle import Bundle
from edge.contract.records import ShadowResult
from edge.errors import BundleError, StorageError
from edge.update import rules
from edge.update.journal import JournalError
from edge.update.rules import Attempt, Ledger, Patience
from edge.update.shadowing import ShadowGate, objection, told
from edge.update.store import ReportSink, UpdateBusyError, UpdateStore
from edge.update.trial import ENOUGH_FIELDS, Figures, Gate, Verdict, judge

_log = logging.getLogger(__name__)

_NOTE_EVERY_S: Final = 30.0
"""How much of a trial's serving time a power cut may make forgotten; a write each second would wear flash."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The bundle to open, every byte of it checked.

    ``on_trial`` is the attempt that it has to pass, and None for a bundle that has; ``problem`` is what a
    person should know of how it was chosen, empty where all is well.
    """

    bundle: Bundle
    on_trial: Attempt | None = None
    problem: str = ""


class Serving:
    """The updates as the serving station sees them.

    With a ``shadow`` gate, a proved candidate is not tried before it has run beside the active bundle.
    """

    def __init__(
        self, *, store: UpdateStore, patience: Patience, gate: Gate, shadow: ShadowGate | None = None
    ) -> None:
        self._store = store
        self._patience = patience
        self._gate = gate
        self._shadow = shadow
        # What this process has open, as the shelf names it: its figures are those of no other bundle.
        self._opened: str | None = None
        self._served_before_s = 0.0
        self._noted_s = 0.0

    def recover(self) -> Opening:
        """Choose the bundle, by the journal alone; to be called before any bundle is opened.

        A proved candidate is activated and begins its trial. A trial that killed the station too often
        ends. A disk that is full and a command at work on the updates are no reason not to start: an
        unproved bundle is not opened then. Raises BundleError where not even the bundle of the installation
        can be opened.
        """
        try:
            with self._store.lock():
                return self._recover()
        except (StorageError, UpdateBusyError) as error:
            _log.error("updates: %s", error)
            return self._without_writing(str(error))

    def observe(self, figures: Figures) -> Verdict:
        """Judge the bundle on trial by what this process has seen of it, and do what follows.

        After ``commit`` it stays; after ``roll_back`` the bundle before it is active again, and the station
        has to start anew to open it. Raises StorageError or UpdateBusyError: nothing is decided then, so
        call again.
        """
        with self._store.lock():
            ledger = self._store.journal.read()
            attempt = ledger.attempt
            if attempt is None or attempt.trial is None or not self._is_trying(ledger):
                return Verdict(decision="wait", detail="no bundle is on trial here")
            verdict = judge(
                self._gate,
                figures,
                served_before_s=self._served_before_s,
                baseline_p99_ms=attempt.trial.baseline_p99_ms,
            )
            if verdict.decision == "commit":
                ended = rules.commit(ledger, verdict.detail, latency_p99_ms=figures.latency_p99_ms)
                self._store.journal.write(ended)
                self._store.settle(ended)
            elif verdict.decision == "roll_back":
                ended = rules.fail(ledger, verdict.detail, patience=self._patience)
                self._store.journal.write(ended)
                self._store.settle(ended)
            elif figures.served_s - self._noted_s >= _NOTE_EVERY_S:
                self._store.journal.write(self._served(ledger, figures.served_s, ended=False))
                self._noted_s = figures.served_s
            return verdict

    def awaits_shadow(self, attempt: Attempt) -> bool:
        """Whether the candidate has proved itself, and has yet to run beside the active bundle."""
        return self._shadow is not None and attempt.is_ready and attempt.shadow is None

    def shadowed(self, attempt: Attempt, found: ShadowResult) -> str:
        """Keep and report what ``attempt`` showed beside the active bundle, and judge it.

        Why the candidate has failed by it; empty where it may be tried, and where that attempt is no longer
        the one under way. Raises StorageError or UpdateBusyError: nothing is kept then, so call again.
        """
        fault = "" if self._shadow is None else objection(self._shadow, found)
        with self._awaiting(attempt) as ledger:
            if ledger is None:
                return ""
            kept = rules.shadowed(ledger, found, told(found))
            self._end(rules.fail(kept, fault, patience=self._patience) if fault else kept)
        return fault

    def shadow_failed(self, attempt: Attempt, fault: str) -> None:
        """The candidate of ``attempt`` could not answer beside the active bundle: it has failed.

        Nothing where that attempt is no longer the one under way. Raises as ``shadowed``.
        """
        with self._awaiting(attempt) as ledger:
            if ledger is not None:
                detail = f"beside the active bundle: {fault}"
                self._end(rules.fail(ledger, detail, patience=self._patience))

    def stop(self, figures: Figures) -> None:
        """The process ends as it should: its end is not held against a bundle on trial.

        The latency of an active bundle that is not on trial is kept, to measure the next one by. Raises
        StorageError or UpdateBusyError.
        """
        with self._store.lock():
            ledger = self._store.journal.read()
            if self._is_trying(ledger):
                self._store.journal.write(self._served(ledger, figures.served_s, ended=True))
            elif self._opened == self._store.shelf.active and figures.fields >= ENOUGH_FIELDS:
                self._store.journal.write(replace(ledger, active_p99_ms=figures.latency_p99_ms))

    def hand_over_reports(self, sink: ReportSink) -> None:
        """Give every report that is waiting to ``sink``. Raises StorageError or UpdateBusyError."""
        with self._store.lock():
            self._store.hand_over(self._store.journal.read(), sink)

    @contextmanager
    def _awaiting(self, attempt: Attempt) -> Iterator[Ledger | None]:
        """The ledger, locked, where ``attempt`` is under way and awaits its shadow; else None."""
        with self._store.lock():
            ledger = self._store.journal.read()
            current = ledger.attempt
            same = current is not None and current.key == attempt.key and self.awaits_shadow(current)
            yield ledger if same else None

    def _end(self, ledger: Ledger) -> None:
        self._store.journal.write(ledger)
        self._store.settle(ledger)

    def _recover(self) -> Opening:
        shelf, journal = self._store.shelf, self._store.journal
        try:
            found = journal.read()
        except JournalError as error:
            return self._begin_again(error)
        ledger = rules.interrupted(found, patience=self._patience)
        attempt = ledger.attempt
        if attempt is not None and attempt.is_ready:
            if self._store.is_cancelled(attempt):
                ledger = rules.abandon(ledger, "cancelled")
            elif not self.awaits_shadow(attempt):
                ledger = rules.activate(ledger, active=shelf.active, previous=shelf.previous)
        if ledger.attempt is not None and ledger.attempt.state == "trial":
            ledger = rules.serve(ledger, patience=self._patience)
        if ledger is not found:
            journal.write(ledger)
        if ledger.attempt is not None and ledger.attempt.state == "trial":
            opening = self._open_candidate(ledger)
            if opening is not None:
                return opening
            ledger = journal.read()
        return self._open_first(self._proved(ledger), "")

    def _open_candidate(self, ledger: Ledger) -> Opening | None:
        """The bundle on trial, made active; None where its bytes are not what they were."""
        attempt = ledger.attempt
        if attempt is None or attempt.trial is None:
            raise ValueError("no bundle is on trial")
        try:
            bundle = self._store.shelf.open(attempt.offer.id)
        except BundleError as error:
            failed = rules.fail(ledger, f"it cannot be opened: {error}", patience=self._patience)
            self._store.journal.write(failed)
            return None
        self._store.shelf.point(active=attempt.offer.id, previous=attempt.trial.previous)
        self._opened = attempt.offer.id
        self._served_before_s = attempt.trial.served_s
        self._noted_s = 0.0
        return Opening(bundle=bundle, on_trial=attempt)

    def _open_first(self, proved: Sequence[str | None], problem: str) -> Opening:
        """The first of these that can be opened, and at last the base, which alone may raise BundleError."""
        shelf = self._store.shelf
        for bundle_id in dict.fromkeys(proved):
            if bundle_id is None:
                break
            try:
                bundle = shelf.open(bundle_id)
            except BundleError as error:
                _log.error("going back: %s", error)
                problem = f"{problem} {error}".lstrip()
            else:
                self._opened = bundle_id
                return Opening(bundle=bundle, problem=problem)
        self._opened = None
        return Opening(bundle=shelf.open(None), problem=problem)

    def _without_writing(self, problem: str) -> Opening:
        """What is proved already, while nothing can be written: a bundle on trial could not be counted."""
        shelf = self._store.shelf
        try:
            ledger = self._store.journal.read()
        except (StorageError, JournalError) as error:
            # Nobody knows whether the active bundle is on trial.
            return self._open_first((shelf.previous,), f"{problem} {error}")
        return self._open_first(self._proved(ledger), problem)

    def _proved(self, ledger: Ledger) -> tuple[str | None, str | None]:
        """The bundle that has proved itself, and the one before it.

        The links may still be those of a trial that has failed: to set them back is no part of a start, so
        that nothing that goes wrong there keeps a station from serving. The next look for a bundle does it.
        """
        attempt = ledger.attempt
        if attempt is None or attempt.trial is None or attempt.state == "committed":
            return self._store.shelf.active, self._store.shelf.previous
        return attempt.trial.previous, attempt.trial.older

    def _begin_again(self, error: JournalError) -> Opening:
        """Without a journal nobody knows whether the active bundle was proved: the one before it was."""
        shelf = self._store.shelf
        shelf.point(active=shelf.previous, previous=shelf.previous)
        aside = self._store.journal.set_aside()
        problem = f"{error.fault} It is kept as {aside}, and the bundle before the last is active."
        _log.error("updates: %s", problem)
        return self._open_first((shelf.active,), problem)

    def _is_trying(self, ledger: Ledger) -> bool:
        """Whether this process has the bundle open that is on trial."""
        attempt = ledger.attempt
        return attempt is not None and attempt.state == "trial" and attempt.offer.id == self._opened

    def _served(self, ledger: Ledger, served_s: float, *, ended: bool) -> Ledger:
        return rules.served(ledger, served_s=self._served_before_s + served_s, ended=ended)
