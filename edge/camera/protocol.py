"""The seam every source of frames fits."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from edge.frame import Frame


class Camera(Protocol):
    """A source of frames. Hardware opens in ``__enter__`` and closes in ``__exit__``, never before.

    ``live`` tells how to treat a slow reader: a live camera's stale frames may be dropped, a replay's
    (folder, file) may not.
    """

    @property
    def name(self) -> str:
        """What a person calls this source, for messages and records."""
        ...

    @property
    def live(self) -> bool:
        """Whether frames go stale when they are not read in time."""
        ...

    def __enter__(self) -> Self:
        """Open the source. Raises CameraError, with the remedy, when it cannot be opened."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; closing twice is harmless."""
        ...

    def read(self) -> Frame | None:
        """Wait for the next frame; None when a replay is at its end. Raises CameraError when it is lost."""
        ...
