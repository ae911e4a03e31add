"""Damaged NIfTI, NRRD and MetaImage files."""

import gzip
import struct
from collections.abc import Iterator

from fuzz.fuzz_cases import Case, edited, gzip_bomb, gzipped, intact, truncated

# offset, type and name of the fields of NIfTI-1 (nifti1.h)
NIFTI_FIELDS = (
    *((0, "i", "sizeof_hdr"), (4, "10s", "data_type"), (14, "18s", "db_name"), (32, "i", "extents")),
    *((36, "h", "session_error"), (38, "b", "regular"), (39, "b", "dim_info")),
    *((40 + 2 * i, "h", f"dim[{i}]") for i in range(8)),
    *((56, "f", "intent_p1"), (60, "f", "intent_p2"), (64, "f", "intent_p3"), (68, "h", "intent_code")),
    *((70, "h", "datatype"), (72, "h", "bitpix"), (74, "h", "slice_start")),
    *((76 + 4 * i, "f", f"pixdim[{i}]") for i in range(8)),
    *((108, "f", "vox_offset"), (112, "f", "scl_slope"), (116, "f", "scl_inter"), (120, "h", "slice_end")),
    *((122, "b", "slice_code"), (123, "b", "xyzt_units"), (124, "f", "cal_max"), (128, "f", "cal_min")),
    *((132, "f", "slice_duration"), (136, "f", "toffset"), (140, "i", "glmax"), (144, "i", "glmin")),
    *((148, "80s", "descrip"), (228, "24s", "aux_file"), (252, "h", "qform_code"), (254, "h", "sform_code")),
    *((256 + 4 * i, "f", f"quatern_{n}") for i, n in enumerate("bcd")),
    *((268 + 4 * i, "f", f"qoffset_{n}") for i, n in enumerate("xyz")),
    *((280 + 4 * i, "f", f"srow[{i}]") for i in range(12)),
    *((328, "16s", "intent_name"), (344, "4s", "magic"), (348, "4s", "extension")),
)
ABSURD = {
    "h": (-32768, -1, 0, 1, 2, 3, 5, 7, 8, 255, 32767),
    "i": (-(2**31), -1, 0, 540, 2**31 - 1),
    "b": (-128, -1, 0, 1, 3, 127),
    "f": (float("nan"), float("inf"), float("-inf"), -1e38, -1.0, 0.0, 1.0, 1e-38, 351.0, 353.0, 2.0**31, 1e38),
}
DATATYPES = (0, 1, 2, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 999)


def nifti_fields() -> Iterator[tuple[str, bytes]]:
    """The header of an intact file with one field made absurd."""
    (content,) = intact("nifti").values()
    for offset, kind, name in NIFTI_FIELDS:
        values = DATATYPES if name == "datatype" else ABSURD.get(kind, ())
        for value in values:
            yield f"{name} = {value}", _with(content, offset, kind, value)
    for text in (b"ni1\0", b"n+2\0", b"\0\0\0\0", b"n+1x"):
        yield f"magic = {text!r}", _with(content, 344, "4s", text)
    for size in (-16, 0, 7, 16, 2**31 - 16):
        flagged = _with(_with(content, 348, "4s", b"\1\0\0\0"), 108, "f", 1e6)
        yield f"extension of {size} bytes", flagged[:352] + struct.pack("<ii", size, 4) + flagged[352:]
    swapped = bytearray(content)
    for offset, kind, _ in NIFTI_FIELDS:
        if kind in "hif":
            size = struct.calcsize(kind)
            swapped[offset : offset + size] = swapped[offset : offset + size][::-1]
    yield "header in the other byte order", bytes(swapped)
    yield "sizeof_hdr in the other byte order", _with(content, 0, ">i", 348)
    yield "all of the affine is NaN", _with(_with(content, 280, "12f", *[float("nan")] * 12), 252, "h", 0)
    yield "affine is singular", _with(content, 280, "12f", *[1.0] * 12)
    for shape in ((2**15 - 1,) * 3, (30000, 30000, 8), (32767, 1, 1), (600, 600, 500)):
        yield f"shape {shape}", _with(content, 42, "3h", *shape)
    for shape in ((2**62, 2, 2), (-1, 5, 5), (2**40, 1, 1)):
        yield f"NIfTI-2 of shape {shape}", _nifti_2(shape, 544)
    yield "NIfTI-2 with an absurd offset", _nifti_2((22, 26, 9), 2**62)
    yield "text", b"patient list\n" * 60
    yield "a picture", next(iter(intact("png").values()))


