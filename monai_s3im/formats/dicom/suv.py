"""The stored unit of a PET series, and its factor to standardised uptake (SUV) by body weight, from its headers.

SUV = activity concentration (Bq/ml) x weight (g) / dose (Bq) at the time to which the activity is corrected, with a
millilitre counted as a gram. Philips writes counts, with private factors to SUV or Bq/ml. Sources: PS3.3 C.8.9.1
(Units, DecayCorrection), C.8.22 (enhanced PET), and the profile of the Quantitative Imaging Biomarkers Alliance for
FDG-PET.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from .headers import read_header
from .series import series_headers

SUV = "SUV"
"""The unit of standardised uptake by body weight, g/ml."""

_UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "GML": SUV}
_TAGS = """
    Units SUVType CorrectedImage DecayCorrection DecayCorrected DecayCorrectionDateTime PatientWeight SeriesDate
    SeriesTime RadiopharmaceuticalInformationSequence SharedFunctionalGroupsSequence
""".split()  # noqa: SIM905 (as a list it fills a page)
_GE_SCAN_START = ((0x0009, 0x0010), (0x0009, 0x100D))
_PHILIPS_CREATOR = (0x7053, 0x0010)
_PHILIPS_SUV, _PHILIPS_ACTIVITY = (0x7053, 0x1000), (0x7053, 0x1009)
_OTHER_SUV = ("BSA", "LBM", "LBMJAMES128", "LBMJANMA", "IBW")
_MOST_KG, _LEAST_BQ, _MOST_HALF_LIVES = 1000.0, 1e4, 10  # beyond these a header is wrong: grams, MBq, another day
_TIME = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?")


@dataclass(frozen=True)
class Uptake:
    """The meaning of the values of a PET series.

    Attributes:
        unit: of the values as stored: ``"Bq/ml"``, ``"counts"`` or ``"SUV"``; None: another.
        suv_factor: the factor from values to SUV, in g/ml; None if the headers do not suffice.
        suv_lacks: what is missing, phrased to follow "its header"; ``""`` if there is a factor.
    """

    unit: str | None
    suv_factor: float | None
    suv_lacks: str = ""


class _LacksError(Exception):
    """A header lacks something needed for SUV."""


def uptake_of(path: str | Path) -> Uptake:
    """The unit of a PET series, and its factor to SUV by body weight.

    Args:
        path: a series whose Modality is PT, see :func:`.series.read_series`.

    Raises:
        InputError: as :func:`.series.series_files`.
    """
    scanned = series_headers(path)
    first, *others = scanned
    headers = [_more_of(first)]
    units = _units(headers[0])
    if units == "CNTS":  # Philips's factors are in each file
        headers += [_more_of(file) for file in others]
    unit = _UNITS.get(units)
    if unit == SUV and str(headers[0].get("SUVType") or "BW").upper() != "BW":
        unit = None
    try:
        return Uptake(unit, _factor(units, headers, list(scanned.values())))
    except _LacksError as error:
        return Uptake(unit, None, str(error))


def _more_of(file: Path) -> Dataset:
    """The tags needed only for SUV."""
    tags: list[Any] = [*_TAGS, _PHILIPS_CREATOR, _PHILIPS_SUV, _PHILIPS_ACTIVITY, *_GE_SCAN_START]
    return read_header(file, tags, force=True)


def _units(header: Dataset) -> str:
    """The tag Units; for an enhanced file, RescaleType, common to all frames."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    of_frames = (shared.get("PixelValueTransformationSequence") or [Dataset()])[0]
    return str(header.get("Units") or of_frames.get("RescaleType") or "").upper()


def _factor(units: str, headers: Sequence[Dataset], scanned: Sequence[Dataset]) -> float:
    """The factor to SUV.

    Args:
        units: the tag Units.
        headers: the tags needed only for SUV, of the first file, or of all files if the unit is counts.
        scanned: headers of all files, with their times.

    Raises:
        _LacksError: if the headers do not suffice.
    """
    first = headers[0]
    if (corrected := first.get("CorrectedImage")) and "ATTN" not in corrected:
        raise _LacksError("has no attenuation correction (CorrectedImage lacks ATTN)")
    if units == "GML":
        if (kind := str(first.get("SUVType") or "BW").upper()) != "BW":
            raise _LacksError(
                f"has SUV normalised by something other than body weight ({kind if kind in _OTHER_SUV else 'other'})"
            )
        return 1.0
    if units == "CNTS" and str(_private(first, _PHILIPS_CREATOR) or "").upper().startswith("PHILIPS"):
        if (factor := _common(headers, _PHILIPS_SUV)) is not None:
            return factor
        to_activity = _common(headers, _PHILIPS_ACTIVITY)
    else:
        to_activity = 1.0 if units == "BQML" else None
    if to_activity is None:
        raise _LacksError("has a unit other than Bq/ml or SUV")
    weight = _positive(first.get("PatientWeight"))
    if weight is None:
        raise _LacksError("lacks PatientWeight")
    if weight > _MOST_KG:
        raise _LacksError(f"has a PatientWeight of {weight:g} kg")
    return to_activity * 1000 * weight / _dose(first, scanned)


