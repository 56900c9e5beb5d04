"""What an update may do next: a ledger and what becomes of it. Pure.

An *attempt* takes one candidate through the states::

    downloading -> verified -> preparing -> self_testing -> trial -> committed
    any of these but the last -> rolled_back

and ends in ``committed``, in ``rolled_back``, or, where a person or a full disk ended it, in ``idle``: each
attempt has one outcome, which is reported once. Between attempts the station is idle. Every function here
gives the ledger that is to be written down *before* what it says is done; so what a station finds at its
start is either done or was being done, and the ledger alone says which bundle it opens.

No clock is asked. A trial's time is the time that the station served in it: a station that is switched off
over the weekend has not failed, and one whose clock is wrong is none the wiser. A trial that ends its
process is counted, however it does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from edge.contract.records import ShadowResult
from edge.update.protocol import Offer, Proof

State = Literal[
    "idle", "downloading", "verified", "preparing", "self_testing", "trial", "committed", "rolled_back"
]
BRINGING: Final[frozenset[State]] = frozenset({"downloading", "verified"})
ENDED: Final[frozenset[State]] = frozenset({"committed", "rolled_back"})
_BEFORE: Final[Mapping[State, State]] = {
    "verified": "downloading",
    "preparing": "verified",
    "self_testing": "preparing",
}


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a candidate may fail before it is given up until a newer release.

    ``attempts``: to prove itself; ``downloads``: to be brought here, which is less often its own fault;
    ``deaths``: how often the station may die in one trial before it is rolled back.
    """

    attempts: int = 3
    downloads: int = 10
    deaths: int = 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """A state that an attempt entered, or what its shadow showed, to be told to the fleet once."""

    candidate: str
    release: int
    attempt: int
    state: State
    detail: str = ""
    shadow: ShadowResult | None = None

    @property
    def key(self) -> str:
        """Names this report in the world of this station, for ever."""
        said = self.state if self.shadow is None else "shadow"
        return f"{self.candidate}/{self.attempt}/{said}"


@dataclass(frozen=True, kw_only=True)
class History:
    """What became of a candidate's attempts so far; ``given_up`` says why there will be no more."""

    release: int
    begun: int = 0
    failed_downloads: int = 0
    failed_proofs: int = 0
    given_up: str = ""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A candidate that serves, and what to go back to.

    ``previous`` is the bundle that was active before, ``older`` the one before that; None is the bundle
    that the station was installed with. ``baseline_p99_ms`` is the previous bundle's latency of a field,
    where it is known. ``running`` says that a process began to serve and has not said that it ended well.
    """

    previous: str | None
    older: str | None
    baseline_p99_ms: float | None = None
    running: bool = False
    deaths: int = 0
    served_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try to bring one candidate to the station.

    ``proof`` is there once it has passed, ``shadow`` once the candidate has run beside the active bundle.
    """

    offer: Offer
    number: int
    state: State
    proof: Proof | None = None
    shadow: ShadowResult | None = None
    trial: Trial | None = None

    @property
    def key(self) -> str:
        """Names the attempt on this station, for ever."""
        return f"{self.offer.id}/{self.number}"

    @property
    def is_ready(self) -> bool:
        """Whether it has proved itself, so that nothing but its shadow and the moment may be missing."""
        return self.state == "self_testing" and self.proof is not None


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All that a station knows of its updates.

    ``highest_release`` is that of the bundles ever committed; ``active_p99_ms`` the latency of a field that
    the active bundle last showed, None where it never ran for long enough. ``histories`` holds, by id, the
    candidates that may still be offered. ``reports`` are those not yet handed over, in order.
    """

    highest_release: int = 0
    active_p99_ms: float | None = None
    attempt: Attempt | None = None
    histories: Mapping[str, History] = field(default_factory=dict)
    reports: tuple[Report, ...] = ()


def refusal(ledger: Ledger, offer: Offer, *, active_id: str, active_release: int) -> str:
    """Why ``offer`` is not taken; empty where it is. A release only ever goes up."""
    if offer.id == active_id:
        return "it is the active bundle"
    history = ledger.histories.get(offer.id)
    if history is not None and history.given_up:
        return f"it was given up until a newer release: {history.given_up}"
    floor = max(ledger.highest_release, active_release)
    if offer.release <= floor:
        return f"release {offer.release} is not newer than {floor}"
    return ""


def begin(ledger: Ledger, offer: Offer) -> Ledger:
    """A new attempt, about to download."""
    _expect(ledger.attempt is None, "an attempt is under way")
    history = ledger.histories.get(offer.id, History(release=offer.release))
    number = history.begun + 1
    return _entered(
        _with(ledger, offer.id, replace(history, begun=number)),
        Attempt(offer=offer, number=number, state="downloading"),
    )


def advance(ledger: Ledger, state: State) -> Ledger:
    """The attempt's next state on the way to its proof."""
    attempt = _attempt(ledger)
    _expect(_BEFORE.get(state) == attempt.state, f"{state} does not follow {attempt.state}")
    return _entered(ledger, replace(attempt, state=state))


