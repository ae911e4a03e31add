"""Compare the results of two commits: the bytes of every image and transform, and the records.

Command:   python benchmarks/same_bytes.py OLD NEW --data ../shared/data/volumes    (NEW may be `.`, the working tree)
Duration:  about an hour on one CPU core for all pairs and rounds; --spacing 4 takes a tenth of it
Result:    for each round and entry point the number of equal files; exit 1, and the names of files that differ

Each entry point fuses all pairs in a process that imports one commit's code and bundle: `s3im fuse` with a list,
`Fuser`, `python -m monai.bundle run`, and the process that computes for 3D Slicer, which gets the voxels from nibabel.
The phantom is written once, by the old commit. Each pair is fused with its modalities named and without. With --work,
what the old commit fused is kept there and used again. In a record, only the keys of --gained may be new; with
--images, records are not compared. At the end the entry points of the new commit are compared with each other, voxel by
voxel.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from fusion_entry_points import ENTRY_POINTS, arguments_of

ROOT = Path(__file__).resolve().parents[1]
ROUNDS: dict[str, dict[str, str]] = {
    "plain": {},
    "registered": {"register": "rigid", "spacing": "4"},
    "settings": {"reference": "b", "plane": "coronal", "window": "-160,240", "color_map": "inferno", "spacing": "4"},
    "gray": {"reference": "finer", "plane": "in-plane", "task": "medical", "spacing": "4"},
}


def main() -> None:
    """Fuse by both commits, compare, and exit 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", help="a commit, or . for the working tree")
    parser.add_argument(
        "--data", type=Path, help="folder with a pairs.json of image_a and image_b; else the phantom only"
    )
    parser.add_argument("--rounds", nargs="+", choices=ROUNDS, default=[*ROUNDS])
    parser.add_argument("--entry-points", nargs="+", choices=ENTRY_POINTS, default=[*ENTRY_POINTS])
    parser.add_argument("--only", nargs="+", default=[""], help="pairs whose name has one of these texts")
    parser.add_argument("--no-phantom", action="store_true", help="only the pairs of the data")
    parser.add_argument("--spacing", help="voxel size in mm of every result: quicker")
    parser.add_argument("--work", type=Path, help="a folder that keeps the old commit's results for the next run")
    parser.add_argument("--gained", nargs="*", default=["schema_version"], help="keys that a new record may have")
    parser.add_argument("--images", action="store_true", help="compare only images and transforms, not records")
    options = parser.parse_args()
    differing = 0
    with tempfile.TemporaryDirectory() as name:
        work = (options.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        trees = {side: _tree(getattr(options, side), work) for side in ("old", "new")}
        pairs = _write_pairs(trees["old"], options.data, not options.no_phantom, options.only, work)
        for title in options.rounds:
            settings = ROUNDS[title] | ({"spacing": options.spacing} if options.spacing else {})
            for entry_point in options.entry_points:
                folders = {side: work / side / title / entry_point for side in trees}
                codes = {
                    side: _fuse(entry_point, trees[side], pairs, folders[side], settings, side == "old")
                    for side in trees
                }
                count, found = _compare(folders["old"], folders["new"], set(options.gained), options.images)
                if codes["old"] != codes["new"] or not count:
                    found.append(f"the exit codes are {codes['old']} and {codes['new']}")
                print(f"{title}, {entry_point}: {count} files, {len(found)} differ", flush=True)
                print(*[f"  {line}" for line in found], sep="\n", end="\n" if found else "")
                differing += len(found)
            differing += _compare_entry_points(title, work / "new" / title, options.entry_points)
    sys.exit(1 if differing else 0)


def _tree(commit: str, work: Path) -> Path:
    """The files of a commit; the working tree itself for `.`."""
    if commit == ".":
        return ROOT
    name = subprocess.run(["git", "rev-parse", commit], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    folder = work / f"tree-{name[:12]}"
    if not folder.exists():
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    return folder


def _write_pairs(tree: Path, data: Path | None, with_phantom: bool, only: list[str], work: Path) -> Path:
    """A list of the pairs of the phantom and of the data, each with modalities and without."""
    rows = _phantom_pairs(tree, work) if with_phantom else []
    for pair in json.loads((data / "pairs.json").read_text(encoding="utf-8"))["pairs"] if data else ():
        images = [_image(data.resolve() / pair[key]) for key in ("image_a", "image_b")]
        if all(images):
            modalities = [_modality(image) for image in images]
            rows.append(dict(zip(_HEADER, [pair["name"], *images, *modalities], strict=True)))
    rows = [row for row in rows if any(text in row["name"] for text in only)]
    rows += [{**row, "name": f"{row['name']} guessed", "modality_a": "", "modality_b": ""} for row in rows]
    path = work / "pairs.csv"
    _write_rows(path, [{**row, "name": row["name"].replace(" ", "_")} for row in rows])
    return path


def _phantom_pairs(tree: Path, work: Path) -> list[dict[str, str]]:
    folder = work / "phantom" / "volumes"
    if not folder.exists():
        _run(tree, work, "-m", "monai_s3im", "data", "phantom", str(work / "phantom"), "--subjects", "2")
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        return [
            {
                **row,
                "name": f"phantom {row['name']}",
                **{key: str(folder / row[key]) for key in ("image_a", "image_b")},
            }
            for row in csv.DictReader(file)
        ]


_HEADER = ["name", "image_a", "image_b", "modality_a", "modality_b"]


def _image(path: Path) -> str:
    """The file or folder, with the first frame of a 4D one; empty if missing."""
    if not path.exists():
        return ""
    return f"{path}#1" if path.name.startswith("pcasl") else str(path)


def _modality(image: str) -> str:
    name = Path(image).name.lower()
    return next((modality for modality in ("spect", "pet", "ct") if modality in name), "mr")


def _fuse(entry_point: str, tree: Path, pairs: Path, out: Path, settings: dict[str, str], is_kept: bool) -> int:
    """Fuse all pairs through one interface; return the exit code."""
    ended = out.with_name(f"{entry_point} ended")
    if is_kept and ended.exists():
        return int(ended.read_text(encoding="utf-8"))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if entry_point == "bundle":  # one pair that cannot be fused would stop it
        pairs = _fusable(pairs, out.with_name("command"))
    code = _run(tree, out.parent, *arguments_of(entry_point, tree, pairs, out, settings))
    ended.write_text(str(code), encoding="utf-8")
    return code


def _fusable(pairs: Path, fused: Path) -> Path:
    """A list of the pairs that the command could fuse, if it was asked before."""
    with pairs.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not fused.exists() or (fused / f"{row['name']}.nii.gz").exists()]
    path = fused.with_name("fusable.csv")
    _write_rows(path, rows)
    return path


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _HEADER)
        writer.writeheader()
        writer.writerows(rows)


