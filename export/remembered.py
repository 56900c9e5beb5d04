"""An engine whose answers are kept: what others are compared with is asked once."""

from __future__ import annotations

import hashlib

import numpy as np

from edge.engine.protocol import Engine, Outputs
from edge.frame import Pixels


class RememberedEngine:
    """Asks ``engine`` for each picture once, one picture at a time.

    It may be asked for pictures again when the engine itself is closed.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answers: dict[bytes, Outputs] = {}

    @property
    def description(self) -> str:
        """That of the engine itself."""
        return self._engine.description

    def run(self, batch: Pixels) -> Outputs:
        """The answers to at least one picture, each as it was given first."""
        found = []
        for picture in batch:
            key = hashlib.sha256(picture.tobytes()).digest()
            if key not in self._answers:
                self._answers[key] = self._engine.run(picture[np.newaxis])
            found.append(self._answers[key])
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
