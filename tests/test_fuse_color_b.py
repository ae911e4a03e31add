"""``color="b"``, from the files to the fused image: hue shows source B, whatever its modality."""

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from sample_images import write_picture, write_volume
from skimage.color import rgb2lab
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.evaluation.evaluate import evaluate
from monai_s3im.evaluation.lesions import lesion_contrast, ring_of
from monai_s3im.pipeline import fuse
from monai_s3im.record import FusionRecord


def write_opposite_lesions(folder):
    """Two MR of one head and the mask of a lesion: dark in A, bright in B, so a gray mixture shows little of it."""
    x, y, z = np.indices((36, 32, 8))
    rest = np.random.default_rng(0).normal(0, 12, (2, 36, 32, 8))
    head = ((x - 18) / 16) ** 2 + ((y - 16) / 14) ** 2 < 1
    lesion = (x - 22) ** 2 + (y - 18) ** 2 + (2 * (z - 4)) ** 2 < 25
    a, b = head * (120 - 40 * lesion + rest[0]), head * (100 + 60 * lesion + rest[1])
    files = [write_volume(folder / f"{name}.nii.gz", array=v.astype(np.float32)) for name, v in (("a", a), ("b", b))]
    return files, torch.from_numpy(lesion), torch.from_numpy(head & ~lesion)


def test_color_b_shows_what_the_second_source_has_and_gray_loses(tmp_path):
    """The contrast of the lesion in CIELAB, by scikit-image's colours of the file's bytes."""
    files, lesion, tissue = write_opposite_lesions(tmp_path)
    kept = {}
    for color in ("auto", "b"):
        output = tmp_path / f"fused_{color}.nii.gz"
        fuse(*files, output, modality_a="mr", modality_b="mr", color=color, task="figure-2", device="cpu")
        stored = np.asarray(nib.load(output).dataobj)
        image = (
            rgb2lab(np.stack([stored[channel] for channel in "RGB"], -1) / 255) if color == "b" else stored[..., None]
        )
        inside, outside = (image[mask.numpy()].astype(float) for mask in (lesion, ring_of(lesion, tissue)))
        spread = np.sqrt((inside.var(0).sum() + outside.var(0).sum()) / 2)
        contrast = np.linalg.norm(inside.mean(0) - outside.mean(0)) / spread
        source = torch.from_numpy(nib.load(files[1]).get_fdata())[None]
        kept[color] = contrast / lesion_contrast(source, lesion, tissue)
    assert kept["b"] >= 0.7
    assert kept["auto"] < 0.3


def test_the_record_says_that_colour_shows_b_and_has_its_bar(tmp_path):
    files, _, _ = write_opposite_lesions(tmp_path)
    options = ["--modality-a", "mr", "--modality-b", "mr", "--range-b", "0,200", "--color", "b", "--device", "cpu"]
    result = CliRunner().invoke(app, ["fuse", *map(str, files), "-o", str(tmp_path / "out.nii.gz"), *options])
    assert result.exit_code == 0, result.stderr
    record = FusionRecord.read(tmp_path / "out.nii.gz")
    assert record.settings.color == "b"
    assert (len(record.color_bar.colors), record.color_bar.range) == (256, [0.0, 200.0])


def test_a_volume_in_the_colours_of_b_is_measured_by_the_luma_that_was_fused(tmp_path):
    files, _, _ = write_opposite_lesions(tmp_path)
    found = []
    for options in ({"color": "b"}, {"color": "b", "gray": True}, {}):
        output = tmp_path / f"{len(found)}.nii.gz"
        fuse(*files, output, modality_a="mr", modality_b="mr", device="cpu", **options)
        found.append(evaluate(output, *files).mean)
    for metric in ("SSIM", "PSNR", "SCD", "SF"):
        assert found[0][metric] == pytest.approx(found[2][metric], rel=0.03), metric
        assert found[1][metric] == pytest.approx(found[2][metric], rel=1e-6), metric


def test_gray_pictures_are_fused_in_the_colours_of_b(tmp_path):
    sources = write_picture(tmp_path / "a.png", 0), write_picture(tmp_path / "b.png", 5)
    fuse(*sources, tmp_path / "out.png", color="b", modality_a="mr", modality_b="ct", device="cpu")
    found = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.ptp(found, axis=-1).max() > 100
    assert FusionRecord.read(tmp_path / "out.png").color_bar is not None
