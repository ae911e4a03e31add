"""The report of a batch: one HTML file that needs nothing else, no network either."""

import base64
import gzip
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monai_s3im import __version__
from monai_s3im.errors import InputError
from monai_s3im.evaluation.replay import CaseImages, read_case_images
from monai_s3im.formats.atomic import remove_leftovers, write_file
from monai_s3im.metrics import FUSION_METRICS
from monai_s3im.pairs.lists import Pair
from monai_s3im.settings import MAX_GIB

from .cases import FEWEST_FOR_OUTLIERS, Case, ReportedBatch, read_batch, shared_settings
from .montage import montage
from .strips import Strip
from .viewer import FUSED_BYTES, SOURCE_BYTES, TOTAL_BYTES, ViewerVolume, viewer_volume

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_VIEWER_CODE = _HERE / "niivue" / "niivue.umd.js"


@dataclass(frozen=True)
class Card:
    """What the page shows of a case beside its row.

    Attributes:
        case: the case.
        montage: the picture as WebP in base64; None: there is none.
        size: its width and height.
        description: what it shows.
        note: why something is not shown.
        volumes: those of the viewer by name; empty: no viewer.
    """

    case: Case
    montage: str | None = None
    size: tuple[int, int] = (0, 0)
    description: str = ""
    note: str | None = None
    volumes: dict[str, ViewerVolume] | None = None


def write_report(
    output_dir: str | Path,
    pairs: Iterable[Pair] = (),
    *,
    color_map: str | Path | None = None,
    max_gib: float = MAX_GIB,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report.html`` into the output folder of a batch, complete or not at all.

    It is made of what lies there, ``summary.csv``, the records and the fused images, and of the sources of the pairs.
    A case that cannot be shown is told with the reason; it does not stop the others.

    Args:
        output_dir: the folder.
        pairs: where the sources are; of a case that is not among them the fused image alone is shown.
        color_map: the file of a colour map that the batch was fused with; a record has only its name and SHA256.
        max_gib: most memory that one image may take, see :data:`monai_s3im.settings.MAX_GIB`.
        progress: called with the cases done and all cases.

    Returns:
        The file.

    Raises:
        InputError: if the folder has no summary of a batch.
        OutputError: if the file cannot be written.
    """
    folder = Path(output_dir)
    batch = read_batch(folder)
    by_name = {pair.name: pair for pair in pairs}

    def cards() -> Iterator[Card]:
        left = TOTAL_BYTES
        shown = [case for case in batch.cases if case.result.status != "failed"]
        for index, case in enumerate(shown):
            card = _card(case, by_name.get(case.result.name), str(color_map) if color_map else None, max_gib, left)
            left -= sum(len(volume.base64) for volume in (card.volumes or {}).values())
            yield card
            if progress is not None:
                progress(index + 1, len(shown))

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(_page(folder, batch, cards()))

    path = folder / "report.html"
    remove_leftovers(folder)
    write_file(path, write, ".html")
    return path


def _card(case: Case, pair: Pair | None, color_map: str | None, max_gib: float, bytes_left: int) -> Card:
    """Draw a case; whatever speaks against that is told in its place."""
    output = case.result.output
    if output is None or case.record is None:
        return Card(case, note="Its record is gone or damaged: fuse it again.")
    try:
        images = read_case_images(output, case.record, pair, color_map, max_gib)
        titles = (f"A: {case.modality('image_a')}", f"B: {case.modality('image_b')}")
        picture = montage(images, titles, case.record.color_bar)
        fits = images.fused.ndim == 4 and bytes_left >= FUSED_BYTES + 2 * SOURCE_BYTES
        volumes = _viewer_volumes(images) if fits else None
    except InputError as error:
        return Card(case, note=f"It cannot be shown: {error}")
    except Exception as error:
        logger.exception("%s cannot be shown in the report", case.result.name)
        return Card(case, note=f"It cannot be shown: unexpected {type(error).__name__}: {error}")
    text = base64.b64encode(picture.webp).decode()
    return Card(case, text, picture.size, picture.description, images.why_no_sources, volumes)


def _viewer_volumes(images: CaseImages) -> dict[str, ViewerVolume]:
    fused = {"fused": viewer_volume(images.fused, FUSED_BYTES)}
    return fused | {
        name: viewer_volume(source, SOURCE_BYTES) for name, source in zip("AB", images.sources, strict=False)
    }


def _page(folder: Path, batch: ReportedBatch, cards: Iterator[Card]) -> Iterator[str]:
    """The text of the page, piece by piece, so that no two cases are in memory at once."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    has_volumes = any(kind.endswith("volumes") for kind in batch.distributions)
    return environment.get_template("page.html.jinja").generate(
        folder=folder.resolve().name,
        made=datetime.now().astimezone(),
        version=__version__,
        batch=batch,
        cards=cards,
        settings=_settings(shared_settings(batch.cases)),
        metrics=[name for name in FUSION_METRICS if any(name in case.result.metrics for case in batch.cases)],
        strips={
            kind: {name: Strip(distribution) for name, distribution in distributions.items()}
            for kind, distributions in batch.distributions.items()
        },
        like_counts=Counter(case.kind for case in batch.cases),
        fewest_for_outliers=FEWEST_FOR_OUTLIERS,
        total_bytes=TOTAL_BYTES,
        style=style,
        script=script,
        hashes={"style": _csp_hash(style), "script": _csp_hash(script)},
        viewer_code=base64.b64encode(gzip.compress(_VIEWER_CODE.read_bytes(), mtime=0)).decode() if has_volumes else "",
        viewer_licence=(_HERE / "niivue" / "LICENSE").read_text(encoding="utf-8"),
    )


def _settings(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Settings and versions as lines of text."""
    software = settings.pop("software", {})
    return [*software.items(), *((name.replace("_", " "), _text(value)) for name, value in settings.items())]


def _text(value: Any) -> str:
    return "none" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _csp_hash(text: str) -> str:
    """How a Content-Security-Policy names an inline element of that text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
