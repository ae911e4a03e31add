"""Damaged DICOM series: one slice of four is damaged, or all are."""

import io
import struct
from collections.abc import Iterator

import pydicom
from fuzz.fuzz_cases import Case, intact, zeros_deflated
from pydicom.uid import ExplicitVRLittleEndian

DEFLATED = "1.2.840.10008.1.2.1.99"
TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "Rows", "Columns"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "PixelData"),
)
VALUES = {
    "Rows": (0, 1, 25, 27, 65535),
    "Columns": (0, 1, 23, 65535),
    "SamplesPerPixel": (0, 2, 3, 65535),
    "BitsAllocated": (0, 1, 8, 12, 32, 64, 65535),
    "BitsStored": (0, 1, 12, 17, 65535),
    "HighBit": (0, 31, 65535),
    "PixelRepresentation": (0, 2, 65535),
    "PhotometricInterpretation": ("RGB", "YBR_FULL", "PALETTE COLOR", "MONOCHROME1", "NONSENSE", ""),
    "NumberOfFrames": ("0", "-1", "2", "1000", "2147483647"),
    "ImagePositionPatient": ([0.0, 0.0], [1e300, 0.0, 0.0], [0.0, 0.0, 1e9], [0.0, 0.0, 0.0]),
    "ImageOrientationPatient": ([0.0] * 6, [1.0] * 6, [1.0, 0.0, 0.0], [1e300, 0, 0, 0, 1e300, 0], [0, 1, 0, 1, 0, 0]),
    "PixelSpacing": ([0.0, 0.0], [-1.0, 1.0], [1e300, 1e300], [1.0], [1e-30, 1e-30]),
    "RescaleSlope": (0.0, 1e300, -1.0, 1e-300),
    "RescaleIntercept": (1e300, -1e300),
    "SliceThickness": (0.0, -3.0, 1e300),
    "SeriesInstanceUID": ("", "1.2.3.5", "../../x", "1." * 32 + "1"),
    "SeriesNumber": ("-1", "2147483647"),
    "Modality": ("", "NONSENSE", "../..", "SEG", "NM"),
    "ImageType": (["ORIGINAL", "MOSAIC"], []),
}
RAW = {
    "PixelSpacing": (b"nan\\nan ", b"inf\\1", b"abc\\def ", b"1\\1\\1 ", b"\xff\xfe\\1 "),
    "ImagePositionPatient": (b"nan\\0\\0 ", b"a\\b\\c ", b"1\\2"),
    "ImageOrientationPatient": (b"nan\\0\\0\\0\\1\\0 ", b"1\\0\\0\\0\\1 "),
    "RescaleSlope": (b"nan ", b"abc ", b"1e400 ", b"1\\2 "),
    "NumberOfFrames": (b"abc ", b"1.5 ", b"1\\2 "),
    "SliceThickness": (b"nan ", b"inf "),
    "SeriesNumber": (b"abc ", b"99999999999999999999"),
}


