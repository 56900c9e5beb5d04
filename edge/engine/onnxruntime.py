"""ONNX Runtime on the processor: the engine that every station has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state
from typing_extensions import Self

from edge.bundle import Bundle
from edge.contract.manifest import FilePrecision, Precision, RelativePath
from edge.engine.protocol import Outputs
from edge.engine.signature import Signature, classifier_signature, detector_signature
from edge.errors import EngineError
from edge.frame import Pixels

# Older wheels know no other way; see the package's head.
onnxruntime.disable_telemetry_events()

# The runtime's own exceptions have no common base, and their number grows from release to release.
_RUNTIME_ERRORS: Final = tuple(
    each
    for each in vars(onnxruntime_pybind11_state).values()
    if isinstance(each, type) and issubclass(each, Exception)
)
_ELEMENT_TYPES: Final = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_LOG_ERRORS_ONLY: Final = 3


class _Declared(Protocol):
    """What the runtime tells of an input or output; an open axis has a name, or None, for its size."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class OnnxRuntimeEngine:
    """One ONNX file, loaded in ``__enter__`` and held to its signature before the first frame.

    Threads do not spin while they wait for work: between two frames a station's cores belong to the
    camera, the page and the other network.
    """

    def __init__(
        self, *, path: Path, signature: Signature, threads: int, precision: Precision = "fp32"
    ) -> None:
        self._path = path
        self._signature = signature
        self._threads = threads
        self._precision = precision
        self._session: onnxruntime.InferenceSession | None = None
        self._input_name = ""

    @property
    def description(self) -> str:
        """The runtime and its precision, for records."""
        return f"onnxruntime {onnxruntime.__version__} cpu {self._precision}"

    def __enter__(self) -> Self:
        """Load the graph, compare it with the signature, and run it once.

        Raises EngineError for a file that is missing, corrupt, or a network of another shape.
        """
        session = self._load()
        self._input_name = self._check_declaration(session)
        self._session = session
        self.run(np.zeros((1, *self._signature.picture_shape), dtype=np.uint8))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the memory back; closing twice is harmless."""
        self._session = None

    def run(self, batch: Pixels | NDArray[np.uint8]) -> Outputs:
        """Answer for ``batch``, uint8 (n, height_px, width_px, 3) RGB; n may be 0.

        May be called from several threads at once. Raises EngineError for a batch of another shape, and
        when the runtime fails.
        """
        session = self._session
        if session is None:
            raise EngineError(f"The {self._signature.role} {self._path} is not open.")
        self._signature.check_batch(batch)
        if not len(batch):
            return self._signature.nothing()
        names = list(self._signature.outputs)
        try:
            answers = session.run(names, {self._input_name: np.ascontiguousarray(batch)})
        except _RUNTIME_ERRORS as error:
            raise EngineError(
                f"The {self._signature.role} {self._path} failed on {len(batch)} pictures: {error}",
                remedy="Look for lack of memory; if it fails again, install another bundle.",
            ) from error
        outputs: Outputs = dict(zip(names, answers, strict=True))
        self._signature.check_outputs(outputs, pictures=len(batch))
        return outputs

    def _load(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not self._path.is_file():
            raise EngineError(
                f"The {self._signature.role} {self._path} does not exist.",
                remedy="Name the ONNX file of an opened bundle.",
            )
        try:
            return onnxruntime.InferenceSession(
                self._path, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except _RUNTIME_ERRORS as error:
            raise EngineError(
                f"The {self._signature.role} {self._path} cannot be loaded: {error}",
                remedy="The file is truncated, altered or not ONNX: get the bundle again.",
            ) from error

    def _check_declaration(self, session: onnxruntime.InferenceSession) -> str:
        """Refuse a graph that declares other inputs or outputs; give the name of its input."""
        wanted = self._signature
        faults: list[str] = []
        inputs = session.get_inputs()
        if len(inputs) != 1:
            faults.append(f"it has {len(inputs)} inputs instead of one")
        faults += [
            fault
            for each in inputs[:1]
            if (fault := _mismatch(each, dtype="uint8", shape=wanted.picture_shape, what="input"))
        ]
        given = {each.name: each for each in session.get_outputs()}
        for name, (dtype, shape) in wanted.outputs.items():
            if name not in given:
                faults.append(f"it has no output {name!r} (it has {', '.join(sorted(given))})")
            elif fault := _mismatch(given[name], dtype=dtype, shape=shape, what="output"):
                faults.append(fault)
        if faults:
            raise EngineError(
                f"{self._path} is not the {wanted.role} that its manifest describes: {'; '.join(faults)}.",
                remedy="Get the bundle again, or export it again.",
            )
        return str(inputs[0].name)


def detector_engine(*, bundle: Bundle, threads: int, precision: Precision = "fp32") -> OnnxRuntimeEngine:
    """The bundle's detector, not yet opened. Raises EngineError where it has none of that precision."""
    return OnnxRuntimeEngine(
        path=bundle.path(_file(bundle.manifest.detector.files, precision=precision, role="detector")),
        signature=detector_signature(bundle.manifest.detector),
        threads=threads,
        precision=precision,
    )


def classifier_engine(*, bundle: Bundle, threads: int, precision: Precision = "fp32") -> OnnxRuntimeEngine:
    """The bundle's classifier, not yet opened. Raises EngineError where it has none of that precision."""
    return OnnxRuntimeEngine(
        path=bundle.path(_file(bundle.manifest.classifier.files, precision=precision, role="classifier")),
        signature=classifier_signature(bundle.manifest.classifier),
        threads=threads,
        precision=precision,
    )


def _file(files: Mapping[FilePrecision, RelativePath], *, precision: Precision, role: str) -> RelativePath:
    for each, file in files.items():
        if each == precision:
            return file
    raise EngineError(
        f"The bundle has no {precision} {role}.",
        remedy=f"Set the precision to one it has: {', '.join(sorted(files))}.",
    )


def _mismatch(declared: _Declared, *, dtype: str, shape: tuple[int, ...], what: str) -> str | None:
    """What is wrong with a declared tensor; an axis that the graph leaves open fits any size."""
    found_type = _ELEMENT_TYPES.get(declared.type, declared.type)
    found_shape = tuple(declared.shape)
    open_or_equal = len(found_shape) == len(shape) + 1 and all(
        not isinstance(found, int) or found == wanted
        for found, wanted in zip(found_shape[1:], shape, strict=True)
    )
    if found_type == dtype and open_or_equal and not isinstance(found_shape[0], int):
        return None
    return f"{what} {declared.name!r} is {found_type} {found_shape} instead of {dtype} {('n', *shape)}"