def _common(headers: Sequence[Dataset], tag: tuple[int, int]) -> float | None:
    """The value of a private tag, if all files have the same one."""
    values = {_positive(_private(header, tag)) for header in headers}
    return values.pop() if len(values) == 1 else None


def _dose(header: Dataset, scanned: Sequence[Dataset]) -> float:
    """The injected activity, at the time to which the image's activity is corrected, in Bq."""
    drugs = list(header.get("RadiopharmaceuticalInformationSequence") or ())
    if len(drugs) > 1:
        raise _LacksError("names several radiopharmaceuticals")
    dose = _positive(drugs[0].get("RadionuclideTotalDose")) if drugs else None
    if dose is None:
        raise _LacksError("lacks RadionuclideTotalDose")
    if dose < _LEAST_BQ:
        raise _LacksError(f"has a RadionuclideTotalDose of {dose:g} Bq, less than any scan needs (MBq?)")
    correction = str(header.get("DecayCorrection") or "").upper()
    if correction == "ADMIN":
        return dose
    if correction == "START":
        start = _scan_start(header, scanned)
    elif not correction and str(header.get("DecayCorrected") or "").upper() == "YES":
        start = _time(header.get("DecayCorrectionDateTime"))
    else:
        raise _LacksError("has no decay correction (DecayCorrection is neither START nor ADMIN)")
    if start is None:
        raise _LacksError("lacks the time of the scan")
    half_life = _positive(drugs[0].get("RadionuclideHalfLife"))
    if half_life is None:
        raise _LacksError("lacks RadionuclideHalfLife")
    elapsed = (start - _injection(drugs[0], start)).total_seconds()
    if elapsed > _MOST_HALF_LIVES * half_life:
        raise _LacksError(f"has an injection {elapsed / half_life:.0f} half-lives before the scan")
    return dose * math.pow(2, -elapsed / half_life)


def _injection(drug: Dataset, start: datetime) -> datetime:
    """When the dose was measured: RadiopharmaceuticalStartDateTime, or the time of day alone, before the scan."""
    injected = _time(drug.get("RadiopharmaceuticalStartDateTime"))
    if injected is None:
        clock = str(drug.get("RadiopharmaceuticalStartTime") or "")
        injected = _time(f"{start:%Y%m%d}{clock}") if clock else None
        if injected is not None and injected > start:  # the day before
            injected -= timedelta(days=1)
    if injected is None:
        raise _LacksError("lacks RadiopharmaceuticalStartTime")
    if injected > start:
        raise _LacksError("has an injection time after the scan")
    return injected


def _scan_start(header: Dataset, scanned: Sequence[Dataset]) -> datetime | None:
    """When the scan began: the earlier of series and acquisition time, since a derived series is timed later."""
    acquired = [
        _time(each.get("AcquisitionDateTime"))
        or _time(f"{each.get('AcquisitionDate') or ''}{each.get('AcquisitionTime') or ''}")
        for each in scanned
    ]
    known = [time for time in acquired if time is not None]
    series = _time(f"{header.get('SeriesDate') or ''}{header.get('SeriesTime') or ''}")
    if series is not None and (not known or series <= min(known)):
        return series
    if str(_private(header, _GE_SCAN_START[0]) or "").upper().startswith("GEMS"):
        scan = _time(_private(header, _GE_SCAN_START[1]))
        if scan is not None:
            return scan
    return min(known, default=None)


def _private(header: Dataset, tag: tuple[int, int]) -> Any:
    value = header[tag].value if tag in header else None
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else value


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _time(text: Any) -> datetime | None:
    """Parse DICOM's YYYYMMDDHHMMSS.FFFFFF; the UTC offset after it is ignored, as all times of a series share it."""
    found = _TIME.match(str(text or ""))
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = (found[index] for index in range(1, 8))
    try:
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute or 0),
            min(int(second or 0), 59),
            int((fraction or "0").ljust(6, "0")),
        )
    except ValueError:
        return None
