"""Builds a TensorRT engine from a bundle's ONNX file.

Imports nothing of the workshop: a station builds its engines itself, and has neither torch nor onnx.

Every network is strongly typed, because that is what all of TensorRT 10, TensorRT 11 and TensorRT-RTX take:
FP32 as the file is, INT8 by the quantize/dequantize pairs in it, FP16 by :mod:`export.half_precision`.
TF32 is off, so that FP32 is FP32: it is what is left when the others fail their proof.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.cancellation import Cancelled, CancelledError
from edge.contract.manifest import Precision
from edge.engine.engine_key import BuilderOptions
from edge.engine.signature import Signature
from edge.engine.tensorrt_module import TensorRt, TensorRtLog
from edge.engine.untyped import Untyped
from export.errors import EngineBuildError
from export.half_precision import use_halves

_WORTH_TELLING: Final = 0.02

OnProgress = Callable[[str, float], None]
"""Told of the phase of a build, in TensorRT's words, and the share of it that is done."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine's bytes, and what the builder measured of this machine's kernels (empty: nothing)."""

    plan: bytes
    timings: bytes


def build_plan(
    *,
    source: Path,
    signature: Signature,
    precision: Precision,
    options: BuilderOptions,
    tensorrt: TensorRt,
    timings: bytes = b"",
    on_progress: OnProgress = lambda _phase, _share: None,
    cancelled: Cancelled = lambda: False,
) -> Built:
    """Build the network in ``source`` for the machine this runs on; minutes on a small one.

    ``timings`` are those of an earlier build here, which make this one shorter. Raises EngineBuildError
    for a file that TensorRT does not take, a network of another shape, an accelerator that is not there,
    and a build that fails; CancelledError when ``cancelled`` says so.
    """
    trt, log = tensorrt.module, TensorRtLog()
    builder = trt.Builder(log.logger(trt))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.logger(trt))
    if not parser.parse_from_file(str(source)):
        faults = "; ".join(str(parser.get_error(place)) for place in range(parser.num_errors))
        raise EngineBuildError(
            f"{tensorrt} does not take {source.name}: {' '.join((faults or log.last).split())}",
            remedy="Export the network again with standard operators only.",
        )
    _check_declaration(network, signature=signature, source=source, tensorrt=tensorrt)
    halves = use_halves(network, trt) if precision == "fp16" else None
    config = _configured(builder, network, options=options, tensorrt=tensorrt, timings=timings)
    config.progress_monitor = _monitor(trt, Progress(on_progress), cancelled)
    plan = builder.build_serialized_network(network, config)
    del halves  # the weights had to live until here
    if cancelled():
        raise CancelledError
    if plan is None:
        raise EngineBuildError(
            f"{tensorrt} cannot build the {signature.role}'s {precision} engine: {log.last}",
            remedy="Look for lack of memory; another precision may do, and ONNX Runtime always does.",
        )
    measured = config.get_timing_cache() if tensorrt.keeps_timings else None
    return Built(plan=bytes(plan), timings=bytes(measured.serialize()) if measured is not None else b"")


class Progress:
    """Makes one rising share of TensorRT's nested phases.

    A phase has a number of steps and stands within a step of its parent, so that its own share is a part
    of that step.
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._steps: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._parents: dict[str, str | None] = {}
        self._told = -1.0
        self._lock = threading.Lock()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._steps[phase] = max(1, steps)
            self._done[phase] = 0
            self._parents[phase] = parent
            self._tell(phase)

    def step(self, phase: str, place: int) -> None:
        """The phase's step ``place``, counted from 0, is done."""
        with self._lock:
            self._done[phase] = min(place + 1, self._steps.get(phase, 1))
            self._tell(phase)

    def finish(self, phase: str) -> None:
        """The phase is over, be it done or not."""
        with self._lock:
            parent = self._parents.pop(phase, None)
            if parent is None:
                self._done[phase] = self._steps.get(phase, 1)
                self._tell(phase)
            self._steps.pop(phase, None)
            self._done.pop(phase, None)

    def _tell(self, phase: str) -> None:
        share = self._share(phase)
        # Phases may come again and their parents jump: what was told once is not taken back.
        if share >= self._told + _WORTH_TELLING or share >= 1 > self._told:
            self._told = share
            self._on_progress(phase, round(share, 3))

    def _share(self, phase: str) -> float:
        inner, outer = 0.0, phase
        while True:
            inner = min(1.0, (self._done.get(outer, 0) + inner) / self._steps.get(outer, 1))
            above = self._parents.get(outer)
            if above is None or above not in self._steps:
                return inner
            outer = above


def _monitor(trt: Untyped, progress: Progress, cancelled: Cancelled) -> Untyped:
    """The object that TensorRT tells its progress, and asks whether to go on."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


def _check_declaration(network: Untyped, *, signature: Signature, source: Path, tensorrt: TensorRt) -> None:
    """Refuse a network that is not the one the manifest describes, before minutes are spent on it."""
    trt = tensorrt.module
    faults = []
    if network.num_inputs != 1:
        faults.append(f"it has {network.num_inputs} inputs instead of one")
    found = {
        tensor.name: tensor
        for tensor in [network.get_input(place) for place in range(network.num_inputs)][:1]
        + [network.get_output(place) for place in range(network.num_outputs)]
    }
    expected = dict(signature.outputs)
    if network.num_inputs:
        expected[network.get_input(0).name] = ("uint8", signature.picture_shape)
    for name, (dtype, shape) in expected.items():
        if name not in found:
            faults.append(f"it has no output {name!r}")
            continue
        kind = trt.nptype(found[name].dtype).__name__
        declared = tuple(found[name].shape)
        if kind != dtype or declared != (-1, *shape):
            faults.append(f"{name!r} is {kind} {declared} instead of {dtype} {(-1, *shape)}")
    if faults:
        raise EngineBuildError(
            f"{source.name} is not the {signature.role} that its manifest describes: {'; '.join(faults)}.",
            remedy="Get the bundle again, or export it again.",
        )


def _configured(
    builder: Untyped,
    network: Untyped,
    *,
    options: BuilderOptions,
    tensorrt: TensorRt,
    timings: bytes,
) -> Untyped:
    trt = tensorrt.module
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.optimization_level
    config.clear_flag(trt.BuilderFlag.TF32)
    if tensorrt.keeps_timings:
        config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
    if options.dla_core is not None:
        _use_accelerator(builder, config, core=options.dla_core, trt=trt)
    pictures, batch = network.get_input(0), options.batch
    picture = tuple(pictures.shape)[1:]
    if batch.fixed:
        pictures.shape = (batch.most, *picture)
    else:
        profile = builder.create_optimization_profile()
        profile.set_shape(
            pictures.name, (batch.least, *picture), (batch.usual, *picture), (batch.most, *picture)
        )
        config.add_optimization_profile(profile)
    return config


def _use_accelerator(builder: Untyped, config: Untyped, *, core: int, trt: Untyped) -> None:
    """Let the deep learning accelerator do what it can, and the GPU the rest."""
    if core >= builder.num_DLA_cores:
        raise EngineBuildError(
            f"This machine has no DLA core {core}: it has {builder.num_DLA_cores}.",
            remedy="Build without --dla-core.",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
