"""Runs a bundle's self-test in a process of its own: what hangs or crashes there harms nobody."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from edge.cancellation import Cancelled
from edge.child_process import SilentError, child_process
from edge.engine.choice import PrecisionChoice
from edge.update.protocol import Proof

PREPARED: Final = "prepared"
"""What the child says when its engines are ready and it waits to be told to go on."""

_PROOF: Final[TypeAdapter[Proof]] = TypeAdapter(Proof)
_PROGRAM: Final = (sys.executable, "-m", "edge.update.self_test")


class ChildSelfTest:
    """Runs the self-test of a bundle in a child process of low priority, with a limit to each part.

    ``engines`` is where engines are kept that were built on this machine; None where none are.
    ``prepare_s`` is how long they may take to be built, ``prove_s`` the golden set to run.
    """

    def __init__(
        self,
        *,
        precision: PrecisionChoice,
        engines: Path | None = None,
        threads: int,
        prepare_s: float,
        prove_s: float,
        program: Sequence[str] = _PROGRAM,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._precision = precision
        self._program = [*program, "--precision", precision, "--threads", str(threads)]
        if engines is not None:
            self._program += ["--engines", str(engines)]
        self._prepare_s = prepare_s
        self._prove_s = prove_s
        self._monotonic_s = monotonic_s

    def __call__(self, bundle: Path, *, proving: Callable[[], None], cancelled: Cancelled) -> Proof:
        """Prove ``bundle``; see :class:`edge.update.protocol.SelfTest`."""
        try:
            with child_process(
                [*self._program, str(bundle)], name="the self-test", monotonic_s=self._monotonic_s
            ) as child:
                said = child.line(limit_s=self._prepare_s, what="preparing", cancelled=cancelled)
                if said == PREPARED:
                    proving()
                    golden = "the golden set"
                    child.give(b"go on\n", limit_s=self._prove_s, what=golden, cancelled=cancelled)
                    said = child.line(limit_s=self._prove_s, what=golden, cancelled=cancelled)
                return _PROOF.validate_json(said)
        except SilentError as error:
            return self._failed(str(error))
        except (OSError, ValidationError) as error:
            return self._failed(f"the self-test did not answer: {error}")

    def _failed(self, detail: str) -> Proof:
        return Proof(
            passed=False, engine="unknown", precision=self._precision, detail=detail, latency_p99_ms=None
        )
