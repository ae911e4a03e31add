"""Damaged PNG, JPEG, TIFF and BMP files."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from fuzz.fuzz_cases import Case, edited, intact, picture_of, truncated, zeros_deflated
from PIL import Image


def png() -> Iterator[Case]:
    """Chunks cut, edited (with the check sum that fits), and bombs."""
    (content,) = intact("png").values()
    chunks = list(_chunks(content))
    borders = [("signature", 8), *((f"chunk {name.decode()}", start) for name, start, _ in chunks)]
    yield from truncated("png", "x.png", {"x.png": content}, iter([*borders, ("last byte", len(content) - 1)]))
    head = content[16:29]

    def with_head(width: int, height: int, depth: int, colour: int, rest: bytes = b"\0\0\0") -> bytes:
        new = struct.pack(">IIBB", width, height, depth, colour) + rest
        return content[:8] + _chunk(b"IHDR", new) + content[33:]

    for width, height in ((0, 26), (2**31 - 1, 26), (2**31, 2**31), (30000, 30000), (12000, 12000), (21, 26), (1, 1)):
        yield edited("png", "x.png", f"{width} x {height} declared", with_head(width, height, 8, 0))
    for depth in (0, 1, 2, 3, 4, 16, 255):
        for colour in (0, 1, 2, 3, 4, 6, 7):
            yield edited("png", "x.png", f"depth {depth}, colour type {colour}", with_head(22, 26, depth, colour))
    yield edited("png", "x.png", "interlacing that is not there", with_head(22, 26, 8, 0, b"\0\0\1"))
    yield edited("png", "x.png", "unknown compression", with_head(22, 26, 8, 0, b"\7\7\7"))
    for name, start, length in chunks:
        yield edited("png", "x.png", f"check sum of {name.decode()}", _flip(content, start + 8 + length))
        yield edited("png", "x.png", f"without {name.decode()}", content[:start] + content[start + 12 + length :])
    bomb = b"\x78\xda" + zeros_deflated(4096) + bytes(4)
    text = _chunk(b"zTXt", b"note\0\0" + bomb)
    yield edited("png", "x.png", "bomb of 4 GiB in a text", content[:33] + text + content[33:])
    yield edited(
        "png", "x.png", "bomb of 4 GiB in a profile", content[:33] + _chunk(b"iCCP", b"p\0\0" + bomb) + content[33:]
    )
    large = content[:8] + _chunk(b"IHDR", struct.pack(">II", 16000, 11000) + head[8:])
    yield edited("png", "x.png", "bomb of 176 million pixels", large + _chunk(b"IDAT", bomb) + content[-12:])
    yield edited("png", "x.png", "more pixels than declared", content[:33] + _chunk(b"IDAT", bomb) + content[-12:])
    yield edited("png", "x.png", "text", b"a list of patients")
    for mode in ("1", "P", "LA", "RGBA", "I;16"):
        image = Image.fromarray(picture_of("ct"))
        image = Image.fromarray(picture_of("ct").astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
        yield edited("png", "x.png", f"intact, mode {mode}", _saved(image, "PNG"))
    frames = [Image.fromarray(picture_of(name)) for name in ("ct", "t1")]
    yield edited("png", "x.png", "two frames", _saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))


def jpeg() -> Iterator[Case]:
    """Cut at each marker, sizes edited."""
    (content,) = intact("jpeg").values()
    markers = [at for at in range(len(content) - 1) if content[at] == 0xFF and content[at + 1] not in {0, 0xFF}]
    borders = [(f"marker {content[at + 1]:02X}", at) for at in markers] + [("last byte", len(content) - 1)]
    yield from truncated("jpeg", "x.jpg", {"x.jpg": content}, iter(borders))
    frame = next(at for at in markers if content[at + 1] == 0xC0)
    for width, height in ((0, 0), (65535, 65535), (1, 1), (22, 60000), (23, 27)):
        damaged = content[: frame + 5] + struct.pack(">HH", height, width) + content[frame + 9 :]
        yield edited("jpeg", "x.jpg", f"{width} x {height} declared", damaged)
    for at in markers:
        damaged = content[: at + 2] + b"\xff\xff" + content[at + 4 :]
        yield edited("jpeg", "x.jpg", f"length of marker {content[at + 1]:02X}", damaged)
    yield edited("jpeg", "x.jpg", "CMYK", _saved(Image.fromarray(picture_of("ct")).convert("CMYK"), "JPEG"))


def tiff() -> Iterator[Case]:
    """Every entry of the directory made absurd, cut, and directories that go round."""
    (content,) = intact("tiff").values()
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    entries = [start + 2 + 12 * i for i in range(count)]
    borders = [
        ("byte order", 2),
        ("offset", 8),
        ("directory", start),
        *((f"entry {i}", at) for i, at in enumerate(entries)),
    ]
    yield from truncated("tiff", "x.tif", {"x.tif": content}, iter([*borders, ("last byte", len(content) - 1)]))
    for at in entries:
        tag = struct.unpack_from("<H", content, at)[0]
        for value in (0, 1, 2, 3, 17, 32767, 65535, 2**31 - 1, 2**32 - 1):
            damaged = content[: at + 8] + struct.pack("<I", value) + content[at + 12 :]
            yield edited("tiff", "x.tif", f"tag {tag} = {value}", damaged)
        for number in (0, 2, 2**31 - 1, 2**32 - 1):
            damaged = content[: at + 4] + struct.pack("<I", number) + content[at + 8 :]
            yield edited("tiff", "x.tif", f"tag {tag} has {number} values", damaged)
        for kind in (0, 2, 5, 12, 99):
            damaged = content[: at + 2] + struct.pack("<H", kind) + content[at + 4 :]
            yield edited("tiff", "x.tif", f"tag {tag} of type {kind}", damaged)
    after = start + 2 + 12 * count
    for offset in (start, 0, 1, 2**32 - 1):
        damaged = content[:after] + struct.pack("<I", offset) + content[after + 4 :]
        yield edited("tiff", "x.tif", f"next directory at {offset}", damaged)
    yield edited(
        "tiff", "x.tif", "first directory at the end", content[:4] + struct.pack("<I", 2**32 - 1) + content[8:]
    )
    image = Image.fromarray(picture_of("ct"))
    for packing in ("tiff_deflate", "tiff_lzw", "packbits"):
        packed = _saved(image, "TIFF", compression=packing)
        yield edited("tiff", "x.tif", f"intact, {packing}", packed)
        for part in (0.3, 0.6, 0.9):
            yield edited("tiff", "x.tif", f"{packing}, cut at {part}", packed[: int(part * len(packed))])
    yield edited("tiff", "x.tif", "intact, float", _saved(Image.fromarray(picture_of("ct").astype(np.float32)), "TIFF"))
    yield edited("tiff", "x.tif", "two frames", _saved(image, "TIFF", save_all=True, append_images=[image]))


def bmp() -> Iterator[Case]:
    """The header's numbers made absurd."""
    (content,) = intact("bmp").values()
    yield from truncated("bmp", "x.bmp", {"x.bmp": content}, iter([(f"byte {n}", n) for n in (2, 10, 14, 18, 54, 500)]))
    for at, name in (
        (10, "offset"),
        (14, "header size"),
        (18, "width"),
        (22, "height"),
        (28, "bits"),
        (30, "packing"),
        (46, "colours"),
    ):
        for value in (0, 1, 3, 32767, 65535, 2**31 - 1, 2**32 - 1):
            size = 2 if name == "bits" else 4
            damaged = content[:at] + struct.pack("<I", value)[:size] + content[at + size :]
            yield edited("bmp", "x.bmp", f"{name} = {value}", damaged)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 8
    while position < len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        yield name, position, length
        position += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def _saved(image: Image.Image, format_: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=format_, **options)
    return stream.getvalue()
