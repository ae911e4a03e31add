"""Reference, spacing, window and colour map, from the files to the fused volume."""

import json

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from references.geometry_reference import a_volume, an_affine, in_field_of_view, positions
from sample_images import GRID, SHAPE, SMALLER, itk_affine, write_picture, write_volume
from skimage.color import rgb2lab
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_parser, inference_steps
from monai_s3im.cli import app
from monai_s3im.evaluation.evaluate import evaluate
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of
from monai_s3im.functional import rgb_to_lab
from monai_s3im.pipeline import Fuser, fuse
from monai_s3im.record import FusionRecord
from monai_s3im.transforms import NormalizeModality
from monai_s3im.workflows import Inference

LANDMARK = np.array([12.0, -31.0, 8.0])
GRIDS = {"a": (SHAPE, GRID), "b": SMALLER, "finer": SMALLER}


@pytest.fixture(scope="module")
def fusers():
    choices = [("a", None), ("b", None), ("finer", None), ("a", 1.4), ("b", "1x2x1.5")]
    return {choice: Fuser(device="cpu", reference=choice[0], spacing=choice[1]) for choice in choices}


@pytest.fixture
def volumes(tmp_path):
    return write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5, *SMALLER)


@st.composite
def grids(draw):
    """An oblique grid, its axes in any order and direction, with the landmark near its centre."""
    shape = draw(st.tuples(*[st.integers(13, 17)] * 3))
    spacing = draw(st.tuples(*[st.floats(1.0, 2.0)] * 3))
    rotation = draw(st.tuples(*[st.floats(-60.0, 60.0)] * 3))
    axes = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    affine = an_affine(rotation)
    affine[:3, :3] = affine[:3, :3] @ axes * np.array(spacing)
    near_centre = (np.array(shape) - 1) / 2 + draw(st.tuples(*[st.floats(-1.0, 1.0)] * 3))
    affine[:3, 3] = LANDMARK - affine[:3, :3] @ near_centre
    return shape, affine


def with_landmark(shape, affine):
    """A Gaussian blob, sigma 3 mm, at the landmark."""
    return a_volume(np.exp(-((positions(shape, affine) - LANDMARK) ** 2).sum(1) / 18).reshape(shape), affine)


def landmark_in(volume):
    """Centroid of the voxels above half the maximum, in mm."""
    values = volume.numpy().ravel()
    weights = (values - values.max() / 2).clip(0)
    return weights @ positions(volume.shape[1:], volume.affine.numpy()) / weights.sum()


@pytest.mark.parametrize("choice", [("a", None), ("b", None), ("finer", None), ("a", 1.4), ("b", "1x2x1.5")])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(a=grids(), b=grids())
def test_a_landmark_lands_where_it_is_in_mm(fusers, choice, a, b):
    fused = fusers[choice](with_landmark(*a), with_landmark(*b), None, "mr", "mr")
    np.testing.assert_allclose(landmark_in(fused), LANDMARK, rtol=0, atol=0.3)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(a=grids(), b=grids())
