"""Damaged lists, records, transforms, weights, configs, colour maps and requests."""

import io
import json
import zipfile
from collections.abc import Iterator

import numpy as np
import torch
from fuzz.fuzz_cases import Case, edited, intact, with_bits_flipped

from monai_s3im.bundle_config import bundle_root
from monai_s3im.networks import S3IMFusion

ODD_TEXTS = (
    *(b"", b"\0", b"\xff\xfe\xfd", b"\n" * 1000, b"text", "prénom,é".encode("latin-1"), b"\xef\xbb\xbf", b'"' * 999),
    *(b"x" * 2_000_000, b",".join([b"a"] * 100_000), b"PK\x03\x04", b"\x1f\x8b\x08"),
)
ODD_JSON = (
    *(b"{", b"[]", b"{}", b"null", b"3", b'"x"', b"NaN", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000),
    *(b'{"training": null}', b'{"training": {}}', b'{"training": []}', b'{"training": [null]}', b'{"training": [[]]}'),
    *(b'{"training": 3}', b'{"validation": [{}]}', b'{"a": 1e999}'),
)
ODD_VALUES = (
    None,
    True,
    -1,
    1e300,
    "",
    "x" * 5000,
    "../../../etc/passwd",
    "a\nb",
    "a\0b",
    [],
    ["x"],
    {},
    {"a": 1},
    "é\ud800",
)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _good_list() -> dict[str, bytes]:
    return {"a.png": next(iter(intact("png", "t1").values())), "b.png": next(iter(intact("png", "ct").values()))}


def lists() -> Iterator[Case]:
    """Lists of pairs."""
    images = _good_list()
    good = "name,image_a,image_b,modality_a,modality_b\none,a.png,b.png,mr,ct\n"
    rows = (
        "two",
        "two,a.png",
        "two,a.png,b.png,mr,ct,9",
        ",,,,",
        '"two,a.png',
        "two,a.png,a\0.png,mr,ct",
        "two,a.png,.,,",
        "two,a.png,/dev/zero,mr,ct",
        "two,a.png,../../../../etc/passwd,,",
        "../two,a.png,b.png,,",
        "CON,a.png,b.png,,",
        "two,a.png,b.png,nonsense,ct",
        f"{'n' * 300},a.png,b.png,,",
        "one,a.png,b.png,,",
        "two,a.png#1,b.png,,",
        f"two,{'a/' * 3000}a.png,b.png,,",
        "two, ,b.png,,",
        "=1+1,a.png,b.png,,",
        "é\u202e,a.png,b.png,,",
        ".,a.png,b.png,,",
        f"two,{'x' * 200_000},b.png,,",
    )
    for row in rows:
        yield edited("csv", "pairs.csv", f"row {row[:40]!r}", (good + row + "\n").encode(), images)
    for text in (
        "image_a\na.png\n",
        "image_a,image_b,secret\na.png,b.png,1\n",
        "image_a,image_a,image_b\na.png,a.png,b.png\n",
        "name;image_a;image_b\none;a.png;b.png\n",
        "IMAGE_A,image_b\n",
        good.replace("\n", "\r"),
        good * 500,
    ):
        yield edited("csv", "pairs.csv", f"table {text[:40]!r}", text.encode(), images)
    for text in ODD_TEXTS:
        yield edited("csv", "pairs.csv", f"odd text {text[:12]!r} ({len(text)})", text, images)
    item = {"name": "one", "image_a": "a.png", "image_b": "b.png"}
    for text in (*ODD_TEXTS, *ODD_JSON):
        yield edited("datalist", "datalist.json", f"odd JSON {text[:20]!r} ({len(text)})", text, images)
    for name in ("name", "image_a", "image_b", "modality_a", "modality_b", "label"):
        for value in ODD_VALUES:
            content = {"training": [item, {**item, "name": "two", name: value}], "validation": [item]}
            yield edited("datalist", "datalist.json", f"{name} = {str(value)[:20]!r}", _json(content), images)
    for name in ("modality", "training", "validation", "test"):
        for value in ODD_VALUES:
            content = {"training": [item], name: value}
            yield edited("datalist", "datalist.json", f"section {name} = {str(value)[:20]!r}", _json(content), images)


