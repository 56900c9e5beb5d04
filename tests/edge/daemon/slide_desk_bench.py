"""A slide desk on a journal in memory, and what is counted at it."""

from datetime import datetime, timezone

import numpy as np

from edge.analysis.cells import Cell, Naming
from edge.analysis.gates import Accepted
from edge.contract.message import Key
from edge.contract.records import SlideRecord
from edge.contract.taxonomy import ObjectKind
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import CountedCell, Origin
from edge.errors import StorageError
from edge.frame import Frame
from edge.slide_map.slide_map import Place
from tests.edge.facts import classifier_facts

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PLACE = Place()


class Journal:
    """Keeps records and values in memory; fails while ``full``."""

    def __init__(self):
        self.records = []
        self.values = {}
        self.full = False

    def append(self, build, *, keep=None):
        record = build(Key(station="s", boot=3, sequence=len(self.records) + 1))
        self.keep(keep or {})
        self.records.append(record)
        return record.stamp.key

    def keep(self, values):
        if self.full:
            raise StorageError("The disk is full.")
        changed = self.values | dict(values)
        self.values = {name: value for name, value in changed.items() if value is not None}

    def kept(self, prefix=""):
        return {name: value for name, value in self.values.items() if name.startswith(prefix)}

    def states(self):
        return [
            (record.slide, record.state, record.fields)
            for record in self.records
            if isinstance(record, SlideRecord)
        ]


def desk(journal, record_every_fields=10, bundle="0" * 64, classifier=None, **options):
    return SlideDesk(
        journal=journal,
        origin=Origin(site="lab", software="test", bundle=bundle),
        classifier=classifier or classifier_facts(),
        record_every_fields=record_every_fields,
        now=lambda: NOW,
        **options,
    )


def frame():
    return Frame(
        pixels=np.zeros((48, 64, 3), np.uint8), index=0, source="f.png", captured_at=NOW, monotonic_s=0.0
    )


def white(cell_class="blast", number=None):
    naming = Naming(
        cell_class=cell_class,
        probability=0.9,
        probabilities={"neutrophil": 0.05, "lymphocyte": 0.05, "blast": 0.9},
        distance=1.0,
        out_of_distribution=False,
        doubtful=False,
    )
    return Cell(box_px=(1, 2, 3, 4), kind=ObjectKind.WBC, score=0.8, naming=naming, number=number)


def count(subject, *cells, **options):
    accepted = Accepted(focus=0.5, stained_share=0.2, place=PLACE)
    return subject.count(
        frame(),
        accepted,
        cells or (white(),),
        slide_number=max(subject.opened, 1),
        analysis_ms=1.0,
        **options,
    )


def cell_of(field, index):
    return CountedCell(field_key=field.key, slide=field.slide, index=index, cell=field.cells[index])


def counts(subject):
    return {row.cell_class: row.count for row in subject.latest.differential}


def other_classes():
    facts = classifier_facts()
    classes = ("neutrophil", "monocyte", "blast")
    return facts.model_copy(
        update={"classes": classes, "confusion": facts.confusion.model_copy(update={"classes": classes})}
    )
