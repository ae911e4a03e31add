"""Keep what C libraries print about a bad file off the user's screen."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2
_lock = threading.Lock()


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Redirect the process's standard error to nowhere: MetaIO and libtiff print there and cannot be silenced.

    Python exceptions are not affected. One thread at a time, since the file descriptor belongs to the whole process.
    """
    with _lock, Path(os.devnull).open("wb") as nowhere:
        kept = os.dup(_STDERR)
        os.dup2(nowhere.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
