"""Brings a candidate to the station and proves it there, while the station goes on with what it has."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.cancellation import Cancelled, CancelledError
from edge.errors import BundleError, LeukoscopeError, StorageError
from edge.filesystem import is_full_disk
from edge.update import rules
from edge.update.protocol import Delivery, Offer, Progress, Proof, SelfTest
from edge.update.rules import Ledger, Patience
from edge.update.store import ReportSink, UpdateBusyError, UpdateStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one run ended.

    ``nothing``: there is no newer bundle, or it was given up; ``ready``: a candidate has proved itself and
    is tried at the station's next start; ``on_trial``: one is being tried already; ``failed`` and
    ``cancelled``: the station stays as it is.
    """

    kind: Literal["nothing", "ready", "on_trial", "failed", "cancelled"]
    detail: str
    offer: Offer | None = None


def _free_bytes(place: Path) -> int:
    return shutil.disk_usage(place).free


def unwatched(_done_bytes: int, _total_bytes: int) -> None:
    """Nobody watches."""


class Updater:
    """Takes the newest offered bundle through download, verification and self-test.

    ``reserve_bytes`` stay free on the disk for the station's own records. ``progress`` is told of a
    download's bytes. Reports go to ``sink`` as they come; without one they wait for the station to hand
    them over.
    """

    def __init__(
        self,
        *,
        store: UpdateStore,
        delivery: Delivery,
        self_test: SelfTest,
        patience: Patience,
        reserve_bytes: int,
        sink: ReportSink | None = None,
        progress: Progress = unwatched,
        free_bytes: Callable[[Path], int] = _free_bytes,
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._self_test = self_test
        self._patience = patience
        self._reserve_bytes = reserve_bytes
        self._sink = sink
        self._progress = progress
        self._free_bytes = free_bytes

    def run_once(self, *, cancelled: Cancelled = lambda: False) -> Outcome:
        """Look for a newer bundle and prove it; the active one is not touched.

        ``cancelled`` ends the attempt from within this process, as ``cancel`` does from any. Raises
        UpdateBusyError when another process is at it, DeliveryError when there is no telling what is
        offered, StorageError when the disk does not serve, JournalError when the station has to be started
        anew before. A candidate's own faults are an outcome.
        """
        with self._store.lock():
            ledger = self._store.journal.read()
            # Nobody else holds the lock, so a half-done attempt is that of a process that is gone.
            after = rules.interrupted(ledger, patience=self._patience)
            ledger = self._store.settle(after if after is ledger else self._write(after))
            attempt = ledger.attempt
            if attempt is not None and attempt.is_ready:
                return Outcome(kind="ready", detail="proved before", offer=attempt.offer)
            if attempt is not None:
                return Outcome(kind="on_trial", detail="a bundle is on trial", offer=attempt.offer)
            # Here and not at the station's start, which no cleaning may hold up.
            self._store.tidy(ledger)
            return self._look(ledger, cancelled)

    def cancel(self) -> Offer | None:
        """Give up the attempt under way, here or in another process; its candidate, None where there is none.

        Works until the candidate is activated. A process at work on it ends as soon as it looks. Raises
        StorageError or JournalError.
        """
        try:
            with self._store.lock():
                ledger = self._store.journal.read()
                if not rules.can_be_cancelled(ledger):
                    return None
                self._write(rules.abandon(ledger, "cancelled"))
        except UpdateBusyError:
            ledger = self._store.journal.read()
            if not rules.can_be_cancelled(ledger) or ledger.attempt is None:
                return None
            self._store.ask_to_cancel(ledger.attempt)
        return None if ledger.attempt is None else ledger.attempt.offer

    def forgive(self, candidate: str) -> None:
        """Give a candidate that was given up another chance. Raises KeyError for an unknown one."""
        with self._store.lock():
            self._store.journal.write(rules.forgive(self._store.journal.read(), candidate))

    def _look(self, ledger: Ledger, cancelled: Cancelled) -> Outcome:
        offer = self._delivery.newest()
        if offer is None:
            return Outcome(kind="nothing", detail="nothing is offered")
        active_id, active_release = self._active()
        reason = rules.refusal(ledger, offer, active_id=active_id, active_release=active_release)
        if reason:
            return Outcome(kind="nothing", detail=reason, offer=offer)
        if not self._store.shelf.holds(offer.id):
            self._require_space(offer)
        return self._attempt(ledger, offer, cancelled)

    def _active(self) -> tuple[str, int]:
        """The active bundle's id and release; 0 where it is damaged, so that a newer one can replace it."""
        active_id = self._store.shelf.active
        try:
            manifest = self._store.shelf.open(active_id).manifest
        except BundleError as error:
            _log.error("the active bundle is damaged: %s", error)
            return active_id or "", 0
        return manifest.id, manifest.release

    def _attempt(self, ledger: Ledger, offer: Offer, cancelled: Cancelled) -> Outcome:
        ledger = self._write(rules.begin(ledger, offer))
        attempt = ledger.attempt
        try:
            watched = _either(cancelled, lambda: attempt is not None and self._store.is_cancelled(attempt))
            self._bring(offer, watched)
            ledger = self._write(rules.advance(ledger, "verified"))
            if not self._store.shelf.holds(offer.id):
                self._store.shelf.shelve(offer.id)
            return self._prove(ledger, offer, watched)
        except CancelledError:
            return self._abandoned(offer, "cancelled")
        except (StorageError, OSError) as error:
            # Its own fault or not, the disk is what has to be mended: the candidate may come again.
            self._abandoned(offer, f"the disk does not serve: {error}")
            if isinstance(error, StorageError):
                raise
            remedy = "Free space on its disk." if is_full_disk(error) else "Check the disk."
            fault = f"The bundle {offer.name} {offer.id[:12]} cannot be kept: {error.strerror or error}."
            raise StorageError(fault, remedy=remedy) from error
        except LeukoscopeError as error:
            return self._failed(offer, str(error))

    def _bring(self, offer: Offer, cancelled: Cancelled) -> None:
        shelf = self._store.shelf
        if shelf.holds(offer.id):
            try:
                shelf.open(offer.id)
            except BundleError as error:
                _log.warning("downloading %s again: %s", offer.id[:12], error)
                shelf.discard(offer.id)
            else:
                return
        self._delivery.fetch(
            offer,
            into=shelf.downloads(offer.id),
            progress=self._progress,
            cancelled=cancelled,
        )
        manifest = shelf.check_download(offer.id).manifest
        if manifest.release != offer.release:
            raise BundleError(
                f"The bundle {offer.id[:12]} is release {manifest.release}, but was offered as "
                f"{offer.release}.",
                remedy="Publish it again with its own release.",
            )

    def _prove(self, ledger: Ledger, offer: Offer, cancelled: Cancelled) -> Outcome:
        current = self._write(rules.advance(ledger, "preparing"))

        def proving() -> None:
            nonlocal current
            current = self._write(rules.advance(current, "self_testing"))

        proof = self._self_test(self._store.shelf.place(offer.id), proving=proving, cancelled=cancelled)
        if not proof.passed:
            return self._failed(offer, _told(proof))
        if cancelled():
            raise CancelledError
        self._write(rules.proved(current, proof))
        return Outcome(kind="ready", detail=_told(proof), offer=offer)

    def _failed(self, offer: Offer, detail: str) -> Outcome:
        ledger = rules.fail(self._store.journal.read(), detail, patience=self._patience)
        self._store.settle(self._write(ledger))
        return Outcome(kind="failed", detail=detail, offer=offer)

    def _abandoned(self, offer: Offer, detail: str) -> Outcome:
        self._write(rules.abandon(self._store.journal.read(), detail))
        return Outcome(kind="cancelled", detail=detail, offer=offer)

    def _write(self, ledger: Ledger) -> Ledger:
        self._store.journal.write(ledger)
        if self._sink is None:
            return ledger
        try:
            return self._store.hand_over(ledger, self._sink)
        except StorageError as error:
            # They wait in the journal, and no candidate has to fail for it.
            _log.warning("reports of the update wait: %s", error)
            return self._store.journal.read()

    def _require_space(self, offer: Offer) -> None:
        needed_bytes = offer.size_bytes + self._reserve_bytes
        try:
            free_bytes = self._free_bytes(self._store.root)
        except OSError as error:
            raise StorageError(f"{self._store.root} cannot be looked at: {error.strerror}.") from error
        if free_bytes < needed_bytes:
            raise StorageError(
                f"The bundle {offer.name} release {offer.release} needs {needed_bytes} bytes with the "
                f"reserve, and {free_bytes} are free at {self._store.root}.",
                remedy="Free space on that disk; the update comes by itself at the next look.",
            )


def _either(one: Cancelled, other: Cancelled) -> Cancelled:
    return lambda: one() or other()


def _told(proof: Proof) -> str:
    return f"{proof.engine} {proof.precision}: {proof.detail}"
