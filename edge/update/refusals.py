"""Says in the station's own words why The Update Framework refused, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tuf.api import exceptions

from edge.errors import DeliveryError, UntrustedError


@contextmanager
def told_plainly(source: str) -> Iterator[None]:
    """Turn python-tuf's errors about ``source`` into UntrustedError, or DeliveryError where it is away."""
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise UntrustedError(
            f"What {source} offers is out of date: {_because(error)}. Newer is withheld, or nobody renewed "
            "it, or this station's clock is ahead.",
            remedy="Check the clock; run `leukoscope-export refresh` on the repository; write a stick anew.",
        ) from error
    except exceptions.BadVersionNumberError as error:
        raise UntrustedError(
            f"{source} offers older metadata than this station has seen, or parts of different states: "
            f"{_because(error)}.",
            remedy="Use the newest copy of the repository.",
        ) from error
    except exceptions.UnsignedMetadataError as error:
        raise UntrustedError(
            f"What {source} offers is not signed by keys that this station trusts: {_because(error)}.",
            remedy="If the repository is the right one, give this station its trusted root again.",
        ) from error
    except (exceptions.RepositoryError, exceptions.DownloadLengthMismatchError) as error:
        raise UntrustedError(
            f"What {source} offers is not what was signed: {_because(error)}.",
            remedy="Copy or publish the repository again.",
        ) from error
    except exceptions.DownloadError as error:
        raise DeliveryError(
            f"{source} gives no update: {_because(error)}.",
            remedy="Check the network or the stick; the station asks again later.",
        ) from error


def _because(error: BaseException) -> str:
    said = str(error).rstrip(".") or type(error).__name__
    cause = error.__cause__
    if isinstance(error, exceptions.RepositoryError) and cause is not None:
        said += f" ({str(cause)[:200] or type(cause).__name__})"
    return said