def dicom() -> Iterator[Case]:  # noqa: C901 (a list)
    """All."""
    files = intact("dicom")
    names = sorted(files)
    target = names[1]

    def case(damage: str, content: bytes | None = None, others: dict[str, bytes] | None = None) -> Case:
        kept = files if content is None else {**files, target: content}
        return Case("dicom", damage, "series", {**kept, **(others or {})})

    content = files[target]
    borders = [*_element_borders(content), 0, 100, 128, 132, len(content) - 1]
    for border in sorted(set(borders)):
        yield case(f"truncated at byte {border}", content[:border])
    for name in TAGS:
        yield case(f"without {name}", _edited(content, lambda image, name=name: delattr(image, name)))
        yield Case(
            "dicom",
            f"without {name} in all",
            "series",
            {file: _edited(one, lambda image, name=name: delattr(image, name)) for file, one in files.items()},
        )
    for name, values in VALUES.items():
        for value in values:

            def change(image: pydicom.Dataset, name: str = name, value: object = value) -> None:
                setattr(image, name, value)

            yield case(f"{name} = {value}", _edited(content, change))
            yield Case(
                "dicom",
                f"{name} = {value} in all",
                "series",
                {file: _edited(one, change) for file, one in files.items()},
            )
    for name, texts in RAW.items():
        for text in texts:
            yield case(f"{name} = {text!r}", _edited(content, lambda image, n=name, t=text: _set_raw(image, n, t)))
    for length in (0, 2, 100, 22 * 26 * 2 - 2, 22 * 26 * 2 + 2, 100_000):

        def cut(image: pydicom.Dataset, length: int = length) -> None:
            image.PixelData = bytes(length)

        yield case(f"{length} bytes of pixels", _edited(content, cut))
    for syntax in (
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2",
        DEFLATED,
        "9.9.9",
        "",
    ):
        yield case(
            f"transfer syntax {syntax!r} that is none",
            content.replace(
                ExplicitVRLittleEndian.encode() + b"\0", syntax.encode().ljust(len(ExplicitVRLittleEndian) + 1, b"\0")
            )
            if len(syntax) <= len(ExplicitVRLittleEndian) + 1
            else _with_syntax(content, syntax),
        )
    yield case("deflated, a bomb of 4 GiB", _with_syntax(content, DEFLATED, zeros_deflated(4096)))
    yield case("deflated, intact", _with_syntax(content, DEFLATED))
    yield case("no preamble", content[132:])
    yield case("text", b"a list of patients")
    yield case("a picture", next(iter(intact("png").values())))
    yield case("the same slice twice", None, {"series/again.dcm": content})
    yield case("another series beside it", None, {"series/other.dcm": content.replace(b"1.2.3.4\0", b"1.2.3.9\0")})
    for size in (0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF):
        yield case(f"pixels of declared length {size}", _with_pixel_length(content, size))
    yield case(
        "a sequence that does not end", content + b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0" * 9
    )
    nested = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    yield case("sequences within sequences", content[: _pixel_start(content)] + nested * 20_000)
    yield Case("dicom", "one slice is missing", "series", {n: c for n, c in files.items() if n != names[1]})
    yield Case("dicom", "one slice only", "series", {names[0]: files[names[0]]})
    yield Case("dicom", "no slice", "series", {"series/readme.txt": b"nothing"})
    yield Case("dicom", "all cut", "series", {name: one[:300] for name, one in files.items()})


def _edited(content: bytes, change: object) -> bytes:
    image = pydicom.dcmread(io.BytesIO(content))
    try:
        with pydicom.config.disable_value_validation():
            change(image)  # type: ignore[operator]
            stream = io.BytesIO()
            image.save_as(stream)
    except (AttributeError, ValueError, TypeError, OverflowError, struct.error):
        return content[:-1]  # pydicom does not write such a file
    return stream.getvalue()


def _set_raw(image: pydicom.Dataset, name: str, text: bytes) -> None:
    tag = pydicom.datadict.tag_for_keyword(name)
    image.pop(tag, None)
    image[tag] = pydicom.DataElement(tag, "UN", text)


def _with_syntax(content: bytes, syntax: str, body: bytes | None = None) -> bytes:
    image = pydicom.dcmread(io.BytesIO(content))
    image.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    if body is None and syntax == DEFLATED:
        pydicom.dcmwrite(stream, image)
        return stream.getvalue()
    meta = io.BytesIO()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.filewriter.write_file_meta_info(meta, image.file_meta)
    image.file_meta.TransferSyntaxUID = syntax
    other = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(other, image.file_meta)
    start = 132 + len(meta.getvalue())
    return content[:132] + other.getvalue() + (content[start:] if body is None else body)


def _element_borders(content: bytes) -> list[int]:
    image = pydicom.dcmread(io.BytesIO(content))
    return [element.file_tell for element in image if getattr(element, "file_tell", None)]


def _pixel_start(content: bytes) -> int:
    return content.index(b"\xe0\x7f\x10\x00")


def _with_pixel_length(content: bytes, size: int) -> bytes:
    at = _pixel_start(content) + 8
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]