def proved(ledger: Ledger, proof: Proof) -> Ledger:
    """The self-test has passed: the candidate waits for its moment."""
    attempt = _attempt(ledger)
    _expect(attempt.state == "self_testing" and proof.passed, "only a passed self-test proves")
    return replace(ledger, attempt=replace(attempt, proof=proof))


def shadowed(ledger: Ledger, found: ShadowResult, detail: str) -> Ledger:
    """The proved candidate has run beside the active bundle, and what both said is compared."""
    attempt = _attempt(ledger)
    _expect(attempt.is_ready and attempt.shadow is None, "only a proved candidate is shadowed, and once")
    return _told(replace(ledger, attempt=replace(attempt, shadow=found)), detail=detail, shadow=found)


def activate(ledger: Ledger, *, active: str | None, previous: str | None) -> Ledger:
    """The candidate is about to become active, on trial; ``active`` and ``previous`` are so until now."""
    attempt = _attempt(ledger)
    _expect(attempt.is_ready, "only a proved candidate is tried")
    trial = Trial(previous=active, older=previous, baseline_p99_ms=ledger.active_p99_ms)
    proof = "" if attempt.proof is None else attempt.proof.detail
    return _entered(ledger, replace(attempt, state="trial", trial=trial), detail=proof)


def serve(ledger: Ledger, *, patience: Patience) -> Ledger:
    """A process is about to open the candidate on trial; one before it that never ended well has died."""
    attempt, trial = _on_trial(ledger)
    deaths = trial.deaths + 1 if trial.running else trial.deaths
    if deaths >= patience.deaths:
        return fail(ledger, f"the station died {deaths} times in its trial", patience=patience)
    return replace(ledger, attempt=replace(attempt, trial=replace(trial, running=True, deaths=deaths)))


def served(ledger: Ledger, *, served_s: float, ended: bool) -> Ledger:
    """The trial's serving time in all; ``ended``: the process ends well, and its end is no death."""
    attempt, trial = _on_trial(ledger)
    spent = replace(trial, served_s=max(trial.served_s, served_s), running=trial.running and not ended)
    return replace(ledger, attempt=replace(attempt, trial=spent))


def commit(ledger: Ledger, detail: str, *, latency_p99_ms: float | None) -> Ledger:
    """The trial is passed: the candidate is the bundle that later ones are measured by."""
    attempt, _ = _on_trial(ledger)
    return _entered(
        replace(
            ledger,
            highest_release=max(ledger.highest_release, attempt.offer.release),
            active_p99_ms=latency_p99_ms,
        ),
        replace(attempt, state="committed"),
        detail=detail,
    )


def fail(ledger: Ledger, detail: str, *, patience: Patience) -> Ledger:
    """The attempt has failed by the candidate's fault; where that was once too often, it is given up."""
    attempt = _attempt(ledger)
    _expect(attempt.state not in ENDED, "the attempt has ended already")
    history = ledger.histories[attempt.offer.id]
    if attempt.state in BRINGING:
        history = replace(history, failed_downloads=history.failed_downloads + 1)
    else:
        history = replace(history, failed_proofs=history.failed_proofs + 1)
    if history.failed_downloads >= patience.downloads or history.failed_proofs >= patience.attempts:
        history = replace(history, given_up=detail)
        detail = f"{detail}; given up until a newer release"
    return _entered(
        _with(ledger, attempt.offer.id, history), replace(attempt, state="rolled_back"), detail=detail
    )


