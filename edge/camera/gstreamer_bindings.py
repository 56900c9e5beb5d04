"""GStreamer's Python bindings, found where the system keeps them.

PyGObject is a package of the system (``python3-gi``), built for the system's interpreter, and does not come
by pip without a compiler. An environment of its own therefore does not see it. Here ``gi`` alone is loaded
from the system's folder: nothing else of that folder becomes importable.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from edge.errors import CameraError

SYSTEM_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")
"""Where Debian, Ubuntu and the images for Jetson and Raspberry Pi keep ``gi``."""

_PARTS: Final = {
    "GLib": "gir1.2-glib-2.0",
    "Gst": "gir1.2-gstreamer-1.0",
    "GstApp": "gir1.2-gst-plugins-base-1.0",
    "GstVideo": "gir1.2-gst-plugins-base-1.0",
}
_VERSIONS: Final = {"GLib": "2.0"}
_INSTALL: Final = 'Install it (Debian, Ubuntu: apt install {}), or use kind = "video".'


@dataclass(frozen=True, kw_only=True)
class GStreamer:
    """The namespaces of a started GStreamer; they carry no types."""

    Gst: Any
    GstApp: Any
    GstVideo: Any
    GLib: Any


def load_gstreamer(*, system_packages: Path = SYSTEM_PACKAGES) -> GStreamer:
    """Load and start GStreamer; again and again at no cost. Raises CameraError with what is missing."""
    _keep_exceptions_whole()
    gi = _load_gi(system_packages)
    loaded = {part: _load_part(gi, part) for part in _PARTS}
    if not loaded["Gst"].init_check(None)[0]:
        raise CameraError("GStreamer does not start.", remedy="Try `gst-inspect-1.0`, which says why.")
    return GStreamer(**loaded)


def _keep_exceptions_whole() -> None:
    """Put the compiler's stack unwinder before the one that GStreamer brings.

    GStreamer's libraries come in with all their symbols for everybody, and among them libunwind's, which go
    by the same names as those of libgcc_s. A library that is loaded later (onnxruntime) would raise its C++
    exceptions through libunwind and could not catch them: the process would abort. The first one wins.
    """
    try:
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise CameraError(
            f"The compiler's run-time library cannot be loaded ({error}).", remedy="Install libgcc-s1."
        ) from error


def _load_part(gi: Any, part: str) -> Any:  # noqa: ANN401
    try:
        gi.require_version(part, _VERSIONS.get(part, "1.0"))
        with warnings.catch_warnings():
            # PyGObject's importer is of the old kind, up to its version 3.50.
            warnings.simplefilter("ignore", ImportWarning)
            return importlib.import_module(f"gi.repository.{part}")
    except (ValueError, ImportError) as error:
        raise CameraError(
            f"GStreamer's description of {part} is not installed.", remedy=_INSTALL.format(_PARTS[part])
        ) from error


def _load_gi(system_packages: Path) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module("gi")
    except ImportError:
        pass
    spec = PathFinder.find_spec("gi", [str(system_packages)])
    if spec is None or spec.loader is None:
        raise CameraError(
            "GStreamer's Python bindings (gi) are not installed.", remedy=_INSTALL.format("python3-gi")
        )
    if PathFinder.find_spec("gi._gi", [str(system_packages / "gi")]) is None:
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise CameraError(
            f"The GStreamer bindings in {system_packages} are not for Python {running}.",
            remedy="Make the station's environment with the system's own python3.",
        )
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["gi"] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        del sys.modules["gi"]
        raise CameraError(
            f"GStreamer's Python bindings cannot be loaded ({error}).", remedy=_INSTALL.format("python3-gi")
        ) from error
    return module
