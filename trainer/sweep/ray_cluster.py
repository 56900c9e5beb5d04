"""Cells on a Ray cluster: on many hosts, or on a small cluster made on this one.

Hosts must see the sweep's folder and the data at the same paths, and have this package installed.
"""

from __future__ import annotations

import importlib
from types import TracebackType
from typing import Any, Final

from typing_extensions import Self

from trainer.errors import RunError
from trainer.sweep.work import Ended, Task, perform

LOCAL: Final = "local"


class RayCluster:
    """As many cells at a time as the cluster has room for.

    ``address`` is ``auto``, a host and port, or ``local``: then a cluster of ``local_workers`` processes is
    made on this machine, and goes with the sweep. A cell is given ``cpus`` and ``gpus`` of a host.
    """

    def __init__(self, *, address: str, local_workers: int = 1, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._address = address
        self._local_workers = local_workers
        self._cpus = cpus
        self._gpus = gpus
        self._ray: Any = None
        self._remote: Any = None
        self._running: dict[Any, Task] = {}

    @property
    def workers(self) -> int:
        """How many cells fit into the cluster now; at least one, which then waits for room."""
        resources = self._ray.cluster_resources()
        room = resources.get("CPU", 0.0) / self._cpus
        if self._gpus:
            room = min(room, resources.get("GPU", 0.0) / self._gpus)
        return max(1, int(room))

    def start(self, task: Task) -> None:
        """Hand the task to the cluster."""
        self._running[self._remote.remote(task)] = task

    def wait(self, timeout_s: float) -> tuple[Ended, ...]:
        """See Executor."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return tuple(self._ended(each) for each in ready)

    def _ended(self, reference: Any) -> Ended:  # noqa: ANN401  ray is loaded when it is used, so it has no types here
        task = self._running.pop(reference)
        try:
            ended: Ended = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            # The worker or its host died: what the work itself raises, perform keeps.
            return Ended(name=task.cell.name, ending="lost")
        return ended

    def __enter__(self) -> Self:
        """Join the cluster. Raises RunError where Ray is not installed or no cluster answers."""
        try:
            self._ray = importlib.import_module("ray")
        except ImportError as error:
            raise RunError(
                "Ray is not installed.", remedy="pip install 'leukoscope[ray]', or leave --ray out."
            ) from error
        local = self._address == LOCAL
        try:
            self._ray.init(
                address=LOCAL if local else self._address,
                num_cpus=self._local_workers * self._cpus if local else None,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RunError(
                f"No Ray cluster answers at {self._address}: {error}.",
                remedy="Start one with `ray start --head`, or take --ray local.",
            ) from error
        # Retries are the sweep's: it counts them and says why a cell was given up.
        self._remote = self._ray.remote(perform).options(
            num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()
