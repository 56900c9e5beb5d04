"""Puts the parts of updates together, for the station and for the commands, from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.bundle import starter_bundle
from edge.config import StationConfig
from edge.daemon.second_opinion import ChildOpinions
from edge.daemon.shadow import Shadow
from edge.errors import ConfigError
from edge.update.delivery import SignedDelivery, last_good_look
from edge.update.protocol import Progress
from edge.update.proving import ChildSelfTest
from edge.update.serving import Serving
from edge.update.settings import UpdateSettings
from edge.update.sources import Source, directory_source, https_source
from edge.update.store import ReportSink, UpdateStore
from edge.update.updater import Updater, unwatched


@dataclass(frozen=True, kw_only=True)
class UpdateRoom:
    """One station's updates: what is kept of them, and who works on them."""

    config: StationConfig
    settings: UpdateSettings
    store: UpdateStore
    serving: Serving

    @property
    def base(self) -> Path:
        """The bundle that the station was installed with."""
        return _base(self.config)

    @property
    def last_good_look(self) -> datetime | None:
        """When the repository was last found good; None before the first time."""
        return last_good_look(self._trust)

    @property
    def _trust(self) -> Path:
        return self.store.root / "trust"

    def updater(
        self,
        *,
        source: Source | None = None,
        sink: ReportSink | None = None,
        progress: Progress = unwatched,
    ) -> Updater:
        """Brings bundles from the configured repository, or from ``source``; both are checked alike."""
        return Updater(
            store=self.store,
            delivery=self._delivery(source or self._source()),
            self_test=ChildSelfTest(
                precision=self.config.engine.precision,
                engines=self.config.engines_dir,
                threads=self.config.engine.threads,
                prepare_s=self.settings.prepare_s,
                prove_s=self.settings.prove_s,
            ),
            patience=self.settings.patience,
            reserve_bytes=self.settings.reserve_bytes,
            sink=sink,
            progress=progress,
        )

    def shadow(self) -> Shadow | None:
        """What runs a candidate beside the active bundle; None where the station does without."""
        if self.settings.shadow is None:
            return None
        opinions = ChildOpinions(
            precision=self.config.engine.precision,
            engines=self.config.engines_dir,
            open_s=self.settings.prepare_s,
            field_s=self.settings.prove_s,
        )
        return Shadow(fields=self.settings.shadow.fields, open_opinion=opinions)

    def _source(self) -> Source:
        place = self.settings.repository
        if isinstance(place, Path):
            return directory_source(place)
        return https_source(place, ca_file=self.settings.ca_file)

    def _delivery(self, source: Source) -> SignedDelivery:
        return SignedDelivery(
            source=source,
            trusted_root=self.settings.root,
            state=self._trust,
            ring=self.settings.ring,
            known_bundles=self._known_bundles,
        )

    def _known_bundles(self) -> tuple[Path, ...]:
        shelf = self.store.shelf
        at_hand = [shelf.place(each) for each in (shelf.active, shelf.previous) if each is not None]
        return (*at_hand, self.base)


def update_room(config: StationConfig) -> UpdateRoom | None:
    """The updates of the station that ``config`` describes; None where it has none."""
    if config.update is None:
        return None
    store = UpdateStore(root=config.state_dir / "update", base=_base(config))
    serving = Serving(
        store=store,
        patience=config.update.patience,
        gate=config.update.gate,
        shadow=config.update.shadow,
    )
    return UpdateRoom(config=config, settings=config.update, store=store, serving=serving)


def required_update_room(config: StationConfig) -> UpdateRoom:
    """As ``update_room``. Raises ConfigError where the station has no updates."""
    room = update_room(config)
    if room is None:
        raise ConfigError(
            "There is no [update] table: this station takes no updates.",
            remedy="Add one with the repository and its root.json; see docs/redeploy.md.",
        )
    return room


def _base(config: StationConfig) -> Path:
    return config.bundle or starter_bundle()
