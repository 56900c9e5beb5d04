"""A slide counted by a process that kills itself at a given write, and by the next one that goes on.

Reads a case in JSON from each line of standard input, ``{"deaths": [[write, "before" | "after"], ...]}``: the
first process dies at that write to the outbox, the second at the next one given, and so on; the last one
comes to the end. Answers each with what is then on the disk. Forking spares the imports.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edge.analysis.cells import Cell, Naming
from edge.analysis.gates import Accepted
from edge.analysis.stop_rule import StopRule
from edge.contract.records import (
    DURABLE_RECORD,
    CoveredGround,
    FieldPlace,
    FieldRecord,
    ReviewRecord,
    SlideRecord,
)
from edge.contract.taxonomy import ARTEFACT, ObjectKind
from edge.daemon.open_slide import CountRules
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import CountedCell, OnMap, Origin
from edge.frame import Frame
from edge.outbox.store import Outbox
from tests.edge.facts import CLASSES, classifier_facts

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
SLIDE = "H-2026-1"
FIELDS = 9
SCRIPT = (
    ("open", 0),
    *(("field", number) for number in range(1, 4)),
    ("verdict", 3),
    *(("field", number) for number in range(4, 6)),
    ("pause", 0),
    ("resume", 0),
    *(("field", number) for number in range(6, FIELDS + 1)),
    ("close", 0),
)


class DeadlyJournal:
    """An outbox at whose n-th write the process dies, before it or after."""

    def __init__(self, outbox: Outbox, death: tuple[int, str] | None) -> None:
        self._outbox = outbox
        self._death = death
        self._writes = 0
        self.kept = outbox.kept

    def append(self, build, *, keep=None):
        return self._write(lambda: self._outbox.append(build, keep=keep))

    def keep(self, values):
        self._write(lambda: self._outbox.keep(values))

    def _write(self, write):
        self._writes += 1
        self._die("before")
        answer = write()
        self._die("after")
        return answer

    def _die(self, when: str) -> None:
        if self._death == (self._writes, when):
            os.kill(os.getpid(), signal.SIGKILL)


def cells_of(number: int) -> list[Cell]:
    """What a field shows: some cells anew, some of earlier fields in a better view; always the same."""
    chance = random.Random(number)
    return [
        Cell(
            box_px=(1, 1, 9, 9),
            kind=ObjectKind.WBC,
            score=0.9,
            number=chance.randint(max(1, 4 * number - 6), 4 * number),
            naming=Naming(
                cell_class=chance.choice(CLASSES),
                probability=0.9,
                probabilities={},
                distance=1.0,
                out_of_distribution=chance.random() < 0.1,
                doubtful=chance.random() < 0.1,
            ),
        )
        for _ in range(6)
    ] + [Cell(box_px=(1, 1, 9, 9), kind=ObjectKind.RBC, score=0.9) for _ in range(number)]


def count(desk: SlideDesk, number: int) -> None:
    frame = Frame(
        pixels=np.zeros((8, 8, 3), np.uint8), index=number, source="drawn", captured_at=NOW, monotonic_s=0.0
    )
    on_map = OnMap(
        place=FieldPlace(island=1, corner_px=(0, 0), withdrawn_cells=(4 * number - 9,) if number > 3 else ()),
        ground=CoveredGround(frames=0.9 * number, islands=1, tracking_losses=0),
        changes={f"pose/{number}": b"%d" % number, "newest": b"%d" % number},
    )
    accepted = Accepted(focus=0.5, stained_share=0.2, place=None)  # the desk has no use for it
    desk.count(frame, accepted, cells_of(number), slide_number=desk.opened, analysis_ms=1.0, on_map=on_map)


def judge(desk: SlideDesk, outbox: Outbox, number: int) -> None:
    field = next(
        each for each in records_of(outbox) if isinstance(each, FieldRecord) and each.field == number
    )
    # One that is not withdrawn later.
    index, cell = next((i, cell) for i, cell in enumerate(cells_of(number)) if cell.number % 4 != 3)
    counted = CountedCell(field_key=field.stamp.key, slide=field.slide, index=index, cell=cell)
    desk.judge(counted, ARTEFACT)


def left_to_do(outbox: Outbox) -> Iterator[tuple[str, int]]:
    """The rest of the script, as the records tell: nobody remembers anything else."""
    records = records_of(outbox)
    fields = {each.field for each in records if isinstance(each, FieldRecord)}
    states = [each.state for each in records if isinstance(each, SlideRecord)]
    done = {
        "open": bool(states),
        "verdict": any(isinstance(each, ReviewRecord) for each in records),
        "pause": "paused" in states,
        "resume": "paused" in states and any(each != "paused" for each in states[states.index("paused") :]),
        "close": "closed" in states,
    }
    for step, number in SCRIPT:
        if not (number in fields if step == "field" else done[step]):
            yield step, number


def live(place: Path, death: tuple[int, str] | None) -> None:
    with Outbox(path=place / "outbox.sqlite", site="lab", station="s", software="1") as outbox:
        desk = SlideDesk(
            journal=DeadlyJournal(outbox, death),
            origin=Origin(site="lab", software="1", bundle="0" * 64),
            classifier=classifier_facts(),
            record_every_fields=4,
            now=lambda: NOW,
            rules=CountRules(
                stop=StopRule(target_cells=40, min_cells=10, look_every_cells=5, class_half_width=0.4)
            ),
        )
        desk.go_on()
        for step, number in list(left_to_do(outbox)):
            if step == "open":
                desk.open(SLIDE)
            elif step == "field":
                count(desk, number)
            elif step == "verdict":
                judge(desk, outbox, number)
            else:
                getattr(desk, step)()


def records_of(outbox: Outbox) -> list:
    return [DURABLE_RECORD.validate_json(stored.body) for stored in outbox.pending(limit=1000)]


def run(case: dict, *, place: Path) -> dict[str, object]:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    died = 0
    for death in [*map(tuple, case["deaths"]), None]:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                live(place, death)
                status = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(status)
        status = os.waitpid(child, 0)[1]
        died += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status) and status:
            return {"failed": status}
    with Outbox(path=place / "outbox.sqlite", site="lab", station="s", software="1") as outbox:
        records = records_of(outbox)
        kept = sorted(outbox.kept("slide/"))
    last = next(each for each in reversed(records) if isinstance(each, SlideRecord))
    return {
        "died": died,
        "fields": [each.field for each in records if isinstance(each, FieldRecord)],
        "reviews": sum(isinstance(each, ReviewRecord) for each in records),
        "writes": len(records),
        "resumed": last.resumed,
        "kept": kept,
        "last": last.model_dump(mode="json", by_alias=True, exclude={"stamp", "resumed"}),
    }


def main() -> None:
    gc.freeze()
    place = Path(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), place=place)), flush=True)


if __name__ == "__main__":
    main()
