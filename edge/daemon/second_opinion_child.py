"""The second opinion's own process: ``python -m edge.daemon.second_opinion_child DIRECTORY``.

It gives way to every other process, and ends when its standard input does, so that it does not outlive a
station that was killed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, get_args

import numpy as np

from edge.analysis.comparison import Sighting, TwoReadings, compare
from edge.analysis.field import FieldAnalyzer
from edge.bundle import open_bundle
from edge.child_process import give_way
from edge.contract.manifest import Precision
from edge.daemon.handover import Handover
from edge.daemon.second_opinion import ANSWER, FIELD_HEADER, Answer, SeenField
from edge.errors import LeukoscopeError
from edge.networks import open_networks

_WAIT_S: Final = 60.0
_CHANNELS: Final = 3


def second_opinion(analyzer: FieldAnalyzer, field: SeenField) -> tuple[TwoReadings, ...]:
    """Every object of ``field`` as it was read and as ``analyzer`` reads it.

    Raises EngineError, and ValueError for a frame whose scale does not fit the bundle.
    """
    cells = analyzer.analyze(field.pixels, um_per_px=field.um_per_px)
    return compare(field.seen, [Sighting.of(cell) for cell in cells])


def main(arguments: Sequence[str] | None = None) -> int:
    """The child: open the bundle, say so, and answer for every field until there is no more."""
    wanted = _parser().parse_args(arguments)
    give_way()
    # Whoever ends the whole station has not found a fault of the candidate: it ends with the station alone.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    fields = Handover[SeenField](capacity=1, live=False)
    threading.Thread(target=_listen, args=(sys.stdin.buffer, fields), name="parent", daemon=True).start()
    try:
        bundle = open_bundle(wanted.directory)
        with open_networks(bundle, threads=1, precision=wanted.precision, engines=wanted.engines) as networks:
            _say(Answer())
            while True:
                field = fields.get(_WAIT_S)
                if field is not None:
                    _say(Answer(readings=second_opinion(networks.analyzer, field)))
    except (LeukoscopeError, ValueError) as error:
        _say(Answer(fault=str(error)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge.daemon.second_opinion_child", description=main.__doc__
    )
    parser.add_argument("directory", type=Path, help="the bundle")
    parser.add_argument("--precision", choices=("auto", *get_args(Precision)), default="auto")
    parser.add_argument("--engines", type=Path, help="where engines are kept that were built here")
    return parser


def _say(answer: Answer) -> None:
    print(ANSWER.dump_json(answer).decode(), flush=True)


def _listen(stream: BinaryIO, fields: Handover[SeenField]) -> None:
    """Hand over the fields of ``stream``; at its end this process ends, whatever it does."""
    for line in stream:
        header = FIELD_HEADER.validate_json(line)
        shape = (header.height_px, header.width_px, _CHANNELS)
        content = stream.read(header.height_px * header.width_px * _CHANNELS)
        if len(content) < header.height_px * header.width_px * _CHANNELS:
            break
        pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape)
        fields.put(SeenField(pixels=pixels, um_per_px=header.um_per_px, seen=header.seen))
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
