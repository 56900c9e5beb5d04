"""What a candidate has to show beside the active bundle before it may be tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge.contract.records import ShadowResult


@dataclass(frozen=True, kw_only=True)
class ShadowGate:
    """``fields`` live fields under both bundles.

    ``max_disagreement`` is the share of their objects that may be read otherwise; None: whatever it is, it is
    told and not judged.
    """

    fields: int
    max_disagreement: float | None = None


def objection(gate: ShadowGate, found: ShadowResult) -> str:
    """Why a candidate is not tried after ``found``; empty where it may be.

    A share whose interval reaches down to what is allowed may be chance, and is passed: few objects do not
    condemn a bundle.
    """
    limit = gate.max_disagreement
    if limit is None or found.low <= limit:
        return ""
    return f"{told(found)}, {limit:.1%} are allowed"


def told(found: ShadowResult) -> str:
    """The comparison as a line for a person."""
    return (
        f"beside the active bundle on {found.fields} fields: {found.differing} of {found.objects} objects "
        f"read otherwise ({found.low:.1%} to {found.high:.1%})"
    )