def transforms() -> Iterator[Case]:
    """ITK transforms."""
    good = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 1 2 3 4\nFixedParameters: 0 0 0\n"
    )
    yield edited("transform", "x.tfm", "intact", good.encode())
    lines = good.splitlines(keepends=True)
    for index in range(len(lines)):
        yield edited("transform", "x.tfm", f"cut after line {index}", "".join(lines[:index]).encode())
        yield edited(
            "transform", "x.tfm", f"without line {index}", "".join(lines[:index] + lines[index + 1 :]).encode()
        )
    for numbers in (
        "nan " * 12,
        "inf 0 0 0 1 0 0 0 1 0 0 0",
        "0 " * 12,
        "1e308 0 0 0 1e308 0 0 0 1e308 0 0 0",
        "1 2 3",
        "1 0 0 0 1 0 0 0 1 1e12 0 0",
        "1e-9 0 0 0 1 0 0 0 1 0 0 0",
        "",
        "a b c",
        "1 " * 100_000,
    ):
        text = good.replace("1 0 0 0 1 0 0 0 1 2 3 4", numbers)
        yield edited("transform", "x.tfm", f"numbers {numbers[:24]!r}", text.encode())
    for kind in (
        "AffineTransform_double_2_2",
        "BSplineTransform_double_3_3",
        "Nonsense_double_3_3",
        "AffineTransform_float_3_3",
        "CompositeTransform_double_3_3",
        "DisplacementFieldTransform_double_3_3",
        "TranslationTransform_double_3_3",
        "ThinPlateSplineKernelTransform_double_3_3",
        "Euler3DTransform_double_3_3",
        "",
    ):
        yield edited("transform", "x.tfm", f"kind {kind}", good.replace("AffineTransform_double_3_3", kind).encode())
    spline = good.replace("AffineTransform", "DisplacementFieldTransform").partition("Parameters")[0]
    spline += "Parameters: \nFixedParameters: "
    yield edited("transform", "x.tfm", "a field of 2^60 points", f"{spline}{'1048576 ' * 3}{'1 ' * 15}\n".encode())
    for text in ODD_TEXTS:
        yield edited("transform", "x.tfm", f"odd text {text[:12]!r} ({len(text)})", text)
        yield edited("transform", "x.mat", f"odd text {text[:12]!r} ({len(text)})", text)
        yield edited("transform", "x.h5", f"odd text {text[:12]!r} ({len(text)})", text)


def weights() -> Iterator[Case]:
    """Files of weights."""
    good = (bundle_root() / "models" / "model.pt").read_bytes()
    yield edited("weights", "x.pt", "intact", good)
    random = np.random.default_rng(0)
    for part in (0, 1, 100, len(good) // 2, len(good) - 23, len(good) - 1):
        yield edited("weights", "x.pt", f"cut at {part}", good[:part])
    for count in (1, 5, 50, 500):
        for trial in range(5):
            yield edited("weights", "x.pt", f"{count} bits flipped ({trial})", with_bits_flipped(good, random, count))
    for text in ODD_TEXTS:
        yield edited("weights", "x.pt", f"odd text {text[:12]!r} ({len(text)})", text)
    state = S3IMFusion().state_dict()
    key = next(name for name, value in state.items() if value.is_floating_point() and value.ndim > 1)
    for damage, value in (
        ("NaN", torch.full_like(state[key], torch.nan)),
        ("infinite", torch.full_like(state[key], torch.inf)),
        ("of another shape", torch.zeros(3)),
        ("of another type", state[key].to(torch.int8)),
        ("a number", 3),
        ("huge", torch.full_like(state[key], 3e38)),
    ):
        yield edited("weights", "x.pt", f"{key} is {damage}", _saved({**state, key: value}))
    for content in ({}, [], None, 7, {"network": state}, {**state, "more": torch.zeros(1)}):
        yield edited(
            "weights",
            "x.pt",
            f"a {type(content).__name__} of {len(content) if isinstance(content, dict | list) else 0}",
            _saved(content),
        )
    yield edited(
        "weights", "x.pt", "code to run", b"\x80\x02cposix\nsystem\nq\x00X\x05\x00\x00\x00touchq\x01\x85q\x02Rq\x03."
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300 << 20))
        archive.writestr("archive/version", b"3\n")
    yield edited("weights", "x.pt", "bomb of 300 MiB", stream.getvalue())


def configs() -> Iterator[Case]:
    """Configs of the bundle, of which one entry is damaged."""
    whole = json.loads((bundle_root() / "configs" / "train.json").read_text(encoding="utf-8"))
    for text in (*ODD_TEXTS, *ODD_JSON):
        yield edited("config", "config.json", f"odd JSON {text[:20]!r} ({len(text)})", text)
    for name in (
        "dataset_dir",
        "output_dir",
        "patch_size",
        "batch_size",
        "epochs",
        "device",
        "learning_rate",
        "loss",
        "train",
        "run",
        "initialize",
        "network_def",
        "imports",
    ):
        for value in (None, -1, "nonsense", "@nowhere", "$1/0", "$nonsense(", [], {"_target_": "nowhere.Nothing"}):
            yield edited("config", "config.json", f"{name} = {value!r}", _json({**whole, name: value}))


def color_maps() -> Iterator[Case]:
    """Tables of colours."""
    for text in ODD_TEXTS:
        yield edited("color map", "colors.txt", f"odd text {text[:12]!r} ({len(text)})", text)
    for text in (
        "nan nan nan\n" * 9,
        "1 2\n" * 9,
        "0 0 0\n255 255 256\n",
        "1e400 0 0\n" * 9,
        "0 0 0\n" * 9,
        "0 0 0\n255 255 255\n",
        "-1 0 0\n0 0 0\n",
        "0,0,0\n" * 200_000,
    ):
        yield edited("color map", "colors.txt", f"table {text[:20]!r}", text.encode())


