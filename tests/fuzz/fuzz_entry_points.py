"""The entry points of the program: each processes a damaged input and reports the outcome.

An entry point returns the file that it wrote, or None if it writes none, or raises ``Refused``. Anything else that is
raised is a crash.
"""

import csv
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from fuzz.fuzz_cases import PICTURE_FORMATS, VOLUME_FORMATS, phantom, picture_of
from PIL import Image
from sample_images import write_volume
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of
from monai_s3im.pipeline import fuse
from monai_s3im.workflows import Inference

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
MAX_GIB = 0.5
"""The memory limit of the entry points that have such an option."""

EntryPoint = Callable[[Path, Path], Path | None]


class Refused(Exception):  # noqa: N818 (no error: the right answer)
    """The program said in a sentence why it cannot use the input."""


class WrongError(Exception):
    """The program broke a promise: a traceback, an unclear sentence, an output that does not fit its input."""


def partners(folder: Path) -> dict[str, Path]:
    """Intact images to go with the damaged one; written once into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, affine = phantom()
    files = {"volume": folder / "t1.nii.gz", "picture": folder / "t1.png", "picture_b": folder / "ct.png"}
    if not files["volume"].exists():
        Image.fromarray(picture_of("t1")).save(files["picture"])
        Image.fromarray(picture_of("ct")).save(files["picture_b"])
        write_volume(files["volume"], array=arrays["t1"], affine=affine)
    return files


def is_volume_case(path: Path) -> bool:
    return path.is_dir() or path.suffix not in {".png", ".jpg", ".tif", ".bmp"}


def partner_of(path: Path, folder: Path) -> Path:
    return partners(folder)["volume" if is_volume_case(path) else "picture"]


def command(*arguments: object, names: tuple[str, ...] = ()) -> str:
    """Run ``s3im`` with arguments; its output if it ends well.

    Args:
        *arguments: of the command.
        names: one of these must be in what is said if it refuses.
    """
    logging.getLogger().handlers.clear()  # of the command before, whose stream is closed
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    said = result.stderr
    if "Traceback" in said or "unexpected" in said:
        raise WrongError(said[-2000:])
    if result.exit_code == 0:
        return result.stdout
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    if not lines:
        raise WrongError(f"code {result.exit_code} without a sentence: {said[-500:]}")
    if names and not any(name in said for name in names):
        raise WrongError(f"no file is named: {said[-500:]}")
    if any(len(line) > 2000 for line in lines):
        raise WrongError(f"a sentence of {max(map(len, lines))} letters: {lines[0][:300]}")
    raise Refused(lines[0])


def refusing(action: Callable[[], object]) -> object:
    """What an action of the library gives; its own two errors are refusals."""
    try:
        return action()
    except (InputError, OutputError) as error:
        raise Refused(str(error)) from error


def fuse_a(path: Path, work: Path) -> Path:
    """``s3im fuse DAMAGED INTACT``: the damaged image gives the grid."""
    output = work / ("fused.nii.gz" if is_volume_case(path) else "fused.png")
    try:
        command(
            "fuse",
            path,
            partner_of(path, work.parent / "partners"),
            "-o",
            output,
            "--device",
            "cpu",
            "--max-gib",
            MAX_GIB,
            names=(path.name,),
        )
    except Refused:
        _check_nothing_left(work)
        raise
    return check_fused(path, output)


def fuse_b(path: Path, work: Path) -> Path:
    """``s3im fuse INTACT DAMAGED``: the damaged image is brought onto the grid of the intact one."""
    partner = partner_of(path, work.parent / "partners")
    output = work / ("fused.nii.gz" if is_volume_case(path) else "fused.png")
    command("fuse", partner, path, "-o", output, "--device", "cpu", "--max-gib", MAX_GIB, names=(path.name,))
    return check_fused(partner, output)


def fuse_function(path: Path, work: Path) -> None:
    """``fuse()``, which gives a tensor."""
    partner = partner_of(path, work.parent / "partners")
    fused = refusing(lambda: fuse(path, partner, device="cpu", max_gib=MAX_GIB))
    if not (fused.isfinite().all() and fused.min() >= 0 and fused.max() <= 1):
        raise WrongError("fused values are not in [0, 1]")
    _check_grid(path, tuple(fused.shape[1:]), fused.affine.numpy())


def fuse_list(path: Path, work: Path) -> None:
    """``s3im fuse --pairs``: the damaged pair stands between two intact ones, which must be fused in any case."""
    found = partners(work.parent / "partners")
    good = found["volume"] if is_volume_case(path) else found["picture"]
    with (work / "pairs.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "image_a", "image_b", "modality_a", "modality_b"])
        rows.writerows(
            [["one", good, good, "mr", "mr"], ["bad", path, good, "", "mr"], ["two", good, good, "mr", "mr"]]
        )
    options = ["--device", "cpu", "--max-gib", MAX_GIB]
    try:
        command("fuse", "--pairs", work / "pairs.csv", "-o", work / "out", *options, names=(path.name,))
    finally:
        with (work / "out" / "summary.csv").open(newline="", encoding="utf-8") as stream:
            status = {row["name"]: row["status"] for row in csv.DictReader(stream)}
        if not status["one"] == status["two"] == "fused":
            raise WrongError(f"an intact pair failed: {status}")


def fuse_dicom(path: Path, work: Path) -> None:
    """``s3im fuse --dicom``: a series is written too."""
    command("fuse", path, partner_of(path, work.parent / "partners"), "-o", work / "made", "--dicom", "--device", "cpu")
    shape = [pydicom.dcmread(file).pixel_array.shape for file in (work / "made").iterdir()]
    if len(set(shape)) != 1:
        raise WrongError(f"slices of different shape were written: {shape}")


def bundle(path: Path, work: Path) -> None:
    """The bundle's own pipeline, as ``python -m monai.bundle run inference`` with the workflow of this package."""

    def run() -> None:
        workflow = Inference(
            image_a=str(path),
            image_b=str(partner_of(path, work.parent / "partners")),
            output_dir=str(work / "out"),
            device="cpu",
            logging_file=False,
            max_gib=MAX_GIB,
        )
        workflow.initialize()
        workflow.run()

    refusing(run)


