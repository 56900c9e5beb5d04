"""How often something may be done: a bucket that fills evenly. Pure: time is told."""

from __future__ import annotations


class TokenBucket:
    """Holds up to ``capacity`` tokens, gains ``per_s`` of them, and begins full."""

    def __init__(self, *, per_s: float, capacity: float, now_s: float) -> None:
        self._per_s = per_s
        self._capacity = capacity
        self._tokens = capacity
        self._filled_at_s = now_s

    def available(self, *, now_s: float) -> int:
        """How many whole tokens there are."""
        self._fill(now_s)
        return int(self._tokens)

    def take(self, *, now_s: float) -> bool:
        """Take one, if there is one."""
        self._fill(now_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def full_enough_in_s(self, tokens: float, *, now_s: float) -> float:
        """How long until there are so many, or as many as it can hold."""
        self._fill(now_s)
        missing = min(tokens, self._capacity) - self._tokens
        return max(0.0, missing / self._per_s) if self._per_s else float("inf")

    def _fill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._filled_at_s) * self._per_s
        self._tokens = min(self._capacity, self._tokens + gained)
        self._filled_at_s = now_s
