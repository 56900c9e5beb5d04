"""TensorRT on a simulated GPU, for bundles whose networks answer by ONNX Runtime or by script."""

from __future__ import annotations

from dataclasses import replace

from edge.bundle import Bundle
from edge.engine.device_cuda_python import CudaPythonDevice
from edge.engine.engine_cache import EngineCache
from edge.engine.engine_key import ROLES, Role, signature_of
from edge.engine.runtimes import TensorRtRuntime
from edge.engine.testing import Answer
from edge.engine.testing_gpu import SIMULATED_GPU, SimulatedGpu, cuda_python_driver
from edge.engine.testing_tensorrt import SimulatedNetwork, simulated_tensorrt

PLANS: dict[Role, bytes] = {"detector": b"the detector's plan", "classifier": b"the classifier's plan"}


def in_floats_alone(bundle: Bundle) -> Bundle:
    """The bundle as if it had been made with FP32 files and nothing else."""
    manifest = bundle.manifest
    floats = {
        role: part.model_copy(update={"files": {"fp32": part.files["fp32"]}, "int8": None})
        for role, part in (("detector", manifest.detector), ("classifier", manifest.classifier))
    }
    golden = manifest.golden.model_copy(update={"tolerance": {"fp32": manifest.golden.tolerance["fp32"]}})
    return replace(bundle, manifest=manifest.model_copy(update={**floats, "golden": golden}))


def simulated_runtime(cache: EngineCache, bundle: Bundle, answers: dict[Role, Answer]) -> TensorRtRuntime:
    """TensorRT on a simulated GPU that computes as ``answers`` do."""
    gpu = SimulatedGpu()
    plans = {
        PLANS[role]: SimulatedNetwork(signature=signature_of(bundle, role), answer=answer)
        for role, answer in answers.items()
    }
    return TensorRtRuntime(
        cache=cache,
        gpu=SIMULATED_GPU,
        tensorrt=simulated_tensorrt(gpu, plans),
        device=lambda: CudaPythonDevice(driver=cuda_python_driver(gpu)),
    )


def store_engines(
    cache: EngineCache, tensorrt: TensorRtRuntime, bundle: Bundle, plans: dict[Role, bytes]
) -> None:
    """What a builder would have left."""
    for role in ROLES:
        key = tensorrt.key(bundle, role, "fp32")
        with cache.building(key):
            cache.store(key, plans[role])
