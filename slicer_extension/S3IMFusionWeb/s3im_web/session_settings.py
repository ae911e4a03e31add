"""What the server sends a session when it starts it."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SessionSettings:
    """The settings of a session.

    Attributes:
        folder: the session's own, private folder; removed when the session ends.
        turns: folder of the locks by which sessions take turns.
        secret: what every request to the session must carry.
        data: folder of the server whose volumes may be loaded; None: uploads only.
        max_bytes: of an uploaded file, and of a volume's voxels.
        jobs: fusions at a time, over all sessions.
        device: where fusions are computed: ``"auto"``, ``"cpu"``, ``"cuda:1"``.
    """

    folder: Path
    turns: Path
    secret: str
    data: Path | None
    max_bytes: int
    jobs: int
    device: str

    @classmethod
    def from_line(cls, line: str) -> "SessionSettings":
        """The settings from the one line of JSON that the server writes to the session."""
        values = json.loads(line)
        data = Path(values.pop("data")) if values.get("data") else None
        folders = {"folder": Path(values.pop("folder")), "turns": Path(values.pop("turns"))}
        values.pop("data", None)
        return cls(**folders, data=data, **values)
