"""Journal, shelf, lock and cancellation of one station's updates, in one directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from edge.errors import LeukoscopeError
from edge.filesystem import Disk, Filesystem, disk_faults
from edge.process_lock import HeldElsewhereError, held, take_lock
from edge.update import rules
from edge.update.hand_look import HandLook, keep_hand_look, read_hand_look
from edge.update.journal import Journal
from edge.update.rules import Attempt, Ledger, Report
from edge.update.shelf import Shelf

_DISK: Final = Disk()


class UpdateBusyError(LeukoscopeError):
    """Another process is at work on this station's updates."""

    exit_code = 75  # EX_TEMPFAIL


class ReportSink(Protocol):
    """Where reports become durable on their way to the fleet."""

    def take(self, report: Report) -> None:
        """Keep the report; durable on return, or StorageError. One whose ``key`` it has is not kept twice."""
        ...


class UpdateStore:
    """What is kept of updates under ``root``; ``base`` is the bundle the station was installed with."""

    def __init__(self, *, root: Path, base: Path, filesystem: Filesystem = _DISK) -> None:
        self.root = root
        self._cancellation = root / "cancel"
        self._filesystem = filesystem
        self.journal = Journal(path=root / "journal.json", filesystem=filesystem)
        self.shelf = Shelf(root=root, base=base, filesystem=filesystem)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from the updates; the system frees it even when this one is killed.

        Raises UpdateBusyError at once where another has it, StorageError where the disk does not serve.
        """
        try:
            with disk_faults(self.root):
                taken = take_lock(self.root / "lock")
        except HeldElsewhereError as error:
            raise UpdateBusyError(
                f"Another process ({error.holder}) is at work on the updates in {self.root}.",
                remedy="Wait until it is done, or cancel it with `leukoscope-edge update cancel`.",
            ) from error
        with held(taken):
            yield

    def hand_over(self, ledger: Ledger, sink: ReportSink) -> Ledger:
        """Give every waiting report to ``sink``, in order. Raises StorageError.

        A report is forgotten here only after the sink has it. Killed in between, the station gives it
        again, and the sink knows it by its key: so each is told once.
        """
        for report in ledger.reports:
            sink.take(report)
            ledger = rules.reported(ledger, report)
            self.journal.write(ledger)
        return ledger

    def ask_to_cancel(self, attempt: Attempt) -> None:
        """Have whoever is at work on ``attempt`` give it up. Raises StorageError."""
        with disk_faults(self.root):
            self._cancellation.write_text(attempt.key, encoding="ascii")

    def is_cancelled(self, attempt: Attempt) -> bool:
        """Whether somebody asked for the end of this attempt; what was asked of another does not count."""
        with disk_faults(self.root):
            try:
                return self._cancellation.read_text(encoding="ascii", errors="replace") == attempt.key
            except FileNotFoundError:
                return False

    def keep_hand_look(self, look: HandLook) -> None:
        """Let the station's page know what came of it. Raises StorageError."""
        keep_hand_look(self.root, look, filesystem=self._filesystem)

    def hand_look(self) -> HandLook | None:
        """The latest look by hand; None where there was none. Raises StorageError."""
        return read_hand_look(self.root)

    def settle(self, ledger: Ledger) -> Ledger:
        """Carry out an attempt's end and write down that it was; the bundle on trial goes or stays.

        May be repeated as often as it is interrupted. Raises StorageError.
        """
        attempt = ledger.attempt
        if attempt is None or attempt.state not in rules.ENDED:
            return ledger
        if attempt.state == "rolled_back" and attempt.trial is not None:
            self.shelf.point(active=attempt.trial.previous, previous=attempt.trial.older)
        ledger = rules.settled(ledger)
        self.journal.write(ledger)
        return ledger

    def tidy(self, ledger: Ledger) -> None:
        """Remove what no coming step needs: neither active, nor previous, nor a candidate. StorageError."""
        wanted = {known for known, history in ledger.histories.items() if not history.given_up}
        trial = ledger.attempt.trial if ledger.attempt is not None else None
        if trial is not None:
            wanted |= {each for each in (trial.previous, trial.older) if each is not None}
        if ledger.attempt is not None:
            wanted.add(ledger.attempt.offer.id)
        self.shelf.tidy(keep=wanted)