def batch_folders() -> Iterator[Case]:
    """Output folders of a batch: summary, record or fused image damaged. The entry point adds the intact files."""
    summary = "name,status,error,warnings,seconds,output,fused_sha256\none,fused,,,0.1,one.png,00\n"
    for text in (
        *ODD_TEXTS,
        summary[:60].encode(),
        summary.replace("0.1", "soon").encode(),
        summary.replace("fused,,", "well,,").encode(),
        summary.replace("one.png", "../../../etc/passwd").encode(),
        summary.replace("one.png", "a\0b").encode(),
        (summary + summary.splitlines()[1] + "\n").encode(),
        (summary.strip() + ",9,9,9\n").encode(),
        summary.replace("0.1", "nan").encode(),
        summary.replace("one.png", "").encode(),
    ):
        yield edited("batch folder", "summary.csv", f"summary {text[-20:]!r} ({len(text)})", text)
    for text in (*ODD_TEXTS, *ODD_JSON):
        yield edited("batch folder", "one.json", f"record {text[:20]!r} ({len(text)})", text)
    for name in (
        "fused",
        "fused_sha256",
        "sources",
        "registration",
        "warnings",
        "window",
        "color_map",
        "software",
        "plane",
    ):
        for value in ODD_VALUES:
            yield edited(
                "batch folder", "one.json", f"record: {name} = {str(value)[:20]!r}", _json({"+": {name: value}})
            )
    for name in ("file", "sha256", "modality", "intensity_range", "modality_given"):
        for value in ODD_VALUES:
            yield edited(
                "batch folder", "one.json", f"record of A: {name} = {str(value)[:20]!r}", _json({"+A": {name: value}})
            )
    random = np.random.default_rng(1)
    (png,) = intact("png").values()
    for trial in range(6):
        yield edited("batch folder", "one.png", f"fused image: bits ({trial})", with_bits_flipped(png, random, 9))
        yield edited("batch folder", "one.png", f"fused image: cut ({trial})", png[: 40 + 50 * trial])


def requests() -> Iterator[Case]:  # noqa: C901 (a list)
    """What comes to the worker of the Slicer module: lines of text, and .npy files."""
    for text in (
        *ODD_TEXTS[:-4],
        *ODD_JSON,
        b'{"id": 1}',
        b'{"id": "x", "command": "fuse"}',
        b'{"command": "devices"}',
        b'{"id": 1, "command": "eval"}',
        b'{"id": 1, "command": ["fuse"]}',
        b'{"id": [], "command": {}}',
    ):
        line = text.replace(b"\n", b" ") + b"\n"
        yield edited("worker request", "line.txt", f"line {text[:30]!r} ({len(text)})", line)
    for name in ("a", "b", "settings", "output"):
        for value in ODD_VALUES:
            yield edited("worker request", "edit.json", f"{name} = {str(value)[:20]!r}", _json({name: value}))
    for name in ("path", "affine", "modality"):
        for value in (*ODD_VALUES, [[0] * 4] * 4, [[1, 2], [3]], [["x"] * 4] * 4, "/dev/zero"):
            yield edited("worker request", "edit.json", f"a.{name} = {str(value)[:20]!r}", _json({"a.": {name: value}}))
    for name in ("plane", "spacing", "window", "slice_batch", "device", "weights", "nonsense"):
        for value in ODD_VALUES:
            yield edited(
                "worker request",
                "edit.json",
                f"settings.{name} = {str(value)[:20]!r}",
                _json({"settings.": {name: value}}),
            )
    good = _npy(np.zeros((9, 26, 22), np.int16))
    for length in (0, 5, 6, 8, 10, 40, 128, len(good) // 2, len(good) - 1):
        yield edited("worker request", "a.npy", f"volume cut at {length}", good[:length])
    for array in (
        np.zeros(0),
        np.float32(1),
        np.zeros((2, 2)),
        np.zeros((3, 3, 3, 3, 3)),
        np.array([{}], dtype=object),
        np.full((9, 26, 22), np.nan),
        np.zeros((9, 26, 22), complex),
        np.zeros((9, 26, 22), "M8[s]"),
        np.zeros((4, 4, 4, 7)),
    ):
        yield edited("worker request", "a.npy", f"volume {array.dtype} {array.shape}", _npy(array))
    for shape in ("(99999, 99999, 99999)", "(-1, 2, 3)", "(2147483648, 1, 1)", "('x',)", "__import__('os')"):
        head = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
        yield edited("worker request", "a.npy", f"volume declares {shape}", good[:8] + b"\x76\0" + head + good[128:])


def _npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
