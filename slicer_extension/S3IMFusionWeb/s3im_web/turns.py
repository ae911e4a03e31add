"""Sessions take turns at the device: a place is a locked file, which is free again whatever becomes of its holder."""

import fcntl
from pathlib import Path
from typing import IO


class Turn:
    """A place among ``jobs`` places that all sessions of a server share.

    Args:
        folder: where the locks lie.
        jobs: places.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self._files = [folder / str(number) for number in range(jobs)]
        self._held: IO[bytes] | None = None

    def take(self) -> bool:
        """Take a free place; False if there is none now."""
        for path in self._files:
            lock = path.open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._held = lock
            return True
        return False

    def give_back(self) -> None:
        """Leave the place to the next."""
        if self._held is not None:
            self._held.close()
            self._held = None
