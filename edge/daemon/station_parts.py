"""The station's stages as the supervisor sees them: what each owes, and what is lost without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from edge.config import SupervisionSettings
from edge.daemon.capture import CAPTURE, Capture
from edge.daemon.observer import ANALYSIS, GATES, SAVING, Observer
from edge.daemon.problems import Problems
from edge.daemon.publishing import PUBLISHING, Publishing
from edge.daemon.stage_worker import PREPARING_S
from edge.daemon.supervision import Part, Supervisor
from edge.daemon.supervision_rules import Patience
from edge.daemon.timing import StageClock
from edge.web.server import PageServer

PAGE: Final = "page"

_LOST: Final = {
    GATES: "Frames are no longer judged: nothing new is counted, and what was counted is still delivered",
    ANALYSIS: "Cells are no longer found: frames are shown and not counted, and results are still delivered",
    SAVING: "Fields can no longer be saved, so none is counted; frames are shown",
}


def station_parts(
    *,
    capture: Capture,
    observer: Observer,
    publishing: Publishing | None,
    page: PageServer | None,
    clock: StageClock,
    stuck_after_s: float,
) -> Iterator[Part]:
    """Every part of the station that makes progress of its own, in the order of the data's way."""
    yield Part(
        name=CAPTURE,
        lost="The camera is no longer read: nothing new is counted, and what was counted is still delivered",
        limit_s=lambda: stuck_after_s,
        silent_s=lambda: capture.silent_s,
        passes=lambda: clock.passes(CAPTURE),
        fault=lambda: capture.fault,
        restart=capture.restart,
        give_up=capture.give_up,
        left_behind=lambda: capture.left_behind,
        restartable=capture.restartable,
    )
    for stage in (GATES, ANALYSIS, SAVING):
        yield _stage(observer, stage, clock, stuck_after_s)
    if publishing is not None:
        yield Part(
            name=PUBLISHING,
            lost="Results are no longer delivered: counting goes on, and they wait on this machine's disk",
            limit_s=lambda: stuck_after_s + publishing.silence_s,
            silent_s=lambda: publishing.silent_s,
            passes=lambda: clock.passes(PUBLISHING),
            fault=lambda: publishing.fault,
            restart=publishing.restart,
            give_up=publishing.give_up,
            left_behind=lambda: publishing.left_behind,
        )
    if page is not None:
        yield Part(
            name=PAGE,
            lost="The page is no longer served; counting and delivery go on",
            limit_s=lambda: stuck_after_s,
            silent_s=lambda: page.silent_s,
            passes=lambda: page.passes,
            fault=lambda: "" if page.running else "its threads have ended",
            restart=lambda _reason: page.restart(),
            give_up=lambda _reason: page.stop(0),
            left_behind=lambda: page.left_behind,
        )


def supervise(
    parts: Iterable[Part],
    *,
    settings: SupervisionSettings,
    problems: Problems,
    monotonic_s: Callable[[], float],
) -> Supervisor:
    """The supervisor of these parts, as patient as ``settings`` say."""
    return Supervisor(
        parts=tuple(parts),
        patience=Patience(restarts=settings.restarts, within_s=settings.within_s),
        problems=problems,
        monotonic_s=monotonic_s,
    )


def _stage(observer: Observer, stage: str, clock: StageClock, stuck_after_s: float) -> Part:
    worker = observer.workers[stage]
    return Part(
        name=stage,
        lost=_LOST[stage],
        limit_s=lambda: PREPARING_S if worker.preparing else stuck_after_s,
        silent_s=lambda: worker.silent_s,
        passes=lambda: clock.passes(stage),
        fault=lambda: worker.fault,
        restart=worker.restart,
        give_up=_giving_up(observer, stage),
        left_behind=lambda: worker.left_behind,
    )


def _giving_up(observer: Observer, stage: str) -> Callable[[str], None]:
    return lambda reason: observer.give_up(stage, reason)
