"""Limits on what a source may send and for how long: who can sign nothing can still talk for ever."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

from edge.cancellation import Cancelled, CancelledError
from edge.update.limits import Limits
from edge.update.sources import Source


class BoundedFetcher(FetcherInterface):
    """A source's fetcher within limits; what is fetched lies unnamed in ``scratch`` until it was verified.

    A transfer that exceeds its length raises DownloadLengthMismatchError, one that exceeds its time
    SlowRetrievalError. ``watched`` lets somebody follow a transfer and end it.
    """

    def __init__(
        self, source: Source, *, limits: Limits, scratch: Path, monotonic: Callable[[], float]
    ) -> None:
        self._source = source
        self._limits = limits
        self._scratch = scratch
        self._monotonic = monotonic
        self._received: Callable[[int], None] = lambda _: None
        self._cancelled: Cancelled = lambda: False

    @contextmanager
    def watched(self, *, received: Callable[[int], None], cancelled: Cancelled) -> Iterator[None]:
        """Tell ``received`` how many bytes of a transfer are there; raise CancelledError if ``cancelled``."""
        self._received, self._cancelled = received, cancelled
        try:
            yield
        finally:
            self._received, self._cancelled = (lambda _: None), (lambda: False)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """The file at ``url``, of at most ``max_length`` bytes and within the limits."""
        is_metadata = url.startswith(self._source.metadata_url)
        limit_bytes = self._limits.metadata_bytes if is_metadata else self._limits.file_bytes
        limit_bytes = min(limit_bytes, max_length)
        limit_s = self._limits.base_s
        if not is_metadata:
            limit_s += limit_bytes / self._limits.slowest_bytes_per_s
        with tempfile.TemporaryFile(dir=self._scratch) as part:
            with self._transfer(url, limit_s=limit_s) as chunks:
                for chunk in chunks:
                    if part.tell() + len(chunk) > limit_bytes:
                        raise DownloadLengthMismatchError(
                            f"{url} is longer than the {limit_bytes} bytes allowed"
                        )
                    part.write(chunk)
                    self._received(part.tell())
            part.seek(0)
            yield part

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._source.fetcher.fetch(url)

    @contextmanager
    def _transfer(self, url: str, *, limit_s: float) -> Iterator[Iterator[bytes]]:
        """The bytes of a transfer, until it ends or its time is over; it is over when the block is left.

        Between two chunks the clock is asked; a source that sends none, or drips the headers before them,
        is aborted by a timer.
        """
        deadline = self._monotonic() + limit_s
        alarm = threading.Timer(limit_s, self._source.abort)
        alarm.daemon = True
        alarm.start()
        with contextlib.ExitStack() as ended:
            ended.callback(alarm.cancel)
            chunks = self.fetch(url)
            if isinstance(chunks, Generator):
                ended.callback(chunks.close)  # at once: an error's traceback would keep its connection open
            try:
                yield self._watched(chunks, deadline)
            except DownloadError as error:
                if self._monotonic() < deadline or isinstance(error, DownloadLengthMismatchError):
                    raise
                raise SlowRetrievalError(f"{url} did not come within {limit_s:.0f} s") from error

    def _watched(self, chunks: Iterator[bytes], deadline: float) -> Iterator[bytes]:
        for chunk in chunks:
            if self._cancelled():
                raise CancelledError
            self._refuse_late(deadline)
            yield chunk
        self._refuse_late(deadline)  # an aborted transfer may look like one that ended

    def _refuse_late(self, deadline: float) -> None:
        if self._monotonic() >= deadline:
            raise SlowRetrievalError("late")