def can_be_cancelled(ledger: Ledger) -> bool:
    """Whether an attempt is under way, and nothing was activated yet."""
    return ledger.attempt is not None and ledger.attempt.state not in ENDED | {"trial"}


def abandon(ledger: Ledger, detail: str) -> Ledger:
    """The attempt has ended by nobody's fault, before anything was activated."""
    attempt = _attempt(ledger)
    _expect(can_be_cancelled(ledger), f"an attempt in {attempt.state} is not abandoned")
    return replace(_entered(ledger, replace(attempt, state="idle"), detail=detail), attempt=None)


def interrupted(ledger: Ledger, *, patience: Patience) -> Ledger:
    """What is left of an attempt whose process is gone; a proved one, a trial and an end stand."""
    attempt = ledger.attempt
    if attempt is None or attempt.is_ready or attempt.state in ENDED | {"trial"}:
        return ledger
    return fail(ledger, f"interrupted while {attempt.state.replace('_', '-')}", patience=patience)


def settled(ledger: Ledger) -> Ledger:
    """The end of the attempt is carried out: the station is idle."""
    attempt = _attempt(ledger)
    _expect(attempt.state in ENDED, f"an attempt in {attempt.state} is not at its end")
    # Candidates that are not newer than what was committed cannot come again.
    kept = {
        known: history
        for known, history in ledger.histories.items()
        if history.release > ledger.highest_release
    }
    return replace(ledger, attempt=None, histories=kept)


def forgive(ledger: Ledger, candidate: str) -> Ledger:
    """A person gives a candidate another chance. Raises KeyError for one that has no history here."""
    history = ledger.histories[candidate]
    return _with(ledger, candidate, History(release=history.release, begun=history.begun))


def reported(ledger: Ledger, report: Report) -> Ledger:
    """``report`` was handed over."""
    return replace(ledger, reports=tuple(each for each in ledger.reports if each.key != report.key))


def waits_for_slide(
    *, counted_cells: int, slide_classes: tuple[str, ...], candidate_classes: tuple[str, ...]
) -> str:
    """Why a proved candidate is not activated now; empty where it may be.

    A differential is that of one bundle: a slide with cells is never taken from one to another, least of
    all to one that names other classes.
    """
    if not counted_cells:
        return ""
    if slide_classes != candidate_classes:
        return (
            f"the open slide counts other classes ({', '.join(slide_classes)}) than the new bundle names "
            f"({', '.join(candidate_classes)})"
        )
    return f"the open slide has {counted_cells} cells of the bundle that counts it"


def _entered(ledger: Ledger, attempt: Attempt, *, detail: str = "") -> Ledger:
    return _told(replace(ledger, attempt=attempt), detail=detail)


def _told(ledger: Ledger, *, detail: str, shadow: ShadowResult | None = None) -> Ledger:
    attempt = _attempt(ledger)
    report = Report(
        candidate=attempt.offer.id,
        release=attempt.offer.release,
        attempt=attempt.number,
        state=attempt.state,
        detail=detail,
        shadow=shadow,
    )
    return replace(ledger, reports=(*ledger.reports, report))


def _with(ledger: Ledger, candidate: str, history: History) -> Ledger:
    return replace(ledger, histories={**ledger.histories, candidate: history})


def _attempt(ledger: Ledger) -> Attempt:
    if ledger.attempt is None:
        raise ValueError("no attempt is under way")
    return ledger.attempt


def _on_trial(ledger: Ledger) -> tuple[Attempt, Trial]:
    attempt = _attempt(ledger)
    if attempt.state != "trial" or attempt.trial is None:
        raise ValueError("no bundle is on trial")
    return attempt, attempt.trial


def _expect(sound: bool, otherwise: str) -> None:
    """A step out of order is a fault of the program, not of a bundle."""
    if not sound:
        raise ValueError(otherwise)