def evaluate(path: Path, work: Path) -> None:
    """``s3im evaluate``: the damaged image as the fused one, or as a source."""
    partner = partner_of(path, work.parent / "partners")
    command("evaluate", path, "--source", partner, "--source", partner, "--json", work / "values.json")
    json.loads((work / "values.json").read_text(encoding="utf-8"))


def check_data(path: Path, work: Path) -> None:
    """``s3im data check`` of a list with the damaged image."""
    (work / "pairs.csv").write_text(f"image_a,image_b\n{path},{partner_of(path, work.parent / 'partners')}\n")
    command("data", "check", work / "pairs.csv", names=(path.name,))


def train_data(path: Path, work: Path) -> None:
    """``s3im train`` as far as its data: list, check, read, normalise and align all pairs."""
    partner = partner_of(path, work.parent / "partners")
    items = [{"image_a": str(path), "image_b": str(partner)}]
    (work / "datalist.json").write_text(json.dumps({"training": items, "validation": items}), encoding="utf-8")
    _train(work, work, names=(path.name,))


def _train(folder: Path, work: Path, *options: object, names: tuple[str, ...] = ()) -> None:
    only_data = ["--training", '["$len(@train#dataset)"]', "--logging_file", "false", "--device", "cpu"]
    command("train", "--dataset_dir", folder, "--output_dir", work / "run", *only_data, *options, names=names)


