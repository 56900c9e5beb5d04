"""The runtimes that a station can choose from: ONNX Runtime everywhere, TensorRT where its engines are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from edge.bundle import Bundle
from edge.contract.manifest import Precision
from edge.engine.choice import Pair, Proof, Prove
from edge.engine.device_buffers import Device, make_device
from edge.engine.engine_cache import Candidate, EngineCache
from edge.engine.engine_key import (
    ROLES,
    EngineKey,
    Role,
    engine_key,
    options_for,
    part_of,
    signature_of,
    source_precision,
)
from edge.engine.gpu import Gpu, NoGpu
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.engine.tensorrt import TensorRtEngine
from edge.engine.tensorrt_module import TensorRt, find_tensorrt
from edge.errors import EngineError

ONNX_RUNTIME: Final = "ONNX Runtime"
TENSORRT: Final = "TensorRT"


class OnnxRuntimes:
    """Both networks on the processor."""

    def __init__(self, *, threads: int) -> None:
        self._threads = threads

    @property
    def name(self) -> str:
        """For a person and for records."""
        return ONNX_RUNTIME

    @property
    def must_be_fastest(self) -> bool:
        """Yes: not every processor counts in eight bits faster than in floats."""
        return True

    @property
    def absent(self) -> str | None:
        """None: every station has it."""
        return None

    def obstacle(self, bundle: Bundle, precision: Precision) -> str | None:
        """Why it cannot be tried in this precision."""
        if precision == "fp16":
            return "it runs a bundle's files as they are, and none is in fp16."
        return _lacking(bundle, precision)

    @contextmanager
    def open(self, bundle: Bundle, precision: Precision, *, prove: Prove) -> Iterator[tuple[Pair, Proof]]:
        """Load both files and prove them."""
        with (
            detector_engine(bundle=bundle, threads=self._threads, precision=precision) as detector,
            classifier_engine(bundle=bundle, threads=self._threads, precision=precision) as classifier,
        ):
            pair = Pair(detector=detector, classifier=classifier)
            yield pair, prove(pair, precision)


class TensorRtRuntime:
    """Both networks on the GPU, by engines that were built before; none is built here.

    ``gpu`` is what looking for one found. ``tensorrt`` is TensorRT, found where it is not given.
    """

    def __init__(
        self,
        *,
        cache: EngineCache,
        gpu: Gpu | NoGpu,
        tensorrt: TensorRt | None = None,
        device: Callable[[], Device] = make_device,
        dla_core: int | None = None,
    ) -> None:
        self._cache = cache
        self._gpu = gpu
        self._device = device
        self._dla_core = dla_core
        self._tensorrt, self._lacks = tensorrt, ""
        if tensorrt is None and isinstance(gpu, Gpu):
            try:
                self._tensorrt = find_tensorrt()
            except EngineError as error:
                self._lacks = str(error)

    @property
    def name(self) -> str:
        """For a person and for records."""
        return TENSORRT

    @property
    def must_be_fastest(self) -> bool:
        """No: the hardware is made for small numbers."""
        return False

    @property
    def absent(self) -> str | None:
        """Why there is no TensorRT here."""
        if isinstance(self._gpu, NoGpu):
            return self._gpu.reason
        return self._lacks or None

    def obstacle(self, bundle: Bundle, precision: Precision) -> str | None:
        """Why it cannot be tried in this precision: no file, or no engine."""
        if (lacking := _lacking(bundle, precision)) is not None:
            return lacking
        for role in ROLES:
            if (reason := self._cache.why_not(self.key(bundle, role, precision))) is not None:
                return f"{role}: {reason}"
        return None

    def key(self, bundle: Bundle, role: Role, precision: Precision) -> EngineKey:
        """What an engine of the bundle depends on here. Raises EngineError where there is no TensorRT."""
        tensorrt, gpu = self._present()
        return engine_key(
            bundle=bundle,
            role=role,
            precision=precision,
            tensorrt=tensorrt,
            gpu=gpu,
            options=options_for(role, dla_core=self._dla_core),
        )

    @contextmanager
    def open(self, bundle: Bundle, precision: Precision, *, prove: Prove) -> Iterator[tuple[Pair, Proof]]:
        """Load both engines and prove them; one that cannot be loaded or run is deleted, to be built anew."""
        tensorrt, gpu = self._present()
        with ExitStack() as serving:
            with ExitStack() as noted:
                candidates: list[Candidate] = []
                engines: list[TensorRtEngine] = []
                for role in ROLES:
                    candidate = noted.enter_context(self._cache.trying(self.key(bundle, role, precision)))
                    engine = TensorRtEngine(
                        plan=candidate.plan,
                        signature=signature_of(bundle, role),
                        precision=precision,
                        gpu=gpu,
                        tensorrt=tensorrt,
                        device=self._device,
                    )
                    with _condemning([candidate]):
                        engines.append(serving.enter_context(engine))
                    candidates.append(candidate)
                pair = Pair(detector=engines[0], classifier=engines[1])
                with _condemning(candidates):
                    proof = prove(pair, precision)
            yield pair, proof

    def _present(self) -> tuple[TensorRt, Gpu]:
        if self._tensorrt is None or isinstance(self._gpu, NoGpu):
            raise EngineError(f"There is no TensorRT here: {self.absent}")
        return self._tensorrt, self._gpu


@contextmanager
def _condemning(candidates: list[Candidate]) -> Iterator[None]:
    try:
        yield
    except EngineError:
        for candidate in candidates:
            candidate.condemn()
        raise


def _lacking(bundle: Bundle, precision: Precision) -> str | None:
    wanted = source_precision(precision)
    lacking = [role for role in ROLES if wanted not in part_of(bundle, role).files]
    return f"the bundle has no {wanted} {' and no '.join(lacking)}." if lacking else None