def test_the_grid_is_that_of_the_reference_for_any_axes(fusers, a, b):
    finer = a if abs(np.linalg.det(a[1])) <= abs(np.linalg.det(b[1])) else b
    for reference, (shape, affine) in (("a", a), ("b", b), ("finer", finer)):
        fused = fusers[reference, None](with_landmark(*a), with_landmark(*b), None, "mr", "mr")
        assert fused.shape == (1, *shape)
        np.testing.assert_allclose(fused.affine, affine, rtol=0, atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("modality_b", ["mr", "pet"])
@pytest.mark.parametrize("reference", ["a", "b", "finer"])
def test_the_file_has_the_grid_of_the_reference(fusers, volumes, tmp_path, reference, modality_b, suffix):
    shape, affine = GRIDS[reference]
    output = tmp_path / f"out{suffix}"
    fusers[reference, None](*volumes, output, "mr", modality_b)
    np.testing.assert_allclose(itk_affine(output), affine, rtol=0, atol=1e-4)
    assert sitk.ReadImage(str(output)).GetSize() == shape
    if suffix == ".nii.gz":
        for matrix, code in (nib.load(output).get_sform(coded=True), nib.load(output).get_qform(coded=True)):
            assert code > 0
            np.testing.assert_allclose(matrix, affine, rtol=0, atol=1e-4)


def test_a_spacing_gives_that_voxel_size_in_the_field_of_view_of_the_reference(fusers, volumes, tmp_path):
    """12 x 10 x 9 voxels of 1.5 x 1 x 3 mm are 18 x 10 x 27 mm: 13 x 7 x 19 voxels of 1.4 mm."""
    fused = fusers["a", 1.4](*volumes, tmp_path / "out.nii.gz")
    assert fused.shape == (1, 13, 7, 19)
    written = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(written.header.get_zooms(), 1.4, rtol=1e-6)
    np.testing.assert_allclose(
        positions((13, 7, 19), written.affine).mean(0), positions(SHAPE, GRID).mean(0), rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(written.affine[:3, :3] / 1.4, GRID[:3, :3] / [1.5, 1, 3], rtol=0, atol=1e-6)


def test_a_result_that_itk_refuses_gives_a_warning_and_a_spacing_avoids_it(tmp_path):
    """Axes of a gantry that is tilted by 15 degrees."""
    tilted = np.diag([1.5, 1.5, 3.0, 1.0])
    tilted[1, 2] = 3.0 * np.tan(np.radians(15))
    pair = [write_volume(tmp_path / f"{name}.nii.gz", seed, affine=tilted) for seed, name in enumerate("ab")]
    sheared, straight = tmp_path / "sheared.nii.gz", tmp_path / "straight.nii.gz"
    fuse(*pair, sheared, device="cpu", modality_a="mr", modality_b="mr")
    (warning,) = FusionRecord.read(sheared).warnings
    assert "sheared.nii.gz has axes that are not at right angles" in warning
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(sheared)
    fuse(*pair, straight, device="cpu", modality_a="mr", modality_b="mr", spacing=3)
    assert FusionRecord.read(straight).warnings == []
    assert sitk.ReadImage(straight).GetSpacing() == pytest.approx((3, 3, 3))


@pytest.mark.parametrize("modality_b", ["mr", "pet"])
def test_on_b_s_grid_the_result_is_exactly_normalised_b_where_a_ends(fusers, tmp_path, modality_b):
    """The larger volume is B, so A ends first."""
    image_a = write_volume(tmp_path / "a.nii.gz", 5, *SMALLER)
    image_b = write_volume(tmp_path / "b.nii.gz", 0)
    fused = fusers["b", None](image_a, image_b, None, "mr", modality_b)
    outside = torch.as_tensor(~in_field_of_view(*SMALLER, SHAPE, GRID))
    assert 0 < outside.sum() < outside.numel()
    scaled = NormalizeModality(modality_b)(read_image(image_b)).as_tensor().clamp(0, 1)
    if modality_b == "mr":
        assert torch.equal(fused[:, outside], scaled[:, outside])
    else:
        uptake, found = scaled[0][outside], rgb_to_lab(fused.as_tensor())[0][outside]
        assert (found[uptake.argsort()].diff() > -1e-2).all()  # lightness is that of the uptake
        assert fused[:, outside][:, uptake == 0].abs().max() == 0


def test_the_window_reaches_a_ct(tmp_path):
    hounsfield = np.full(SHAPE, -1000.0)
    hounsfield[2:10, 2:8, 2:7] = 300.0
    ct = write_volume(tmp_path / "ct.nii.gz", array=hounsfield.astype(np.int16))
    fused = {}
    for window in ("brain", "bone", (-1000, 2000)):
        fused[window] = fuse(ct, ct, tmp_path / "out.nii.gz", window=window, device="cpu")
        record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        ends = {"brain": [0, 80], "bone": [-450, 1050]}.get(window, [-1000, 2000])
        assert record["sources"]["image_a"]["intensity_range"] == ends
    inside = (0, 6, 5, 4)
    assert fused["brain"][inside] > fused["bone"][inside] > fused[-1000, 2000][inside]


@pytest.mark.parametrize("color_map", [None, "viridis", "jet", "afmhot"])
def test_no_map_tints_what_has_no_uptake(tmp_path, color_map):
    uptake = np.zeros(SHAPE, np.int16)
    uptake[6:, 5:, 4:] = 1000
    image_a, image_b = write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", array=uptake)
    fused = fuse(image_a, image_b, None, modality_a="mr", modality_b="pet", color_map=color_map, device="cpu")
    tint = (fused.amax(0) - fused.amin(0)).numpy()
    assert tint[uptake == 0].max() < 1e-6
    assert tint[uptake > 0].mean() > 0.05


def test_only_the_name_of_a_lut_file_is_recorded(volumes, tmp_path):
    (tmp_path / "blue.lut").write_text("0 0 255\n" * 256)
    lut = str(tmp_path / "blue.lut")
    fused = fuse(*volumes, tmp_path / "out.nii.gz", modality_a="mr", modality_b="pet", color_map=lut, device="cpu")
    assert (fused[2] >= fused[0]).all()
    assert (fused[2] > fused[0]).any()
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    assert json.loads(text)["color_map"] == "blue.lut"
    assert str(tmp_path) not in text


OPTIONS = {"reference": "b", "spacing": "1x2x1.5", "window": "bone", "color_map": "viridis"}


def test_the_settings_are_the_same_through_all_three_entry_points(volumes, tmp_path):
    modalities = {"modality_a": "mr", "modality_b": "pet"}
    fuse(*volumes, tmp_path / "function" / "a.nii.gz", **OPTIONS, **modalities, device="cpu")
    given = [text for key, value in {**OPTIONS, **modalities}.items() for text in (f"--{key.replace('_', '-')}", value)]
    output = tmp_path / "command" / "a.nii.gz"
    result = CliRunner().invoke(app, ["fuse", *map(str, volumes), "-o", str(output), "--device", "cpu", *given])
    assert result.exit_code == 0, result.stderr
    workflow = Inference(
        image_a=str(volumes[0]),
        image_b=str(volumes[1]),
        output_dir=str(tmp_path / "bundle"),
        device="cpu",
        logging_file=False,
        **modalities,
        **OPTIONS,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    for name in ("a.nii.gz", "a.json"):
        expected = (tmp_path / "function" / name).read_bytes()
        assert (tmp_path / "command" / name).read_bytes() == expected
        assert (tmp_path / "bundle" / name).read_bytes() == expected
    record = json.loads((tmp_path / "function" / "a.json").read_text(encoding="utf-8"))
    assert {key: record[key] for key in OPTIONS} == OPTIONS


def test_brain_and_bone_are_compressed_after_resampling_and_the_record_says_the_range(tmp_path):
    values = np.full((12, 12, 12), -1000.0, np.float32)
    values[2:10, 2:10, 2:10] = np.linspace(0, 1200, 512).reshape(8, 8, 8)
    ct = write_volume(tmp_path / "ct.nii.gz", array=values)
    item = {"image_a": str(ct), "image_b": str(ct), "modality_a": "ct", "modality_b": "ct"}
    for step in inference_steps("load", "normalize", "align", device="cpu", window="brain+bone", spacing="0.7"):
        item = step(item)
    plain = {**item, "image_a": str(ct), "image_b": str(ct)}
    for step in inference_steps("load", "normalize", "align", device="cpu", window="0,1000", spacing="0.7"):
        plain = step(plain)
    t = plain["image_a"].as_tensor() / 0.08
    expected = torch.where(t <= 1, t / 2, 1 - 1 / (2 * t.clamp_min(1))) / 0.96
    assert ((expected > 0.55) & (expected < 0.95)).any()
    torch.testing.assert_close(item["image_a"].as_tensor(), expected)
    fuse(ct, ct, tmp_path / "out.nii.gz", modality_a="ct", modality_b="ct", window="brain+bone", device="cpu")
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert record["window"] == "brain+bone"
    assert record["sources"]["image_a"]["intensity_range"] == [0, 1000]


def test_a_window_that_starts_with_a_minus_is_taken_by_the_command(volumes, tmp_path):
    arguments = ["fuse", *map(str, volumes), "-o", str(tmp_path / "out.nii.gz"), "--device", "cpu"]
    assert CliRunner().invoke(app, [*arguments, "--window", "-160,240"]).exit_code == 0
    for option, value in [("window", "lung"), ("reference", "c"), ("spacing", "1x2"), ("color-map", "virids")]:
        result = CliRunner().invoke(app, [*arguments, f"--{option}", value])
        assert result.exit_code == 2
        message = result.stderr.splitlines()[-1]  # after the note that the output is there
        assert message.startswith("error: un")


def test_defaults_are_those_of_the_config():
    config = bundle_parser("inference")
    assert {key: config[key] for key in OPTIONS} == {
        "reference": "a",
        "spacing": None,
        "window": "auto",
        "color_map": None,
    }


def write_record(fused, modality, **made_by):
    """A record of a fused volume whose two sources have no file."""
    source = {"file": None, "sha256": None, "modality": modality, "intensity_range": [0.0, 1.0]}
    made = {"fused": fused.name, "fused_sha256": sha256_of(fused), "warnings": [], **made_by}
    record = {**made, "sources": {"image_a": source, "image_b": source}}
    fused.with_name("fused.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize(("window", "ssim"), [("bone", 2.0), ("-450,1050", 2.0), ("brain", None)])
def test_a_fused_volume_is_measured_in_the_window_it_was_made_with(tmp_path, window, ssim):
    """The fused volume is the CT itself in the bone window, and so equals both sources in that window alone: 1 + 1."""
    hounsfield = np.linspace(-1000, 1050, np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    ct = write_volume(tmp_path / "ct.nii.gz", array=hounsfield)
    fused = ((hounsfield + 450.0) / 1500).clip(0, 1).astype(np.float32)
    write_volume(tmp_path / "fused.nii.gz", array=fused)
    write_record(tmp_path / "fused.nii.gz", "ct", window=window)
    value = evaluate(tmp_path / "fused.nii.gz", ct, ct).mean["SSIM"]
    assert value < 1.8 if ssim is None else value == pytest.approx(ssim, abs=1e-6)


def test_a_fused_volume_is_measured_with_the_luma_of_its_colour_map(tmp_path):
    """The fused volume is the uptake itself: the luma of every map in CIELAB, and in YCbCr not that of afmhot,
    which records of the first versions do not name."""
    uptake = np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    pet = write_volume(tmp_path / "pet.nii.gz", array=uptake)
    lower, upper = NormalizeModality("pet")(read_image(pet)).meta["intensity_range"]
    write_volume(tmp_path / "fused.nii.gz", array=((uptake - lower) / (upper - lower)).clip(0, 1).astype(np.float32))
    found = {}
    for model, name in (("lab", None), ("ycbcr", "viridis"), ("ycbcr", "own.lut"), ("former", "afmhot")):
        made_by = {} if model == "former" else {"color_map": name, "color_model": model}
        write_record(tmp_path / "fused.nii.gz", "pet", **made_by)
        found[name] = evaluate(tmp_path / "fused.nii.gz", pet, pet).mean["SSIM"]
    assert [found[name] for name in (None, "viridis", "own.lut")] == pytest.approx([2, 2, 2], abs=1e-6)
    assert found["afmhot"] < 1.999


def write_blobs(tmp_path):
    """A head of MR, and in it PET with a hot and a cold half, both smooth."""
    rows, columns, slices = np.indices((24, 20, 9))
    head = np.exp(-(((rows - 12) / 9) ** 4 + ((columns - 10) / 8) ** 4))
    mr = write_volume(tmp_path / "mr.nii.gz", array=(100 * head * (1 + np.sin(rows) / 3)).astype(np.float32))
    pet = write_volume(tmp_path / "pet.nii.gz", array=(5 * head * (rows + slices) / 32).astype(np.float32))
    return mr, pet


@pytest.mark.parametrize("color_map", [None, "own.lut", "gray"])
def test_a_coloured_volume_is_measured_by_the_luma_that_was_fused(tmp_path, color_map):
    """As the gray one; the bytes of a colour hold the luma within a hundredth."""
    sources = write_blobs(tmp_path)
    turbo = np.rint(255 * mpl.colormaps["turbo"](range(256))[:, :3])
    np.savetxt(tmp_path / "own.lut", turbo, fmt="%d")
    name = str(tmp_path / "own.lut") if color_map == "own.lut" else color_map
    found = []
    for gray in (False, True):
        output = tmp_path / f"{gray}.nii.gz"
        fuse(*sources, output, modality_a="mr", modality_b="pet", color_map=name, gray=gray, device="cpu")
        found.append(evaluate(output, *sources).mean)
    for metric in ("SSIM", "PSNR", "SCD", "SF"):
        assert found[0][metric] == pytest.approx(found[1][metric], rel=0.03), metric


def test_the_record_has_the_colour_bar_by_which_uptake_is_read(tmp_path):
    """By scikit-image alone: the output's bytes, the record's colours and range, and the PET itself."""
    sources = write_blobs(tmp_path)
    fuse(*sources, tmp_path / "out.nii.gz", modality_a="mr", modality_b="pet", range_b="0,6", device="cpu")
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    bar = json.loads(text)["color_bar"]
    assert (len(bar["colors"]), bar["range"], bar["unit"]) == (256, [0.0, 6.0], None)
    assert text.count("\n") < 400  # a colour in a line
    stored = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    uptake = nib.load(sources[1]).get_fdata() / 6
    shown = np.stack([stored[channel] for channel in "RGB"], -1)[uptake >= 0.08]
    distances = [np.linalg.norm(rgb2lab(shown / 255) - rgb2lab(np.array(rgb) / 255), axis=-1) for rgb in bar["colors"]]
    read = np.argmin(distances, axis=0) / 255
    assert np.quantile(np.abs(read - uptake[uptake >= 0.08]), 0.95) < 0.05
    fuse(*sources, tmp_path / "gray.nii.gz", modality_a="mr", modality_b="pet", gray=True, device="cpu")
    assert json.loads((tmp_path / "gray.json").read_text(encoding="utf-8"))["color_bar"] is None


@pytest.mark.parametrize("color_model", ["lab", "ycbcr"])
def test_a_picture_keeps_its_own_colours_by_fig_4_whatever_the_model(tmp_path, color_model):
    """The bytes are those of the fused luma and the source's chrominance, by JPEG's matrices."""
    sources = write_picture(tmp_path / "mr.png", 0), write_picture(tmp_path / "spect.png", 5, colour=True)
    settings = {"modality_a": "mr", "modality_b": "spect", "device": "cpu"}
    luma = fuse(*sources, None, gray=True, **settings).numpy()[0]
    fuse(*sources, tmp_path / "out.png", color_model=color_model, **settings)
    red, green, blue = np.moveaxis(np.asarray(Image.open(sources[1]).convert("RGB")) / 255, -1, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = np.stack([luma + red - y, luma + green - y, luma + blue - y], -1).clip(0, 1)
    found = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.abs(found - 255 * expected).max() < 0.501
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["color_bar"] is None
