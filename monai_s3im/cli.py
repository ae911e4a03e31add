"""The command ``s3im``: fuse, evaluate, train, data.

Exit codes: 0 all well, 1 some cases of a batch failed, 2 bad usage or input. Heavy imports happen inside the commands,
so that ``s3im --help`` is quick.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .errors import InputError, OutputError

app = typer.Typer(
    help="Fuse CT, MR, PET and SPECT into one image, train the fusion network, and measure fused images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="List, check, make and download data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

_MODALITIES = "ct, mr, pet, spect, us, visible, infrared or generic; guessed if not given"


def _fail(message: object, code: int = 2) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _show_log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("monai_s3im").setLevel(logging.INFO)


@app.command()
def fuse(
    image_a: Annotated[
        Path | None, typer.Argument(help="Image whose grid is kept: the MR or visible one; or a folder.")
    ] = None,
    image_b: Annotated[Path | None, typer.Argument(help="The other image, or folder.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for one pair, folder for folders and lists.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV (name,image_a,image_b[,modality_a,modality_b]) or datalist JSON.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder in which two patterns find the images.")] = None,
    pattern_a: Annotated[str | None, typer.Option(help="Such as '**/*_T1w.nii.gz', in quotes; with --root.")] = None,
    pattern_b: Annotated[str | None, typer.Option(help="Such as '**/*_ct.nii.gz': same subject and session.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is finished and as it was written.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes for folders and lists.")] = 1,
    metrics: Annotated[bool, typer.Option("--metrics", help="Measure each fused image, for summary.csv.")] = False,
    modality_a: Annotated[str | None, typer.Option(help=_MODALITIES)] = None,
    modality_b: Annotated[str | None, typer.Option(help=_MODALITIES)] = None,
    plane: Annotated[str, typer.Option(help="Slices of a volume: axial, coronal, sagittal or in-plane.")] = "axial",
    reference: Annotated[str, typer.Option(help="Whose grid a fused volume has: a, b, or finer.")] = "a",
    spacing: Annotated[
        str | None, typer.Option(help="Voxel size in mm instead, such as 1 or 0.9x0.9x2; same field of view.")
    ] = None,
    register: Annotated[
        str, typer.Option(help="Bring B into register with A first: none, rigid or affine; saved as .tfm.")
    ] = "none",
    transform: Annotated[
        Path | None, typer.Option(help="Transform to apply instead: .tfm, from A's points to B's.")
    ] = None,
    window: Annotated[
        str, typer.Option(help="Range of a CT in HU: brain, soft_tissue, bone, full, or LOWER,UPPER.")
    ] = "brain",
    color_map: Annotated[
        str | None, typer.Option(help="Colour of uptake: a map of matplotlib, or a text file of rows of R G B.")
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Write the fused luma, without colour.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    weights: Annotated[Path | None, typer.Option(help="Other weights than those of the package.")] = None,
    slice_batch: Annotated[int, typer.Option(min=1, help="Slices that the network sees at once.")] = 8,
) -> None:
    """Fuse one pair, two folders matched by file name, a list of pairs, or what patterns find; pictures or volumes."""
    if image_a is None and pairs is None and root is None:
        _fail("give two images, two folders, a list of pairs with --pairs, or --root; see s3im fuse --help")
    if output is None:
        _fail("say where the result goes with -o FILE (one pair) or -o FOLDER (many)")
    _show_log()
    from .data.inference import fusion_pairs  # noqa: PLC0415
    from .data.reading import is_image_folder  # noqa: PLC0415

    try:
        is_single = pairs is None and root is None and not is_image_folder(str(image_a))
        if is_single and (resume or metrics or workers > 1):
            _fail("--resume, --workers and --metrics are for folders, lists and patterns: leave them out for one pair")
        if transform is not None and not is_single:
            _fail("--transform is the movement of one pair: leave it out for folders, lists and patterns")
        refused: dict[str, str] = {}
        if root is not None or pattern_a is not None or pattern_b is not None:
            if root is None or pattern_a is None or pattern_b is None or image_a is not None or pairs is not None:
                _fail("--root, --pattern-a and --pattern-b go together, without images or --pairs")
            found, refused = _matched(root, pattern_a, pattern_b, modality_a, modality_b)
        else:
            found = fusion_pairs(image_a, image_b, pairs, modality_a, modality_b)
        settings = {
            "device": device,
            "plane": plane,
            "reference": reference,
            "spacing": spacing,
            "register": register,
            "transform": transform,
            "window": window,
            "color_map": color_map,
            "gray": gray,
            "weights": weights,
            "slice_batch": slice_batch,
        }
        if is_single:
            _fuse_one(found, output, settings)
        else:
            batch = {"resume": resume, "workers": workers, "metrics": metrics, "refused": refused}
            _fuse_many(found, output, settings, batch)
    except (InputError, OutputError) as error:
        _fail(error)


def _matched(
    root: Path, pattern_a: str, pattern_b: str, modality_a: str | None, modality_b: str | None
) -> tuple[list[Any], dict[str, str]]:
    """The pairs that patterns find, and why others are none; tell what has no partner."""
    from .data.patterns import match_patterns  # noqa: PLC0415

    match = match_patterns(root, pattern_a, pattern_b, modality_a, modality_b)
    for file in match.unpaired:
        typer.echo(f"note: {file} has no partner", err=True)
    return match.pairs, match.ambiguous


def _fuse_one(pairs: list[Any], output: Path, settings: dict[str, Any]) -> None:
    """Fuse a pair, with a bar of its slices on a terminal."""
    from .data.pair_checks import problems_of  # noqa: PLC0415
    from .fuse import Fuser  # noqa: PLC0415

    for name, lines in problems_of(pairs).items():
        for line in lines:
            typer.echo(f"error: {line.removeprefix(f'{name}: ')}", err=True)
        raise typer.Exit(2)
    with _progress() as progress:
        slices = progress.add_task("slices", total=None)
        fuser = Fuser(**settings, progress=lambda done, total: progress.update(slices, completed=done, total=total))
        fuser(pairs[0].image_a, pairs[0].image_b, output, pairs[0].modality_a, pairs[0].modality_b)
    typer.echo(str(output))


def _fuse_many(pairs: list[Any], output: Path, settings: dict[str, Any], batch: dict[str, Any]) -> None:
    """Fuse with a bar of the cases on a terminal; tell what fails as it fails, and exit by what became of all."""
    from contextlib import closing  # noqa: PLC0415

    from .batch import fuse_batch  # noqa: PLC0415
    from .fuse import Fuser  # noqa: PLC0415

    counts, total = {"fused": 0, "skipped": 0, "failed": 0}, len(pairs) + len(batch["refused"])
    fuser = Fuser(**settings)
    try:
        with _progress() as progress, closing(fuse_batch(pairs, output, fuser, **batch)) as results:
            cases = progress.add_task("pairs", total=total)
            for result in results:
                progress.update(cases, advance=1)
                counts[result.status] += 1
                if result.error is not None:
                    typer.echo(f"error: {result.name}: {' '.join(result.error.split())}", err=True)
    except KeyboardInterrupt:
        typer.echo(f"interrupted after {sum(counts.values())} of {total} pairs: go on with --resume", err=True)
        raise
    done = counts["fused"] + counts["skipped"]
    earlier = f", {counts['skipped']} of them earlier" if counts["skipped"] else ""
    typer.echo(f"{done} of {total} pairs fused into {output}{earlier}")
    if done < total:
        raise typer.Exit(1 if done else 2)


def _progress() -> Any:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


@app.command()
def evaluate(
    fused: Annotated[Path, typer.Argument(help="Fused image, or a folder of them.")],
    source: Annotated[list[Path], typer.Option("--source", help="Source image or folder; give it twice, A then B.")],
    json: Annotated[Path | None, typer.Option(help="Write the values as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the values as CSV.")] = None,
) -> None:
    """Measure fused images with the ten fusion metrics: a table, and if asked for a JSON and a CSV file."""
    if len(source) != 2:
        _fail("give the two sources: --source A --source B")
    _show_log()
    from rich.console import Console  # noqa: PLC0415

    from .evaluate import evaluate as evaluate_files  # noqa: PLC0415

    try:
        result = evaluate_files(fused, source[0], source[1])
        if json is not None:
            result.write_json(json)
        if csv is not None:
            result.write_csv(csv)
    except (InputError, OutputError) as error:
        _fail(error)
    console = Console()
    console.width = max(console.width, 110)  # ten metrics beside the name, also where there is no terminal
    console.print(result.table())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    config: Annotated[
        str, typer.Option(help="train (the paper's recipe), train_salient (laid over it), or a JSON file.")
    ] = "train",
) -> None:
    """Train the network by a config of the bundle; every further --ID VALUE overrides an id of the config.

    Without --dataset_dir it trains on the embedded head phantom.
    """
    _show_log()
    logging.getLogger().setLevel(logging.INFO)
    from .bundle_config import bundle_root  # noqa: PLC0415
    from .workflows import Training  # noqa: PLC0415

    configs = bundle_root() / "configs"
    names = list(dict.fromkeys(["train", config]))
    files = [str(configs / f"{name}.json") for name in names] if (configs / f"{config}.json").is_file() else [config]
    if not Path(files[-1]).is_file():
        _fail(f"{config} is neither a config of the bundle nor a file: use train, train_salient or a JSON file")
    try:
        workflow = Training(config_file=files, **_overrides(context.args))
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except (InputError, OutputError) as error:
        _fail(error)


def _overrides(arguments: list[str]) -> dict[str, Any]:
    import json  # noqa: PLC0415

    values: dict[str, Any] = {}
    for name, text in zip(arguments[::2], [*arguments[1::2], None], strict=False):
        if not name.startswith("--") or text is None:
            _fail(f"{name} is no --ID VALUE")
        try:
            values[name[2:]] = json.loads(text)
        except ValueError:
            values[name[2:]] = text
    return values


@data_app.command("list")
def list_data(
    source: Annotated[Path, typer.Argument(help="Data set folder, CSV or datalist.")],
) -> None:
    """List the pairs of a data set or list."""
    for section, pair in _pairs_of(source):
        typer.echo("\t".join([section, pair.name, str(pair.image_a), str(pair.image_b)]))


@data_app.command("check")
def check_data(
    source: Annotated[Path, typer.Argument(help="Data set folder, CSV or datalist.")],
) -> None:
    """Check every pair of a data set or list: missing, unreadable, of different size; all problems at once."""
    from .data.pair_checks import problems_of  # noqa: PLC0415

    found = _pairs_of(source)
    problems = [line for lines in problems_of([pair for _, pair in found]).values() for line in lines]
    for line in problems:
        typer.echo(f"error: {line}", err=True)
    typer.echo(f"{len(found)} pairs, {len(problems)} problems")
    if problems:
        raise typer.Exit(2)


def _pairs_of(source: Path) -> list[tuple[str, Any]]:
    from .data.dataset_layouts import dataset_pairs  # noqa: PLC0415
    from .data.pairs import SECTIONS, read_pairs  # noqa: PLC0415

    try:
        if source.is_file():
            return [("all", pair) for pair in read_pairs(source)]
        found, last = [], InputError(f"{source} holds no pairs")
        for section in SECTIONS:
            try:
                found += [(section, pair) for pair in dataset_pairs(source, section)]
            except InputError as error:
                last = error
        if not found:
            raise last
    except InputError as error:
        _fail(error)
    return found


@data_app.command("phantom")
def write_phantom_data(
    folder: Annotated[Path, typer.Argument(help="Where it goes.")],
    subjects: Annotated[int, typer.Option(min=2, help="Subjects of the training set.")] = 8,
    seed: Annotated[int, typer.Option(help="Another seed, other heads.")] = 0,
) -> None:
    """Write the head phantom: a training set of slices, and the volumes of one head with a list of pairs."""
    from .data.phantom import write_phantom  # noqa: PLC0415

    try:
        typer.echo(str(write_phantom(folder, subjects=subjects, seed=seed, volumes=True)))
    except (InputError, OutputError) as error:
        _fail(error)


@data_app.command("download")
def download_data(
    name: Annotated[str, typer.Argument(help="harvard or roadscene.")],
    folder: Annotated[Path, typer.Argument(help="Where it goes.")],
    sha256: Annotated[str | None, typer.Option(help="Expected SHA256 of the archive.")] = None,
) -> None:
    """Download a public data set, with progress; goes on where it was interrupted."""
    from .data.download import fetch_dataset  # noqa: PLC0415

    try:
        typer.echo(str(fetch_dataset(name, folder, sha256=sha256)))
    except (InputError, OutputError) as error:
        _fail(error)


def main() -> None:
    """Run the command."""
    app()
