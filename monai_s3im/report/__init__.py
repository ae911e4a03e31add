"""The report of a batch: one self-contained HTML file that needs no network."""

import base64
import gzip
import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monai_s3im import __version__
from monai_s3im.errors import InputError
from monai_s3im.evaluation.replay import CaseImages, read_case_images
from monai_s3im.evaluation.volumes import ALL_GUARDS, case_guards
from monai_s3im.formats.atomic import remove_leftovers, write_file
from monai_s3im.metrics import FUSION_METRICS, METRIC_MEANINGS
from monai_s3im.modalities import CT_KNEES
from monai_s3im.pairs.lists import Pair
from monai_s3im.record import FusionRecord
from monai_s3im.settings import MAX_GIB
from monai_s3im.transforms import colors_of
from monai_s3im.viewer import LIBRARY, LICENCE, SCRIPT, STYLE, ViewerVolume, viewer_volume

from .cases import FEWEST_FOR_OUTLIERS, Case, ReportedBatch, read_batch, shared_settings
from .montage import montage
from .ratings import MOST_LETTERS, VERDICTS, Rating, read_ratings
from .strips import Strip

logger = logging.getLogger(__name__)

FUSED_BYTES = 3_000_000
"""Maximum bytes that the fused volume of a case adds to a page."""

SOURCE_BYTES = 1_000_000
"""Maximum bytes that each of its sources adds."""

TOTAL_BYTES = 100_000_000
"""Maximum bytes that all volumes add to a page; after that, cases have no viewer."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class GuardLine:
    """A guard of a case.

    Attributes:
        name: short.
        title: the measured quantity.
        value: rounded.
        bound: ``"at most 2"``.
        holds: whether the bound is met.
    """

    name: str
    title: str
    value: str
    bound: str
    holds: bool


@dataclass(frozen=True)
class Card:
    """The details that the page shows for a case in addition to its row.

    Attributes:
        case: the case.
        montage: the picture as WebP in base64; None: no picture.
        size: its width and height.
        description: description of the picture.
        note: reason why something is not shown.
        volumes: volumes of the viewer by name; empty: no viewer.
        images: display options of each volume, by the same names.
        guards: guards and readability of uptake.
        rating: the reader's rating of the case.
        is_rating_old: whether the rating belongs to an earlier fused image.
    """

    case: Case
    montage: str | None = None
    size: tuple[int, int] = (0, 0)
    description: str = ""
    note: str | None = None
    volumes: dict[str, ViewerVolume] | None = None
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    guards: tuple[GuardLine, ...] = ()
    rating: Rating = field(default_factory=Rating)
    is_rating_old: bool = False


def write_report(
    output_dir: str | Path,
    pairs: Iterable[Pair] = (),
    *,
    color_map: str | Path | None = None,
    max_gib: float = MAX_GIB,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report.html`` into the output folder of a batch, complete or not at all.

    It is made from ``summary.csv``, the records, the fused images, ``ratings.json``, and the sources of the pairs. A
    case that cannot be shown is listed with the reason; it does not stop the others.

    Args:
        output_dir: the folder.
        pairs: the sources; for a case without a pair only the fused image is shown.
        color_map: the file of the batch's colour map; a record has only its name and SHA256.
        max_gib: maximum memory that one image may take, see :data:`monai_s3im.settings.MAX_GIB`.
        progress: called with the numbers of cases done and of all cases.

    Returns:
        The file.

    Raises:
        InputError: if the folder has no summary of a batch, or its ``ratings.json`` is damaged.
        OutputError: if the file cannot be written.
    """
    folder = Path(output_dir)
    batch = read_batch(folder)
    by_name = {pair.name: pair for pair in pairs}
    ratings = read_ratings(folder, [case.result.name for case in batch.cases])

    def cards() -> Iterator[Card]:
        left = TOTAL_BYTES
        shown = [case for case in batch.cases if case.result.status != "failed"]
        for index, case in enumerate(shown):
            card = _card(case, by_name.get(case.result.name), str(color_map) if color_map else None, max_gib, left)
            left -= sum(len(volume.base64) for volume in (card.volumes or {}).values())
            rating = ratings.get(case.result.name, Rating())
            is_old = rating.fused_sha256 not in {None, case.result.fused_sha256}
            yield replace(card, rating=Rating() if is_old else rating, is_rating_old=is_old)
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
    """Draw a case, or give the reason why it cannot be drawn."""
    output = case.result.output
    if output is None or case.record is None:
        return Card(case, note="Its record is missing or damaged: fuse it again.")
    try:
        images = read_case_images(output, case.record, pair, color_map, max_gib)
        titles = (f"A: {case.modality('image_a')}", f"B: {case.modality('image_b')}")
        picture = montage(images, titles, case.record.color_bar)
        fits = images.fused.ndim == 4 and bytes_left >= FUSED_BYTES + 2 * SOURCE_BYTES
        volumes = _viewer_volumes(images, case.record) if fits else None
        guards = _guard_lines(images, case.record)
    except InputError as error:
        return Card(case, note=f"It cannot be shown: {error}")
    except Exception as error:
        logger.exception("%s cannot be shown in the report", case.result.name)
        return Card(case, note=f"It cannot be shown: unexpected {type(error).__name__}: {error}")
    text = base64.b64encode(picture.webp).decode()
    return Card(
        case,
        text,
        picture.size,
        picture.description,
        images.why_no_sources,
        volumes,
        _viewer_images(images, case) if volumes else {},
        guards,
    )


