"""Errors of the export: the fault and the remedy, as everywhere in the project."""

from __future__ import annotations

from typing import ClassVar

from edge.errors import LeukoscopeError


class ExportError(LeukoscopeError):
    """Something that must not leave the workshop as it is."""


class GraphError(ExportError):
    """A network that cannot be exported, or whose graph a station could not run everywhere."""

    exit_code: ClassVar[int] = 65  # EX_DATAERR


class ParityError(ExportError):
    """An exported graph that answers otherwise than the network it was made from."""

    exit_code: ClassVar[int] = 65  # EX_DATAERR


class AssemblyError(ExportError):
    """Facts, files or licences that do not make a bundle."""

    exit_code: ClassVar[int] = 65  # EX_DATAERR


class SigningError(ExportError):
    """A key that is missing, locked, or not one of those that are needed."""

    exit_code: ClassVar[int] = 77  # EX_NOPERM


class PublishingError(ExportError):
    """A repository that cannot be read, or that may not be changed in the way that was asked for."""

    exit_code: ClassVar[int] = 65  # EX_DATAERR


class EngineBuildError(ExportError):
    """An engine that cannot be built from a bundle's file on this machine."""

    exit_code: ClassVar[int] = 70  # EX_SOFTWARE