def benchmark(path: Path, work: Path) -> None:
    """``s3im benchmark quality``: the damaged picture is what another method fused."""
    found = partners(work.parent / "partners")
    for name, file in (("a", found["picture"]), ("b", found["picture_b"]), ("method", path)):
        (work / name).mkdir()
        shutil.copy(file, work / name / f"x001{file.suffix}")
    methods = ["--method", f"own={work / 'a'}", "--method", f"other={work / 'method'}"]
    command("benchmark", "quality", work / "a", work / "b", "-o", work / "out", "--modality-b", "ct", *methods)


def report_of_image(path: Path, work: Path) -> None:
    """``s3im report``, with the damaged image as a source of a batch."""
    folder = work / "out"
    _intact_batch(folder, work.parent / "partners")
    (work / "pairs.csv").write_text(
        f"name,image_a,image_b\none,{path},{partners(work.parent / 'partners')['picture']}\n"
    )
    command("report", folder, "--pairs", work / "pairs.csv")
    if not (folder / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise WrongError("the report does not end")


def web_upload(path: Path, work: Path) -> None:
    """The check that the web front makes of an uploaded file, before anything reads it."""
    from s3im_web.files import FileError, check_volume, volume_suffix

    try:
        volume_suffix(path.name)
        check_volume(path, 2**28)
    except FileError as error:
        raise Refused(str(error)) from error


def transform(path: Path, work: Path) -> Path:
    """``s3im fuse --transform``."""
    volume, output = partners(work.parent / "partners")["volume"], work / "fused.nii.gz"
    command(
        "fuse", volume, volume, "-o", output, "--transform", path, "--device", "cpu", names=(path.name, volume.name)
    )
    return check_fused(volume, output)


def weights(path: Path, work: Path) -> Path:
    """``s3im fuse --weights``."""
    picture, output = partners(work.parent / "partners")["picture"], work / "fused.png"
    command("fuse", picture, picture, "-o", output, "--weights", path, "--device", "cpu", names=(path.name,))
    return check_fused(picture, output)


def color_map(path: Path, work: Path) -> Path:
    """``s3im fuse --color-map``."""
    volume, output = partners(work.parent / "partners")["volume"], work / "fused.nii.gz"
    command(
        "fuse",
        volume,
        volume,
        "-o",
        output,
        "--modality-b",
        "pet",
        "--color-map",
        path,
        "--device",
        "cpu",
        names=(path.name,),
    )
    return check_fused(volume, output)


def pairs_fuse(path: Path, work: Path) -> None:
    """``s3im fuse --pairs`` with the damaged list."""
    command("fuse", "--pairs", path, "-o", work / "out", "--device", "cpu")
    outside = [file for file in work.rglob("*") if file.is_file() and not file.is_relative_to(work / "out")]
    if outside:
        raise WrongError(f"written outside of the output folder: {outside}")


def pairs_check(path: Path, work: Path) -> None:
    """``s3im data check`` of the damaged list."""
    command("data", "check", path)


def pairs_train(path: Path, work: Path) -> None:
    """``s3im train`` on the damaged datalist, as far as its data."""
    _train(path.parent, work, "--datalist", path.name)


def config(path: Path, work: Path) -> None:
    """``s3im train --config``, trusted, as far as its data."""
    _train(path.parent, work, "--config", path, "--trust-config")


def report_of_folder(path: Path, work: Path) -> None:
    """``s3im report`` of an output folder with a damaged file."""
    folder = _damaged_batch(path, work)
    command("report", folder)
    if not (folder / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise WrongError("the report does not end")


def resume(path: Path, work: Path) -> None:
    """``s3im fuse --resume`` into an output folder with a damaged file: what is damaged is made again."""
    folder = _damaged_batch(path, work)
    found = partners(work.parent / "partners")
    (work / "pairs.csv").write_text(f"name,image_a,image_b\none,{found['picture']},{found['picture_b']}\n")
    command("fuse", "--pairs", work / "pairs.csv", "-o", folder, "--resume", "--device", "cpu", names=("summary.csv",))
    record = json.loads((folder / "one.json").read_text(encoding="utf-8"))
    if record["fused_sha256"] != sha256_of(folder / "one.png"):
        raise WrongError("the record is not that of the image")


def _intact_batch(folder: Path, partner_folder: Path) -> None:
    found, made = partners(partner_folder), partner_folder / "batch"
    if not made.exists():
        listing = partner_folder / "pairs.csv"
        listing.write_text(f"name,image_a,image_b\none,{found['picture']},{found['picture_b']}\n")
        command("fuse", "--pairs", listing, "-o", made, "--metrics", "--device", "cpu")
    shutil.copytree(made, folder)


def _damaged_batch(path: Path, work: Path) -> Path:
    """An intact output folder with the damaged file instead of its own; of a record perhaps one entry only."""
    folder = work / "out"
    _intact_batch(folder, work.parent / "partners")
    content = path.read_bytes()
    if path.suffix == ".json" and content.startswith(b'{"+'):
        record = json.loads((folder / "one.json").read_text(encoding="utf-8"))
        edit = json.loads(content)
        record.update(edit.get("+", {}))
        record["sources"]["image_a"].update(edit["+A"]) if "+A" in edit else None
        content = json.dumps(record).encode()
    (folder / path.name).write_bytes(content)
    return folder


def declared(path: Path) -> tuple[tuple[int, ...], np.ndarray | None]:
    """Shape and affine (RAS mm) that the header of a file declares, by a library that is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.is_dir():
            headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in path.iterdir()]
            header = next(header for header in headers if "Columns" in header)  # damage may hide it from this library
            return (int(header.Columns), int(header.Rows), -1), None
        if path.name in PICTURE_FORMATS.values() or path.suffix == ".png":
            with Image.open(path) as picture:
                return picture.size[::-1], None
        if path.name in (VOLUME_FORMATS["nifti"], VOLUME_FORMATS["nifti_gz"]) or ".nii" in path.name:
            image = nib.load(path)
            scale = {"meter": 1e3, "micron": 1e-3}.get(image.header.get_xyzt_units()[0], 1.0)
            return image.shape[:3], np.diag([scale] * 3 + [1.0]) @ image.affine
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        affine = np.eye(4)
        affine[:3, :3] = (
            np.reshape(reader.GetDirection(), (reader.GetDimension(),) * 2)[:3, :3] * reader.GetSpacing()[:3]
        )
        affine[:3, 3] = reader.GetOrigin()[:3]
        return tuple(reader.GetSize()[:3]), np.diag([-1, -1, 1, 1]) @ affine


def check_fused(reference: Path, output: Path) -> Path:
    """A fused file: finite values, and the grid that the header of the reference declares."""
    image = read_image_or_wrong(output)
    if not np.isfinite(image).all():
        raise WrongError("fused values are not finite")
    shape, affine = declared(output)
    _check_grid(reference, shape, affine)
    record = json.loads((output.parent / "fused.json").read_text(encoding="utf-8"))
    if record["fused_sha256"] != sha256_of(output):
        raise WrongError("the record is not that of the image")
    return output


def read_image_or_wrong(output: Path) -> np.ndarray:
    try:
        return np.asarray(read_image(output))
    except InputError as error:
        if "no content" in str(error):
            return np.zeros(1)
        raise WrongError(f"what was written cannot be read: {error}") from error


def _check_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray | None) -> None:
    expected, grid = declared(path)
    differs = expected != shape if not path.is_dir() else any(a > b for a, b in zip(expected, shape, strict=True))
    if differs:
        raise WrongError(f"{path.name} declares {expected}, fused is {shape}")
    if path.is_dir():
        return  # a stack whose slices are shifted is widened: its own tests show how
    if grid is not None and affine is not None and not np.allclose(grid, affine, rtol=1e-3, atol=1e-3):
        raise WrongError(f"{path.name} declares the affine {grid.tolist()}, fused has {affine.tolist()}")


def _check_nothing_left(work: Path) -> None:
    left = [file.name for file in work.iterdir()]
    if left:
        raise WrongError(f"left behind after a refusal: {left}")


class SlicerWorker:
    """The process of the Slicer module, and the requests that an interface sends it."""

    def __init__(self) -> None:
        sys.path.append(str(EXTENSION / "S3IMFusion"))
        from S3IMFusionLib.process import Worker

        self.worker = Worker(python=sys.executable)
        self.worker.call("devices", timeout_s=600)

    def __call__(self, path: Path, work: Path) -> None:
        """Send the damaged request, then an intact one, which must be answered."""
        from S3IMFusionLib.errors import FusionError

        request = self._request(work)
        try:
            if path.name == "line.txt":
                self.worker.start()
                self.worker._process.stdin.write(path.read_bytes())
                self.worker._process.stdin.flush()
                self.worker.call("devices", timeout_s=50)
                raise Refused("the line was left")
            if path.name == "edit.json":
                for name, value in json.loads(path.read_bytes()).items():
                    request[name.rstrip(".")] = {**request[name.rstrip(".")], **value} if name.endswith(".") else value
            else:
                request["a"]["path"] = str(path)
            self.worker.call("fuse", timeout_s=50, **request)
        except FusionError as error:
            if "did not answer" in str(error) or "ended with code" in str(error) or "was killed" in str(error):
                raise WrongError(f"{error}; log: {self.worker.log[-1000:]}") from error
            if len(str(error)) > 2000:
                raise WrongError(f"a sentence of {len(str(error))} letters") from error
            raise Refused(str(error)) from error

    def _request(self, work: Path) -> dict[str, object]:
        arrays, affine = phantom()
        request: dict[str, object] = {"settings": {"device": "cpu"}, "output": str(work / "fused.nii")}
        for key, name in (("a", "t1"), ("b", "ct")):
            np.save(work / f"{key}.npy", arrays[name].transpose(2, 1, 0))
            request[key] = {"path": str(work / f"{key}.npy"), "affine": affine.tolist(), "modality": None}
        return request


IMAGE_ENTRY_POINTS: dict[str, EntryPoint] = {
    "s3im fuse, image A": fuse_a,
    "s3im fuse, image B": fuse_b,
    "fuse()": fuse_function,
    "s3im fuse --pairs": fuse_list,
    "bundle": bundle,
    "s3im evaluate": evaluate,
    "s3im data check": check_data,
    "s3im train": train_data,
}
PICTURE_ENTRY_POINTS = {"s3im benchmark quality": benchmark, "s3im report": report_of_image}
ENTRY_POINTS: dict[str, dict[str, EntryPoint]] = {
    **{format_: {**IMAGE_ENTRY_POINTS, **PICTURE_ENTRY_POINTS} for format_ in PICTURE_FORMATS},
    **dict.fromkeys(VOLUME_FORMATS, IMAGE_ENTRY_POINTS),
    "dicom": {**IMAGE_ENTRY_POINTS, "s3im fuse --dicom": fuse_dicom},
    "transform": {"s3im fuse --transform": transform},
    "weights": {"s3im fuse --weights": weights},
    "color map": {"s3im fuse --color-map": color_map},
    "csv": {"s3im fuse --pairs": pairs_fuse, "s3im data check": pairs_check},
    "datalist": {"s3im fuse --pairs": pairs_fuse, "s3im data check": pairs_check, "s3im train": pairs_train},
    "config": {"s3im train": config},
    "batch folder": {"s3im report": report_of_folder, "s3im fuse --resume": resume},
    "worker request": {"Slicer worker": SlicerWorker},  # set up once in the process that runs it
}
for _format in ("nifti", "nifti_gz", "nrrd"):
    ENTRY_POINTS[_format] = {**ENTRY_POINTS[_format], "web upload": web_upload}
