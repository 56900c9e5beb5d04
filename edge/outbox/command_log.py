"""Which commands were carried out already, and what was answered: on disk, until each would have expired."""

from __future__ import annotations

from typing import Final

import apsw

COMMAND_SCHEMA: Final = "CREATE TABLE commands (id TEXT PRIMARY KEY, expires_s REAL NOT NULL, answer BLOB);"


class CommandLog:
    """The table of them in an open outbox file. No lock and no transaction of its own."""

    def __init__(self, *, connection: apsw.Connection) -> None:
        self._connection = connection

    def note(self, command_id: str, *, expires_s: float, now_s: float) -> bool:
        """Remember a command until it expires; False where it is known."""
        self._connection.execute("DELETE FROM commands WHERE expires_s < ?", (now_s,))
        self._connection.execute(
            "INSERT OR IGNORE INTO commands (id, expires_s) VALUES (?, ?)", (command_id, expires_s)
        )
        return self._connection.changes() == 1

    def set_answer(self, command_id: str, answer: bytes) -> None:
        """Remember what was answered, as long as the command."""
        self._connection.execute("UPDATE commands SET answer = ? WHERE id = ?", (answer, command_id))

    def answer(self, command_id: str) -> bytes | None:
        """What was answered; None where nothing was yet."""
        answer = self._connection.execute("SELECT answer FROM commands WHERE id = ?", (command_id,)).get
        return None if answer is None else bytes(answer)