def _run(tree: Path, folder: Path, *arguments: str) -> int:
    """Run Python on a commit's code; return the exit code, and the output if it failed."""
    path = os.pathsep.join([str(tree), str(tree / "slicer_extension" / "S3IMFusion")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{tree}: {' '.join(arguments[:4])} ended with code {done.returncode}", file=sys.stderr)
        print(done.stdout[-2000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
    return done.returncode


def _compare(old: Path, new: Path, gained: set[str], images: bool) -> tuple[int, list[str]]:
    """How many files there are, and a line for each that differs."""
    names = sorted({path.name for folder in (old, new) for path in folder.iterdir()} - {"summary.csv"})
    names = [name for name in names if not (images and name.endswith(".json"))]
    return len(names), [line for name in names for line in _differences(old / name, new / name, gained)]


def _differences(old: Path, new: Path, gained: set[str]) -> Iterator[str]:
    if not (old.is_file() and new.is_file()):
        yield f"{old.name}: only the {'old' if old.exists() else 'new'} commit writes it"
    elif old.suffix == ".json":
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (old, new))
        after = {name: value for name, value in after.items() if name in before or name not in gained}
        yield from (f"{old.name}: {name} differs" for name in _differing(before, after))
        if list(before) != list(after):
            yield f"{old.name}: the order of its keys differs"
    elif old.read_bytes() != new.read_bytes():
        yield f"{old.name}: {_difference(old, new)}"


def _difference(old: Path, new: Path) -> str:
    """How two files differ that are not the same."""
    if not old.name.endswith((".nii", ".nii.gz")):
        return "its bytes differ"
    before, after = nib.load(old), nib.load(new)
    if before.shape != after.shape or before.get_data_dtype() != after.get_data_dtype():
        return f"{before.shape} of {before.get_data_dtype()} became {after.shape} of {after.get_data_dtype()}"
    if not np.array_equal(before.affine, after.affine):
        return "its affine differs"
    values = [_values(image) for image in (before, after)]
    apart = np.abs(values[0] - values[1])
    return f"{np.count_nonzero(apart) / apart.size:.2%} of its voxels differ, by up to {apart.max():.3g}"


def _values(image: nib.Nifti1Image) -> np.ndarray:
    """The voxels as float64, of RGB24 with the channels along a last axis."""
    array = np.asanyarray(image.dataobj)
    return (np.stack([array[name] for name in array.dtype.names], -1) if array.dtype.names else array).astype(float)


def _compare_entry_points(title: str, folder: Path, entry_points: list[str]) -> int:
    """Compare what the entry points of one commit fused; how many differ from the first."""
    differing = 0
    for entry_point in entry_points[1:]:
        names = sorted({path.name.partition(".nii")[0] for path in (folder / entry_point).glob("*.nii*")})
        found = []
        for name in names:
            images = [next((folder / each).glob(f"{name}.nii*"), None) for each in (entry_points[0], entry_point)]
            if images[0] is None:
                found.append(f"{name}: {entry_points[0]} did not fuse it")
                continue
            first, other = (nib.load(image) for image in images)
            if not (np.array_equal(_values(first), _values(other)) and np.array_equal(first.affine, other.affine)):
                found.append(f"{name}: {_difference(*images)}")
        print(
            f"{title}, {entry_point} against {entry_points[0]}: {len(names)} volumes, {len(found)} differ", flush=True
        )
        print(*[f"  {line}" for line in found], sep="\n", end="\n" if found else "")
        differing += len(found)
    return differing


def _differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name, ...) != after.get(name, ...))


if __name__ == "__main__":
    main()
