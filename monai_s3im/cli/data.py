"""The commands ``s3im data``: list, check, phantom, download."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.paths import frame_of, isdir, isfile, suffix_of

from .common import fail, show_log, tell
from .options import chosen, examples
from .progress import steps

data_app = typer.Typer(help="List, check, make and download data.", no_args_is_help=True)


@data_app.command("list", epilog=examples("data list pairs.csv", "data list phantom", "data list study"))
def list_data(
    source: Annotated[
        Path, typer.Argument(help="Data set folder, CSV or datalist; a folder of DICOM series; an image, or a folder.")
    ],
) -> None:
    """List the pairs of a data set, the DICOM series of a study, or the images of a folder."""
    if _holds_dicom_alone(source):
        from monai_s3im.formats.dicom.catalogue import catalogue_of

        try:
            entries = catalogue_of(source)
        except InputError as error:
            fail(error)
        for entry in entries:
            typer.echo("\t".join([entry.name, entry.description, entry.modality, entry.size]))
        return
    if images := _lone_images(source):
        _list_images(images)
        return
    for section, pair in _pairs_of(source):
        typer.echo("\t".join([section, pair.name, str(pair.image_a), str(pair.image_b)]))


def _lone_images(source: Path) -> list[Path]:
    """An image file, or the images of a folder that has no pairs."""
    if isfile(frame_of(source)[0]):
        return [source] if suffix_of(source) else []
    if not isdir(source):
        return []
    try:
        _found_pairs(source)
    except InputError:
        return sorted(file for file in source.iterdir() if suffix_of(file) and isfile(file))
    return []


def _list_images(images: list[Path]) -> None:
    """Name, label of the frames, and size of images."""
    from monai_s3im.formats.reading import frames_of, spatial_shape_of

    for image in images:
        try:
            file, chosen = frame_of(image)
            frames, apart = (1, "") if chosen else frames_of(file)
            size = " x ".join(map(str, spatial_shape_of(f"{file}#1" if frames > 1 else image)))
            many = f"{frames} frames of {size}: {file}#1 to {file}#{frames}" if frames > 1 else size
            typer.echo(f"{image}\t{apart}\t\t{many}")
        except InputError as error:
            typer.echo(f"{image}\t\t\tcannot be used: {error}")


@data_app.command("check", epilog=examples("data check pairs.csv", "data check phantom --deep"))
def check_data(
    source: Annotated[Path, typer.Argument(help="Data set folder, CSV or datalist.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read the voxels too, not only the headers; slower.")] = False,
) -> None:
    """Check the header of each image of a data set or list: missing, damaged, of another size; all problems at once."""
    from monai_s3im.pairs.checks import problems_of

    found = _pairs_of(source)
    if deep:
        show_log()
    with steps() as step:
        of_pairs = problems_of(
            [pair for _, pair in found], deep=deep, progress=lambda done: step("Reading, pairs done:", done, len(found))
        )
    problems = [line for lines in of_pairs.values() for line in lines]
    for line in problems:
        typer.echo(f"error: {line}", err=True)
    extent = "all voxels were read" if deep else "only the headers were read, --deep reads the voxels"
    typer.echo(f"{len(found)} pairs, {len(problems)} problems; {extent}")
    if problems:
        raise typer.Exit(2)


def _holds_dicom_alone(source: Path) -> bool:
    """Whether it is a study rather than a folder of pairs."""
    from monai_s3im.formats.dicom.headers import files_below, may_be_dicom
    from monai_s3im.formats.dicom.series import is_series

    if is_series(source):
        return True
    if not isdir(source) or not any(map(may_be_dicom, files_below(source))):
        return False
    try:
        _found_pairs(source)
    except InputError:
        return True
    return False


def _pairs_of(source: Path) -> list[tuple[str, Any]]:
    try:
        return _found_pairs(source)
    except InputError as error:
        fail(error)


def _found_pairs(source: Path) -> list[tuple[str, Any]]:
    from monai_s3im.pairs.layouts import dataset_pairs
    from monai_s3im.pairs.lists import read_pairs
    from monai_s3im.pairs.rows import SECTIONS

    if isfile(source):
        return [("all", pair) for pair in read_pairs(source)]
    found, last = [], InputError(f"{source} holds no pairs")
    for section in SECTIONS:
        try:
            found += [(section, pair) for pair in dataset_pairs(source, section)]
        except InputError as error:
            last = error
    if not found:
        raise last
    return found


@data_app.command("phantom", epilog=examples("data phantom phantom", "data phantom phantom --subjects 20 --seed 1"))
def write_phantom_data(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    subjects: Annotated[int, typer.Option(min=2, help="Number of heads in the training set.")] = 8,
    seed: Annotated[int, typer.Option(help="Random seed: another seed makes other heads.")] = 0,
) -> None:
    """Write the head phantom: a training set of slices, and the volumes of one head with a list of pairs."""
    try:
        with steps() as step:
            from monai_s3im.phantom import write_phantom

            datalist = write_phantom(
                folder,
                subjects=subjects,
                seed=seed,
                volumes=True,
                progress=lambda text, done: step(text, done, 1),
            )
    except (InputError, OutputError) as error:
        fail(error)
    if step.is_shown:
        tell(f"{subjects} heads in {time.monotonic() - step.began:.0f} s")
    typer.echo(f"{folder / 'volumes' / 'pairs.csv'}: volumes to fuse\n{datalist}: slices to train on")


@data_app.command("download", epilog=examples("data download harvard harvard"))
def download_data(
    name: Annotated[str, chosen("data set", help="harvard or roadscene.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    sha256: Annotated[str | None, typer.Option(help="Expected SHA256 of the archive.")] = None,
) -> None:
    """Download a public data set and verify it; an interrupted download leaves nothing behind."""
    from monai_s3im.pairs.download import fetch_dataset

    try:
        typer.echo(str(fetch_dataset(name, folder, sha256=sha256)))
    except (InputError, OutputError) as error:
        fail(error)
