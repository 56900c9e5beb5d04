"""Commands from the fleet, handed to the part that carries them out."""

from __future__ import annotations

from collections.abc import Callable

from edge.contract.orders import Command
from edge.daemon.page_view import PageView
from edge.daemon.updates import Updates
from edge.errors import ConfigError


class Orders:
    """Obeys the fleet; called in the publisher's thread, so that nothing here may take long."""

    def __init__(
        self, *, view: PageView, updates: Callable[[], Updates | None], publish_health: Callable[[], None]
    ) -> None:
        self._view = view
        self._updates = updates
        self._publish_health = publish_health

    def obey(self, command: Command) -> None:
        """Carry out a command.

        Raises SlideError, StorageError or ConfigError for one that does not fit the moment: whoever gave it
        is answered that.
        """
        if command.command == "open_slide":
            self._view.open_slide(command.slide, command.target_cells)
        elif command.command == "pause_slide":
            self._view.pause_slide()
        elif command.command == "resume_slide":
            self._view.resume_slide()
        elif command.command == "close_slide":
            self._view.close_slide()
        elif command.command == "look_for_update":
            self._require_updates().look()
        elif command.command == "cancel_update":
            self._require_updates().cancel()
        else:
            self._publish_health()

    def _require_updates(self) -> Updates:
        updates = self._updates()
        if updates is None:
            raise ConfigError("This station takes no updates.", remedy="Give it an [update] table.")
        return updates
