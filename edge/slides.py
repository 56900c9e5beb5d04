"""The parts of a slide session put together, for the station and for its commands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from edge.analysis.stop_rule import StopRule
from edge.config import SlideSettings, StationConfig
from edge.contract.manifest import Manifest
from edge.contract.message import ClockState
from edge.daemon.open_slide import CountRules
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import Journal, Origin
from edge.slide_identity import PlainNames, Pseudonyms, SlideNames

OWN_KEY_NAME: Final = "slide-identity.key"


def pseudonyms(config: StationConfig) -> Pseudonyms:
    """What hides accession ids on this station, whether or not it is set to."""
    own_key: Path = config.state_dir / OWN_KEY_NAME
    shared = config.slide.key_file
    return Pseudonyms(key_file=shared or own_key, own=shared is None)


def slide_names(config: StationConfig) -> SlideNames:
    """What this station's records call a slide. Raises SlideKeyError where the laboratory's key is no key."""
    if config.slide.identity == "plain":
        return PlainNames()
    names = pseudonyms(config)
    if config.slide.key_file is not None:
        names.key()
    return names


def slide_desk(
    *,
    config: StationConfig,
    journal: Journal,
    manifest: Manifest,
    software: str,
    now: Callable[[], datetime],
    clock: Callable[[], ClockState | None],
) -> SlideDesk:
    """The desk of a run with this bundle. Raises SlideKeyError."""
    return SlideDesk(
        journal=journal,
        origin=Origin(site=config.site, software=software, bundle=manifest.id),
        classifier=manifest.classifier,
        record_every_fields=config.slide.record_every_fields,
        now=now,
        clock=clock,
        rules=CountRules(
            stop=stop_rule(config.slide), blast_thresholds=tuple(sorted(config.slide.blast_thresholds))
        ),
        names=slide_names(config),
    )


def stop_rule(settings: SlideSettings) -> StopRule:
    """When a count is enough here."""
    return StopRule(
        target_cells=settings.target_cells,
        min_cells=settings.min_cells,
        look_every_cells=settings.look_every_cells,
        blast_half_width=settings.blast_half_width,
        class_half_width=settings.class_half_width,
    )


def begin_slide(desk: SlideDesk, settings: SlideSettings) -> None:
    """At a run's start: go on with the slide that is open, or open one where that is wanted.

    Raises StorageError.
    """
    if not desk.go_on() and settings.open_at_start:
        desk.open(None)
