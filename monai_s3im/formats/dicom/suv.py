"""Standardised uptake of a PET series, by body weight, from its header.

SUV = activity concentration (Bq/ml) x weight (g) / dose (Bq) at the time that the activity is corrected to, a
millilitre taken for a gram. Philips writes counts, and factors of its own to SUV or to Bq/ml. Sources: PS3.3 C.8.9.1
(Units, DecayCorrection), and the profile of the Quantitative Imaging Biomarkers Alliance for FDG-PET.
"""

import math
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from .headers import read_header
from .series import series_files

_TAGS = """
    Modality Units SUVType DecayCorrection CorrectedImage PatientWeight SeriesDate SeriesTime AcquisitionDate
    AcquisitionTime AcquisitionDateTime RadiopharmaceuticalInformationSequence
""".split()  # noqa: SIM905 (as a list it fills a page)
_GE_SCAN_START = ((0x0009, 0x0010), (0x0009, 0x100D))
_PHILIPS_CREATOR = (0x7053, 0x0010)
_PHILIPS_SUV, _PHILIPS_ACTIVITY = (0x7053, 0x1000), (0x7053, 0x1009)
_TIME = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?")


def suv_factor(path: str | Path) -> float | None:
    """By what the values of a PET series are multiplied for the uptake by body weight, in g/ml.

    Args:
        path: a series, see :func:`.series.read_series`.

    Returns:
        The factor; None where it is no PET, or the headers lack what it takes: weight, dose, half-life, the times of
        injection and scan, a known unit.

    Raises:
        InputError: as :func:`.series.series_files`.
    """
    headers: list[Dataset] = []
    for file in series_files(path):
        private = [_PHILIPS_CREATOR, _PHILIPS_SUV, _PHILIPS_ACTIVITY, *_GE_SCAN_START]
        header = read_header(file, [*_TAGS, *private], force=True)
        if header.get("Modality") != "PT":
            return None
        headers.append(header)
    return _factor(headers)


def _factor(headers: list[Dataset]) -> float | None:
    first = headers[0]
    units = str(first.get("Units") or "").upper()
    if units == "GML":
        return 1.0 if str(first.get("SUVType") or "BW").upper() == "BW" else None
    to_activity: float | None = 1.0 if units == "BQML" else None
    if units == "CNTS" and str(_private(first, _PHILIPS_CREATOR) or "").upper().startswith("PHILIPS"):
        factors = {_positive(_private(header, _PHILIPS_SUV)) for header in headers}
        if len(factors) == 1 and (factor := factors.pop()):
            return factor
        activities = {_positive(_private(header, _PHILIPS_ACTIVITY)) for header in headers}
        to_activity = activities.pop() if len(activities) == 1 else None
    dose, weight = _dose(headers), _positive(first.get("PatientWeight"))
    if to_activity is None or dose is None or weight is None:
        return None
    return to_activity * 1000 * weight / dose


def _dose(headers: list[Dataset]) -> float | None:
    """The activity injected, at the time that the activity in the image is corrected to, in Bq."""
    drugs = list(headers[0].get("RadiopharmaceuticalInformationSequence") or ())
    dose = _positive(drugs[0].get("RadionuclideTotalDose")) if len(drugs) == 1 else None
    correction = str(headers[0].get("DecayCorrection") or "").upper()
    if dose is None or correction not in {"START", "ADMIN"}:
        return None
    if correction == "ADMIN":
        return dose
    half_life = _positive(drugs[0].get("RadionuclideHalfLife"))
    start = _scan_start(headers)
    if half_life is None or start is None:
        return None
    injected = _time(drugs[0].get("RadiopharmaceuticalStartDateTime"))
    if injected is None:
        clock = str(drugs[0].get("RadiopharmaceuticalStartTime") or "")
        injected = _time(f"{start:%Y%m%d}{clock}") if clock else None
        if injected is not None and injected > start:  # the day before
            injected -= timedelta(days=1)
    if injected is None or injected > start:
        return None
    return dose * math.pow(2, -(start - injected).total_seconds() / half_life)


def _scan_start(headers: list[Dataset]) -> datetime | None:
    """When the scan began: the time of the series, unless that is later, as of a series that was made afterwards."""
    acquired = [
        _time(header.get("AcquisitionDateTime"))
        or _time(f"{header.get('AcquisitionDate') or ''}{header.get('AcquisitionTime') or ''}")
        for header in headers
    ]
    known = [time for time in acquired if time is not None]
    series = _time(f"{headers[0].get('SeriesDate') or ''}{headers[0].get('SeriesTime') or ''}")
    if series is not None and (not known or series <= min(known)):
        return series
    if str(_private(headers[0], _GE_SCAN_START[0]) or "").upper().startswith("GEMS"):
        scan = _time(_private(headers[0], _GE_SCAN_START[1]))
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
    """From DICOM's YYYYMMDDHHMMSS.FFFFFF; what follows, the offset from UTC, is the same for all times of a series."""
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
