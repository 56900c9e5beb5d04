"""The power cut at every named step of an update: what was not synced is gone, and no promise is broken."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, product, repeat

import pytest

from edge.update.testing import LOSSES, ForgetfulDisk, Loss, When
from edge.update.trial import Figures
from tests.edge.update.workbench import GOOD, SLOW, Bench, copy_of, remove

MOST_STARTS = 16


class PowerCut(BaseException):
    """Ends a process as a power cut does: nothing handles it."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(place=tmp_path_factory.mktemp("power") / "template")
    bench.prepare()
    return bench


def points_of(template: Bench) -> list[str]:
    walked = copy_of(template, template.place.with_name("walked"))
    points: dict[str, None] = {}
    while walked.live(watcher=lambda point, _when: points.setdefault(point)) == "again":
        pass
    remove(walked.place)
    return list(points)


def live_through(
    template: Bench, *, point: str, when: When, loss: Loss, honours_sync: bool = True
) -> list[str]:
    """Cut the power once at ``point``, let the station come back until it is quiet; what was broken."""
    bench = copy_of(template, template.place.with_name("station"))
    cut = False

    def watch(at: str, moment: When) -> None:
        if not cut and (at, moment) == (point, when):
            raise PowerCut

    broken = []
    for _ in range(MOST_STARTS):
        disk = ForgetfulDisk(root=bench.root, honours_sync=honours_sync)
        try:
            if bench.live(watcher=watch, inner=disk) == "quiet":
                break
        except PowerCut:
            cut = True
            disk.lose_power(loss)
            broken += bench.broken(quiet=False)
        finally:
            disk.close()
    else:
        broken.append("never quiet")
    assert cut, point
    broken += bench.broken(quiet=True)
    remove(bench.place)
    return broken


def cut_everywhere(station: Bench, cases: list[tuple[str, When, Loss]]) -> None:
    wrong = [
        (point, when, loss, broken)
        for point, when, loss in cases
        if (broken := live_through(station, point=point, when=when, loss=loss))
    ]
    print(f"{len(cases)} power cuts")
    assert len(cases) > 100
    assert wrong == []


@pytest.mark.parametrize("figures", [GOOD, SLOW], ids=["committed", "rolled back"])
def test_no_power_cut_breaks_a_promise(template: Bench, figures: Figures) -> None:
    station = replace(template, figures=figures)
    points = points_of(station)
    cut_everywhere(station, list(zip(points, repeat("before"), cycle(LOSSES), strict=False)))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("figures", [GOOD, SLOW], ids=["committed", "rolled back"])
def test_no_power_cut_with_any_loss_breaks_a_promise(template: Bench, figures: Figures) -> None:
    station = replace(template, figures=figures)
    moments: tuple[When, ...] = ("before", "after")
    cut_everywhere(station, list(product(points_of(station), moments, LOSSES)))


def test_without_syncing_power_cuts_do_break_promises(template: Bench) -> None:
    points = points_of(template)[::3]
    broken = [
        point
        for point in points
        if live_through(template, point=point, when="before", loss="names_kept", honours_sync=False)
    ]
    print(f"without syncing {len(broken)} of {len(points)} power cuts break a promise")
    assert len(broken) > 5
