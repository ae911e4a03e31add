"""How each entry point of a commit fuses a list of pairs; for same_bytes.py."""

import json
from pathlib import Path

ENTRY_POINTS = ("command", "function", "bundle", "slicer")
FUNCTION = """
import csv, json, sys
from pathlib import Path
try:
    from monai_s3im.pipeline import Fuser
except ImportError:  # a commit before the module had this name
    from monai_s3im.fuse import Fuser
pairs, out, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
fuser = Fuser(device="cpu", **settings)
for row in csv.DictReader(open(pairs, encoding="utf-8")):
    modalities = row["modality_a"] or None, row["modality_b"] or None
    try:
        fuser(row["image_a"], row["image_b"], out / f"{row['name']}.nii.gz", *modalities)
    except ValueError as error:
        print(f"{row['name']}: {error}", file=sys.stderr)
"""
SLICER = """
import csv, json, shutil, sys, time
from pathlib import Path
import nibabel as nib, numpy as np
from S3IMFusionLib.process import Worker
pairs, out, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
worker = Worker()
folder = worker.folder / "pair"
folder.mkdir()
def source(row, key):
    file, _, frame = row[f"image_{key}"].partition("#")
    image = nib.load(file)
    voxels = np.asanyarray(image.dataobj)
    voxels = voxels[..., int(frame) - 1] if frame else voxels.reshape(voxels.shape[:3])
    np.save(folder / f"{key}.npy", voxels.T)
    modality = row[f"modality_{key}"] or None
    return {"path": str(folder / f"{key}.npy"), "affine": image.affine.tolist(), "modality": modality}
for row in csv.DictReader(open(pairs, encoding="utf-8")):
    is_nifti = all(row[f"image_{key}"].partition("#")[0].endswith((".nii", ".nii.gz")) for key in "ab")
    if not (is_nifti and row["modality_a"] and row["modality_b"]):  # Slicer itself reads the others, and guesses
        continue
    request = {key: source(row, key) for key in "ab"}
    asked = {"device": "cpu", **settings}
    worker.submit("fuse", **request, settings=asked, output=str(folder / "fused.nii"))
    while not (ends := [reply for reply in worker.replies() if reply["event"] in {"done", "error"}]):
        time.sleep(0.05)
    if ends[0]["event"] == "error":
        print(f"{row['name']}: {ends[0]['message']}", file=sys.stderr)
        continue
    (out / f"{row['name']}.json").write_text(json.dumps(ends[0]["record"], indent=2))
    shutil.move(folder / "fused.nii", out / f"{row['name']}.nii")
worker.close()
"""


def arguments_of(entry_point: str, tree: Path, pairs: Path, out: Path, settings: dict[str, str]) -> list[str]:
    """The arguments of Python that fuse a list of pairs into a folder through an entry point of a commit."""
    if entry_point in {"function", "slicer"}:
        return ["-c", FUNCTION if entry_point == "function" else SLICER, str(pairs), str(out), json.dumps(settings)]
    options = {"device": "cpu", "pairs": str(pairs), **settings}
    if entry_point == "command":
        named = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)]
        return ["-m", "monai_s3im", "fuse", "-o", str(out), *named]
    options |= {"bundle_root": str(tree / "bundle"), "output_dir": str(out)}
    # in quotes, text that the bundle's command would read as a number or as several
    values = {name: f"'{value}'" if name in {"spacing", "window"} else value for name, value in options.items()}
    named = [text for name, value in values.items() for text in (f"--{name}", value)]
    config = str(tree / "bundle" / "configs" / "inference.json")
    return ["-m", "monai.bundle", "run", "--config_file", config, *named]
