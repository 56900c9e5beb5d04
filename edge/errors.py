"""Errors of the station: each names the thing that is wrong and what to do about it.

Exit codes follow ``sysexits.h``, so that systemd and scripts can tell a wrong configuration (do not
restart) from a camera that is away (restart later).
"""

from __future__ import annotations

from typing import ClassVar


class LeukoscopeError(Exception):
    """Something a person can mend. ``str()`` gives the fault and the remedy in one or two sentences."""

    exit_code: ClassVar[int] = 1

    def __init__(self, fault: str, *, remedy: str = "") -> None:
        super().__init__(fault, remedy)
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.fault} {self.remedy}".rstrip()


class ConfigError(LeukoscopeError):
    """A configuration that cannot be used; ``fault`` holds every fault found, a line each."""

    exit_code = 78  # EX_CONFIG


class BundleError(LeukoscopeError):
    """A bundle that is missing, truncated, altered or not for this software."""

    exit_code = 65  # EX_DATAERR


class ImageError(LeukoscopeError):
    """An image file that is missing or cannot be decoded."""

    exit_code = 66  # EX_NOINPUT


class CameraError(LeukoscopeError):
    """A camera that cannot be opened, or that stopped giving frames."""

    exit_code = 69  # EX_UNAVAILABLE


class EngineError(LeukoscopeError):
    """A network that cannot be loaded or run on this machine."""

    exit_code = 70  # EX_SOFTWARE


class StorageError(LeukoscopeError):
    """A disk that is full, read-only or failing: nothing is shown as saved that is not."""

    exit_code = 74  # EX_IOERR


class BrokerError(LeukoscopeError):
    """An MQTT broker that refuses or cannot be reached."""

    exit_code = 69  # EX_UNAVAILABLE


class PageError(LeukoscopeError):
    """A page that cannot be served: its port is taken or not allowed."""

    exit_code = 69  # EX_UNAVAILABLE


class MetricsError(LeukoscopeError):
    """Figures that cannot be served: their port is taken or not allowed."""

    exit_code = 69  # EX_UNAVAILABLE


class DeliveryError(LeukoscopeError):
    """An update that cannot be brought: its source is away, unreadable, too slow or offers nothing of it."""

    exit_code = 69  # EX_UNAVAILABLE


class UntrustedError(DeliveryError):
    """An update that must not be taken: a signature, hash, length, version, date or name is not right."""

    exit_code = 65  # EX_DATAERR


class ValidationReportError(LeukoscopeError):
    """A validation report that was altered, is not by the key it should be, or is none."""

    exit_code = 65  # EX_DATAERR


class CalibrationError(LeukoscopeError):
    """Pictures that nothing can be measured on, or a calibration that is missing, damaged or another's."""

    exit_code = 65  # EX_DATAERR