def nifti() -> Iterator[Case]:
    """Plain files."""
    (content,) = intact("nifti").values()
    borders = [(name, offset) for offset, _, name in NIFTI_FIELDS]
    borders += [("start of data", 352), ("the middle", len(content) // 2), ("last byte", len(content) - 1)]
    yield from truncated("nifti", "x.nii", {"x.nii": content}, iter(borders))
    for damage, damaged in nifti_fields():
        yield edited("nifti", "x.nii", damage, damaged)
    yield edited("nifti", "x.nii", "more data than declared", content + bytes(5000))
    yield edited("nifti", "x.nii", "compressed, but not named so", gzipped(content))


def nifti_gz() -> Iterator[Case]:
    """Compressed files."""
    (plain,) = intact("nifti").values()
    content = gzipped(plain)
    borders = [*((f"byte {n}", n) for n in (0, 2, 3, 4, 8, 10, 11)), ("the middle", len(content) // 2)]
    borders += [("the check sum", len(content) - 8), ("the length", len(content) - 4), ("last byte", len(content) - 1)]
    yield from truncated("nifti_gz", "x.nii.gz", {"x.nii.gz": content}, iter(borders))
    for damage, damaged in [*nifti_fields()][::3]:
        yield edited("nifti_gz", "x.nii.gz", damage, gzipped(damaged))

    def made(damage: str, damaged: bytes) -> Case:
        return edited("nifti_gz", "x.nii.gz", damage, damaged)

    yield made("two members, intact", gzipped(plain[:5000]) + gzipped(plain[5000:]))
    yield made("two members, the second cut", gzipped(plain[:5000]) + gzipped(plain[5000:])[:-20])
    yield made("compressed twice", gzipped(content))
    yield made("compressed four times", gzipped(gzipped(gzipped(content))))
    yield made("not compressed", plain)
    yield made("zeros after the end", content + bytes(100))
    yield made("text after the end", content + b"something else")
    yield made("check sum wrong", content[:-8] + b"\1\2\3\4" + content[-4:])
    yield made("length wrong", content[:-4] + b"\1\2\3\4")
    yield made("more data than declared", gzipped(plain + bytes(5000)))
    head = plain[:352]
    yield made("bomb: 4 GiB behind a small volume", gzip_bomb(4096, plain))
    yield made("bomb: 4 GiB of zeros", gzip_bomb(4096))
    yield made("bomb: 7 GB declared", gzip_bomb(4096, _with(_with(head, 42, "3h", 30000, 30000, 2), 70, "hh", 16, 32)))
    yield made("bomb: 3 GiB declared", gzip_bomb(3072, _with(_with(head, 42, "3h", 930, 930, 930), 70, "hh", 16, 32)))
    yield made("bomb: 0.6 GB declared", gzip_bomb(600, _with(_with(head, 42, "3h", 700, 700, 640), 70, "hh", 4, 16)))
    yield made("bomb: 4D of 8 GB", gzip_bomb(64, _with(_with(head, 40, "5h", 4, 256, 256, 32, 2000), 70, "hh", 4, 16)))
    yield made("bomb behind an absurd offset", gzip_bomb(4096, _with(head, 108, "f", 2.0**32)))
    flagged = _with(_with(head, 348, "4s", b"\1\0\0\0"), 108, "f", 2.0**31)
    yield made("bomb in an extension", gzip_bomb(2048, flagged + struct.pack("<ii", 2**31 - 16, 4)))
    yield made("many empty members", gzip.compress(b"", mtime=0) * 20000 + content)


def nrrd() -> Iterator[Case]:
    """NRRD, voxels in the file, raw and compressed, and detached."""
    (content,) = intact("nrrd").values()
    head, _, data = content.partition(b"\n\n")
    lines = head.decode().split("\n")
    borders = [("start of data", len(head) + 2), ("last byte", len(content) - 1), ("the middle", len(content) // 2)]
    position = 0
    for line in lines:
        position += len(line) + 1
        borders.append((line.partition(":")[0], position))
    yield from truncated("nrrd", "x.nrrd", {"x.nrrd": content}, iter(borders))
    for damage, edited_lines in _nrrd_edits(lines):
        text = "\n".join(edited_lines).encode()
        yield edited("nrrd", "x.nrrd", damage, text + b"\n\n" + data)
    packed = [line.replace("raw", "gzip") if line.startswith("encoding") else line for line in lines]
    huge = [line if not line.startswith("sizes") else "sizes: 900 900 900" for line in packed]
    yield edited("nrrd", "x.nrrd", "bomb: 1.4 GB declared", "\n".join(huge).encode() + b"\n\n" + gzip_bomb(1400))
    small = "\n".join(packed).encode() + b"\n\n"
    yield edited("nrrd", "x.nrrd", "bomb: 4 GiB behind a small volume", small + gzip_bomb(4096, data))
    yield edited("nrrd", "x.nrrd", "compressed, cut", small + gzipped(data)[:-500])
    yield edited("nrrd", "x.nrrd", "compressed, intact", small + gzipped(data))


def nrrd_detached() -> Iterator[Case]:
    """NRRD headers that name another file."""
    (content,) = intact("nrrd").values()
    head, _, data = content.partition(b"\n\n")
    lines = head.decode().split("\n")
    for name in DATA_FILES:
        text = "\n".join([*lines, f"data file: {name}"]).encode() + b"\n"
        yield edited("nrrd_detached", "x.nhdr", f"data file: {name!r}", text, {"x.raw": data, "sub/x.raw": data})
    text = "\n".join([*lines, "data file: x.raw"]).encode() + b"\n"
    for length in (0, 1, len(data) // 2, len(data) - 1, len(data)):
        yield edited("nrrd_detached", "x.nhdr", f"data of {length} bytes", text, {"x.raw": data[:length]})
    for damage, edited_lines in _nrrd_edits([*lines, "data file: x.raw"]):
        body = "\n".join(edited_lines).encode() + b"\n"
        yield edited("nrrd_detached", "x.nhdr", damage, body, {"x.raw": data})
    for name in ("../secret.raw", "/etc/hostname"):
        inside = "\n".join([*lines, f"data file: {name}"]).encode() + b"\n\n" + data
        yield edited("nrrd", "x.nrrd", f"data file: {name!r}", inside)


DATA_FILES = (
    *("x.raw", "sub/x.raw", "./x.raw", "../x.raw", "../../../../../../etc/passwd", "/etc/passwd", "/dev/zero"),
    *("/dev/stdin", "missing.raw", "x.nhdr", "", "LIST", "LIST 2\nx.raw\n/etc/passwd", "x%03d.raw 0 1000000 1"),
    *("/etc/pass%01d 1 9 1 2", "sub", "-", "x" * 5000, "%n%n%s%s"),
)
NRRD_VALUES = {
    "type": ("block", "nonsense", "float", "int8", "int64", "double", ""),
    "dimension": ("0", "1", "2", "4", "17", "-1", "99999999999", "3.5"),
    "sizes": (
        "-1 26 9",
        "0 0 0",
        "2147483648 2 2",
        "22 26",
        "22 26 9 9",
        "99999 99999 99999",
        "nan 1 1",
        "46000 46000 1",
    ),
    "space": ("nonsense", "scanner-xyz", "right-anterior-superior", "3D-right-handed"),
    "space directions": (
        "(nan,0,0) (0,7,0) (0,0,12)",
        "(0,0,0) (0,7,0) (0,0,12)",
        "none none none",
        "(1,2) (3,4)",
        "(1e308,0,0) (0,1e308,0) (0,0,1e308)",
        "(inf,0,0) (0,1,0) (0,0,1)",
        "(8,0,0) (8,0,0) (8,0,0)",
    ),
    "space origin": ("(nan,0,0)", "(inf,0,0)", "(1e300,0,0)", "(0,0)", "nonsense"),
    "kinds": ("vector domain domain", "complex domain domain", "domain domain domain domain", "nonsense"),
    "endian": ("big", "nonsense"),
    "encoding": ("gzip", "bz2", "ascii", "hex", "nonsense", "bzip2"),
    "byte skip": ("-1", "-2", "1", "4611686018427387904"),
    "line skip": ("-1", "1", "1000000000"),
}


def _nrrd_edits(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    for index, line in enumerate(lines):
        yield f"without {line.partition(':')[0]}", lines[:index] + lines[index + 1 :]
        yield f"twice {line.partition(':')[0]}", lines[: index + 1] + lines[index:]
    for name, values in NRRD_VALUES.items():
        for value in values:
            kept = [line for line in lines if not line.startswith(f"{name}:")]
            yield f"{name}: {value}", [*kept, f"{name}: {value}"]
    yield "a line of 100 kB", [*lines, "# " + "x" * 100_000]
    yield "a key-value pair of odd bytes", [*lines, "a\x00b:=\x01\x02"]


META_VALUES = {
    "ObjectType": ("Mesh", ""),
    "NDims": ("0", "-1", "1", "2", "4", "100", "99999999999"),
    "BinaryData": ("False",),
    "BinaryDataByteOrderMSB": ("True",),
    "CompressedData": ("True",),
    "CompressedDataSize": ("-1", "0", "9223372036854775807", "99999999999"),
    "TransformMatrix": ("nan 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "1 0 0", "inf 0 0 0 1 0 0 0 1"),
    "Offset": ("nan 0 0", "inf 0 0", "1e300 0 0", "0"),
    "ElementSpacing": ("0 1 1", "-1 1 1", "nan 1 1", "inf 1 1", "1e308 1e308 1e308", "1"),
    "DimSize": ("-1 26 9", "0 0 0", "2147483648 2 2", "22 26", "99999 99999 99999", "46000 46000 1", "800 800 800"),
    "ElementType": ("MET_NONE", "MET_NONSENSE", "MET_DOUBLE", "MET_STRING", "MET_FLOAT_MATRIX", "MET_LONG_LONG"),
    "ElementNumberOfChannels": ("0", "-1", "3", "1000000000"),
    "HeaderSize": ("-1", "-2", "1", "2147483647", "9223372036854775807"),
}


def metaimage() -> Iterator[Case]:
    """MetaImage, voxels in the file, and detached."""
    (content,) = intact("metaimage").values()
    mark = content.index(b"ElementDataFile = LOCAL\n")
    head, data = content[:mark].decode(), content[mark + 24 :]
    lines = head.strip().split("\n")
    borders = [("start of data", mark + 24), ("last byte", len(content) - 1), ("the middle", len(content) // 2)]
    position = 0
    for line in lines:
        position += len(line) + 1
        borders.append((line.partition(" ")[0], position))
    yield from truncated("metaimage", "x.mha", {"x.mha": content}, iter(borders))
    for damage, edited_lines in _meta_edits(lines):
        body = "\n".join([*edited_lines, "ElementDataFile = LOCAL"]).encode() + b"\n" + data
        yield edited("metaimage", "x.mha", damage, body)
        body = "\n".join([*edited_lines, "ElementDataFile = x.raw"]).encode() + b"\n"
        yield edited("metaimage_detached", "x.mhd", damage, body, {"x.raw": data})
    for name in DATA_FILES:
        body = "\n".join([*lines, f"ElementDataFile = {name}"]).encode() + b"\n"
        others = {"x.raw": data, "sub/x.raw": data}
        yield edited("metaimage_detached", "x.mhd", f"ElementDataFile = {name!r}", body, others)
    for length in (0, 1, len(data) // 2, len(data) - 1, len(data)):
        body = "\n".join([*lines, "ElementDataFile = x.raw"]).encode() + b"\n"
        yield edited("metaimage_detached", "x.mhd", f"data of {length} bytes", body, {"x.raw": data[:length]})


def _meta_edits(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    for index, line in enumerate(lines):
        yield f"without {line.partition(' ')[0]}", lines[:index] + lines[index + 1 :]
        yield f"twice {line.partition(' ')[0]}", lines[: index + 1] + lines[index:]
    for name, values in META_VALUES.items():
        for value in values:
            kept = [line for line in lines if not line.startswith(f"{name} ")]
            yield f"{name} = {value}", [*kept, f"{name} = {value}"]
    yield "a line of 100 kB", [*lines, "Comment = " + "x" * 100_000]


def _with(content: bytes, offset: int, kind: str, *values: object) -> bytes:
    code = kind if kind[0] in "<>" else f"<{kind}"
    packed = struct.pack(code, *values)
    return content[:offset] + packed + content[offset + len(packed) :]


def _nifti_2(shape: tuple[int, ...], offset: int) -> bytes:
    head = bytearray(544)
    struct.pack_into("<i8shh8q", head, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16, 3, *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<8d", head, 104, 1.0, 8.0, 7.0, 12.0, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<qdd", head, 168, offset, 1.0, 0.0)
    return bytes(head) + bytes(22 * 26 * 9 * 2)
