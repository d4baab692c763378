"""ReportedState: what a lock has said of itself on its MQTT state topic since the last command."""

from __future__ import annotations


class ReportedState:
    """Takes in the messages of one connection; only live ones count, not what the broker kept.

    Args:
        unlocked: payload of an unlocked lock.
        locked: payload of a locked lock.

    Attributes:
        is_unlocked: whether the newest message says so.
        is_locked: whether the newest message says so, and came after a lock was sent.
    """

    def __init__(self, unlocked: str, locked: str) -> None:
        self.is_unlocked = self.is_locked = False
        self._unlocked, self._locked = unlocked.encode(), locked.encode()
        self._lock_sent = False

    def forget(self, *, lock_sent: bool) -> None:
        """Begin anew: at the begin of a connection with a lock, else with an opening."""
        self.is_unlocked = self.is_locked = False
        self._lock_sent = lock_sent

    def note_lock_sent(self) -> None:
        """From now on, a lock that says it is locked may mean this command."""
        self._lock_sent = True

    def take(self, payload: bytes) -> None:
        """Take in a message of the state topic."""
        self.is_unlocked = payload == self._unlocked
        self.is_locked = self._lock_sent and payload == self._locked
