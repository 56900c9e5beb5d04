"""What a training runs on: one processor, one GPU, or several processes on one or many hosts.

Lightning Fabric does the work; here stands what may be asked of it, and how a process finds its place among
others. Started by ``torchrun`` (or ``fabric run``), a training takes its place from there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.distributed import is_torchelastic_launched

from trainer.errors import TrainerError
from trainer.run import RunDirectory

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class FabricSettings:
    """Where and how a training computes; none of it changes what is computed beyond rounding.

    ``devices`` counts those of one host; ``auto`` takes every GPU, or one process on a processor. More than
    one device means data-parallel processes (``ddp``): each takes its share of every batch.
    ``16-mixed`` needs a CUDA GPU; ``bf16-mixed`` works everywhere. ``compile`` compiles the training step's
    forward and backward pass; ``channels_last`` lays out the network's weights for convolutions on pixels.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Precision = "32-true"
    compile: bool = False
    channels_last: bool = False

    def launch(self) -> Fabric:
        """Join (or begin) the processes of this training, and return this process's Fabric.

        Raises TrainerError when the machine cannot do what is asked.
        """
        if self.precision == "16-mixed" and (
            self.accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available()
        ):
            raise TrainerError(
                "16-bit floats need a CUDA GPU: their gradients must be scaled, which processors do not do.",
                remedy="Use --precision bf16-mixed, or 32-true.",
            )
        devices, nodes = self._places()
        try:
            fabric = Fabric(
                accelerator=self.accelerator,
                devices=devices,
                num_nodes=nodes,
                strategy="ddp" if isinstance(devices, int) and devices * nodes > 1 else self.strategy,
                precision=self.precision,
            )
        except (MisconfigurationException, ValueError, RuntimeError) as error:
            raise TrainerError(
                f"This machine cannot train as asked: {error}",
                remedy="Ask for an accelerator and a number of devices that it has, or for `auto`.",
            ) from error
        # `fabric run` has set the processes up already, and allows no second time.
        if os.environ.get("LT_CLI_USED") != "1":
            fabric.launch()
        return fabric

    def _places(self) -> tuple[int | Literal["auto"], int]:
        """Devices a host and hosts, as torchrun has laid them out where it began this process."""
        if not is_torchelastic_launched():
            return self.devices, self.nodes
        world, local = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        if self.devices not in ("auto", local):
            raise TrainerError(
                f"torchrun began {local} processes on this host, but this training is to run on "
                f"{self.devices} device(s).",
                remedy="Begin it without torchrun, or with --nproc-per-node equal to the devices.",
            )
        return local, world // local


ONE_PROCESSOR: Final = FabricSettings(accelerator="cpu", devices=1)


def begin_run(
    path: Path, configuration: Mapping[str, Any], *, resume: bool, fabric: FabricSettings
) -> RunDirectory:
    """`RunDirectory.begin` for a training of several processes: the first begins, the others join it.

    On hosts that share no disk, each host has a directory of its own; only the first process's fills.
    """
    processes = fabric.launch()
    with processes.rank_zero_first(local=True):
        return RunDirectory.begin(path, configuration, resume=resume or processes.local_rank > 0)