def _ramp(color_table: torch.Tensor | None) -> list[list[int]] | None:
    """The colours of a source from no to full uptake, 256 of [R, G, B]."""
    if color_table is None:
        return None
    colors = colors_of(torch.linspace(0, 1, 256)[None, None], color_table)[:, 0].T
    ramp: list[list[int]] = (255 * colors.clamp(0, 1)).round().int().tolist()
    return ramp


def _guard_lines(images: CaseImages, record: FusionRecord) -> tuple[GuardLine, ...]:
    if not images.sources:
        return ()
    values = {name: value for name, value in case_guards(images, record).items() if math.isfinite(value)}
    return tuple(
        GuardLine(
            name,
            guard.title,
            f"{values[name]:.3g}",
            f"at {'most' if guard.is_upper else 'least'} {guard.bound:g}",
            guard.holds(values[name]),
        )
        for name, guard in ALL_GUARDS.items()
        if name in values
    )


def _viewer_volumes(images: CaseImages, record: FusionRecord) -> dict[str, ViewerVolume]:
    fused = {"fused": viewer_volume(images.fused, FUSED_BYTES)}
    shown = [images.uptake if _is_uptake(images, index) else source for index, source in enumerate(images.sources)]
    return fused | {
        name: viewer_volume(source, SOURCE_BYTES, _range_of(record, f"image_{name.lower()}"))
        for name, source in zip("AB", shown, strict=False)
        if source is not None
    }


def _is_uptake(images: CaseImages, index: int) -> bool:
    return images.uptake is not None and images.functional == index


def _range_of(record: FusionRecord, key: str) -> tuple[float, float]:
    """The values that became 0 and 1; (0, 1) if the range is compressed and values cannot be recovered."""
    source = record.sources[key]
    is_compressed = source.modality == "ct" and {source.ct_window, record.settings.window} & set(CT_KNEES)
    lower, upper = (0.0, 1.0) if is_compressed else source.intensity_range
    return float(lower), float(upper)


def _viewer_images(images: CaseImages, case: Case) -> dict[str, dict[str, Any]]:
    """The display options of each volume; see FusionViewer.show in viewer.js."""
    record = case.record
    if record is None:
        return {}
    bar = record.color_bar
    fused_bar = {"colors": bar.colors, "barEnds": bar.range, "barUnit": bar.unit} if bar else {}
    told: dict[str, dict[str, Any]] = {
        "fused": {"title": "Fused", "low": 0, "high": 1, "isColor": images.fused.shape[0] == 3, **fused_bar}
    }
    for index, (letter, source) in enumerate(zip("AB", images.sources, strict=False)):
        key = f"image_{letter.lower()}"
        low, high = _range_of(record, key)
        is_uptake = _is_uptake(images, index)
        told[letter] = {
            "title": f"{letter}: {case.modality(key)}",
            "unit": record.sources[key].unit if (low, high) != (0, 1) else None,
            "low": low,
            "high": high,
            "isUptake": is_uptake,
            "isColor": source.shape[0] == 3 and not is_uptake,
            **({"colors": _ramp(images.color_table), "map": "own"} if is_uptake else {}),
        }
    return told


def _page(folder: Path, batch: ReportedBatch, cards: Iterator[Card]) -> Iterator[str]:
    """The text of the page in pieces, with one case in memory at a time."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join(path.read_text(encoding="utf-8") for path in (_HERE / "page.css", STYLE))
    script = "".join(path.read_text(encoding="utf-8") for path in (SCRIPT, _HERE / "page.js"))
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
        meanings=METRIC_MEANINGS,
        verdicts=VERDICTS,
        most_letters=MOST_LETTERS,
        fewest_for_outliers=FEWEST_FOR_OUTLIERS,
        total_bytes=TOTAL_BYTES,
        style=style,
        script=script,
        hashes={"style": _csp_hash(style), "script": _csp_hash(script)},
        viewer_code=base64.b64encode(gzip.compress(LIBRARY.read_bytes(), mtime=0)).decode() if has_volumes else "",
        viewer_licence=LICENCE.read_text(encoding="utf-8"),
    )


def _settings(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Settings and versions as lines of text."""
    software = settings.pop("software", {})
    return [*software.items(), *((name.replace("_", " "), _text(value)) for name, value in settings.items())]


def _text(value: Any) -> str:
    return "none" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _csp_hash(text: str) -> str:
    """The Content-Security-Policy source of an inline element with this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
