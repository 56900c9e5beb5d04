"""Two namings of the same pictures, side by side on the same redrawn groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.evaluation import Figure
from trainer.evaluation.figures import accuracy_rows, balanced_rows, one_hot, rates
from trainer.evaluation.intervals import Redrawn, Rows

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """What ``named`` (n) reaches, and how far it lies above ``reference`` (n)."""

    labels: Labels
    named: Labels
    reference: Labels
    classes: int
    drawn: Redrawn

    def accuracy(self) -> Figure:
        """The share that ``named`` has right."""
        return self.drawn.share(self.named == self.labels)

    def balanced_accuracy(self) -> Figure:
        """The mean recall of ``named``."""
        return self.drawn.figure(self._balanced(self.named), sides=self._sides(), proportion=True)

    def sensitivity(self, label: int) -> Figure:
        """The recall of one class by ``named``."""
        rows = rates(self._confusion(self.named)).sensitivity[:, label]
        return self.drawn.figure(
            rows, of=self.labels == label, undefined="no picture of the class", proportion=True
        )

    def accuracy_difference(self) -> Figure:
        """Accuracy of ``named`` minus that of ``reference``."""
        rows = accuracy_rows(self._confusion(self.named)) - accuracy_rows(self._confusion(self.reference))
        return self.drawn.figure(rows)

    def balanced_accuracy_difference(self) -> Figure:
        """Mean recall of ``named`` minus that of ``reference``."""
        rows = self._balanced(self.named) - self._balanced(self.reference)
        return self.drawn.figure(rows, sides=self._sides())

    def _balanced(self, named: Labels) -> Rows:
        present = np.array([bool((self.labels == each).any()) for each in range(self.classes)])
        return balanced_rows(self._confusion(named), present)

    def _confusion(self, named: Labels) -> Rows:
        return self.drawn.sums(one_hot(self.labels, named, self.classes))

    def _sides(self) -> tuple[NDArray[np.bool_], ...]:
        return tuple(self.labels == each for each in np.unique(self.labels))
