"""How well lesions are kept: the measure by hand, the volumes with lesions, and the command s3im benchmark lesions."""

import json
import math

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from monai_s3im.cli import app
from monai_s3im.evaluation import LesionValue, lesion_contrast, phantom_cases, run_lesions, summarize
from monai_s3im.evaluation.baselines import BASELINES, laplacian_pyramid, signal_pyramid
from monai_s3im.evaluation.lesions import ring_of
from monai_s3im.functional import rgb_to_lab
from monai_s3im.phantom import head_phantom

SHAPE = (24, 24, 24)


def cube(low, high):
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[low:high, low:high, low:high] = True
    return mask


EVERYWHERE = torch.ones(SHAPE, dtype=torch.bool)


def test_the_ring_begins_two_voxels_away_and_ends_at_five():
    ring = ring_of(cube(10, 12), EVERYWHERE)
    assert ring[11, 11].nonzero()[:, 0].tolist() == [5, 6, 7, 8, 13, 14, 15, 16]
    assert int(ring.sum()) == 12**3 - 4**3


def test_contrast_is_the_difference_of_the_means_over_the_pooled_deviation():
    lesion, image = cube(10, 12), torch.zeros(1, *SHAPE)
    checkers = torch.arange(24) % 2
    image[0] += checkers * 2.0  # around: 0 and 2, mean 1, variance 1
    image[0][lesion] += 10 + 2 * (checkers * 2.0).expand(SHAPE)[lesion]  # within: 10 and 16, mean 13, variance 9
    assert lesion_contrast(image, lesion, EVERYWHERE) == pytest.approx((13 - 1) / math.sqrt((9 + 1) / 2))


def test_only_tissue_belongs_to_the_ring():
    lesion, image = cube(10, 12), torch.zeros(1, *SHAPE)
    image[0] += torch.arange(24) % 2
    image[0][lesion] += 3
    expected = lesion_contrast(image, lesion, EVERYWHERE)
    tissue = EVERYWHERE.clone()
    tissue[:8] = False
    image[0, :8] = 1000.0
    assert lesion_contrast(image, lesion, tissue) == pytest.approx(expected)


@pytest.mark.parametrize(("side", "is_eroded"), [(7, False), (8, True)])  # 343 and 512 voxels
def test_a_lesion_of_more_than_400_voxels_is_eroded(side, is_eroded):
    lesion, image = cube(8, 8 + side), torch.zeros(1, *SHAPE)
    image[0] += torch.arange(24) % 2
    image[0][cube(9, 7 + side)] += 10  # all but the outermost voxels
    inside = image[0][cube(9, 7 + side) if is_eroded else lesion]
    around = image[0][ring_of(lesion, EVERYWHERE)]
    spread = ((inside.var(correction=0) + around.var(correction=0)) / 2).sqrt()
    assert lesion_contrast(image, lesion, EVERYWHERE) == pytest.approx(float((inside.mean() - around.mean()) / spread))


def test_without_a_lesion_or_tissue_around_there_is_no_contrast():
    image = torch.rand(1, *SHAPE)
    assert math.isnan(lesion_contrast(image, torch.zeros(SHAPE, dtype=torch.bool), EVERYWHERE))
    assert math.isnan(lesion_contrast(image, cube(10, 12), ~EVERYWHERE))


def test_lab_has_the_values_of_the_standard():
    rgb = torch.tensor([[1.0, 0, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0], [0.2, 0.2, 0.2]]).T.double()
    expected = [[53.24, 80.09, 67.20], [100, 0, 0], [32.30, 79.19, -107.86], [0, 0, 0], [21.25, 0, 0]]
    np.testing.assert_allclose(rgb_to_lab(rgb).T.numpy(), expected, atol=0.03)


def test_a_lesion_of_the_same_lightness_is_measured_by_its_hue():
    torch.manual_seed(0)
    lesion = cube(10, 12)
    noise = 0.02 * torch.rand(SHAPE)
    gray = torch.stack([0.5 + noise] * 3)
    hued = gray.clone()
    hued[0][lesion], hued[2][lesion] = 0.62, 0.3
    assert lesion_contrast(hued, lesion, EVERYWHERE) > 10 * lesion_contrast(gray, lesion, EVERYWHERE)


def value(kind, contrast, fused, pair="T1 + CT"):
    return LesionValue(pair, kind, "head 0", (0.1, contrast), {"own": fused})


def test_each_lesion_counts_at_most_as_one_and_faint_ones_are_left_out():
    found = summarize([value("tumour", 2.0, 4.0), value("tumour", 2.0, 1.0), value("tumour", 0.9, 0.0)], "own")
    assert found.mean == pytest.approx(0.75)
    assert found.of_kinds == {("T1 + CT", "tumour"): pytest.approx(0.75)}
    assert not found.holds


def test_one_lost_kind_breaks_the_guard_whatever_the_mean():
    kept = [value("tumour", 2.0, 2.0)] * 20
    assert summarize(kept, "own").holds
    assert summarize([*kept, value("oedema", 2.0, 1.19)], "own").lost == [("T1 + CT", "oedema")]
    assert not summarize([*kept, value("oedema", 2.0, 1.19)], "own").holds
    assert summarize([*kept, value("oedema", 2.0, 1.21)], "own").holds


GRID = {"shape": (80, 96, 48), "spacing_mm": (2.2, 2.2, 3.0)}


@pytest.fixture(scope="module")
def case():
    return next(phantom_cases(1, 3, [("t1", "ct")], **GRID))


def test_painted_lesions_are_in_only_one_source(case):
    head = head_phantom(GRID["shape"], GRID["spacing_mm"], 3, modalities=("t1", "ct"))
    kinds = {kind: masks for kind, masks in case.lesions.items() if "alone" in kind}
    assert set(kinds) == {f"{size}, in {name} alone" for size in ("small", "medium", "large") for name in ("T1", "CT")}
    for kind, masks in kinds.items():
        for mask in masks:
            painted, other = (0, 1) if "T1" in kind else (1, 0)
            originals = [head.volumes[name][0] for name in ("t1", "ct")]
            assert (case.images[painted][0] - originals[painted])[mask].abs().min() > 0
            assert torch.equal(case.images[other][0][mask], originals[other][mask])
            contrast = lesion_contrast(case.images[painted].as_tensor(), mask, case.tissue)
            assert 0.6 < contrast < 6.5  # 1.2 to 6 were drawn; the soft border and erosion change it a little


def test_the_phantom_has_its_own_lesions_and_no_lesion_is_healthy_tissue(case):
    assert "haemorrhage" in case.lesions or "tumour" in case.lesions
    for masks in case.lesions.values():
        for mask in masks:
            assert not (mask & case.tissue).any()


def test_the_same_seed_has_the_same_lesions(case):
    again = next(phantom_cases(1, 3, [("t1", "ct")], **GRID))
    assert again.lesions.keys() == case.lesions.keys()
    assert torch.equal(again.images[1].as_tensor(), case.images[1].as_tensor())


def test_a_pyramid_keeps_what_all_sources_share_and_the_stronger_detail():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 37, 50)
    torch.testing.assert_close(laplacian_pyramid(image.expand(1, 2, 37, 50)), image)
    flat = torch.full_like(image, 0.5)
    fused = laplacian_pyramid(torch.cat([flat, 0.5 + 0.2 * (image - 0.5)], dim=1))
    assert torch.corrcoef(torch.stack([fused.flatten(), image.flatten()]))[0, 1] > 0.99


def test_the_pyramid_by_signal_to_noise_shows_the_faint_lesion_of_a_calm_source():
    torch.manual_seed(0)
    restless = 0.5 + 0.2 * torch.randn(1, 1, 64, 64)
    calm = 0.5 + 0.005 * torch.randn(1, 1, 64, 64)
    calm[..., 28:36, 28:36] += 0.1
    pair = torch.cat([restless, calm], dim=1).clamp(0, 1)
    template = calm - calm.mean()

    def shown(fused):
        return float(((fused - fused.mean()) * template).sum() / template.square().sum())

    assert shown(signal_pyramid(pair)) > 0.6 > shown(laplacian_pyramid(pair))
    torch.testing.assert_close(signal_pyramid(calm.expand(1, 2, 64, 64)), calm)
    assert signal_pyramid(torch.zeros(1, 2, 9, 9)).abs().max() == 0


def test_a_run_writes_a_row_for_each_kind_and_shows_the_worst(case, tmp_path):
    report = run_lesions([case], tmp_path / "out", device="cpu").read_text(encoding="utf-8")
    found = json.loads((tmp_path / "out" / "lesions.json").read_text(encoding="utf-8"))
    seen = {lesion["kind"] for lesion in found["lesions"] if max(lesion["contrast_a"], lesion["contrast_b"]) >= 1}
    for kind in seen:
        assert f"| T1 + CT | {kind} |" in report
    assert set(found["summary"]) == {"S3IMFusion", *BASELINES}
    with Image.open(tmp_path / "out" / "lesions.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 20


def s3im(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def volumes(tmp_path):
    """A pair of which B has a dark lesion, and its mask on a finer grid."""
    random = np.random.default_rng(0)
    affine = np.diag([2.0, 2, 2, 1])
    brain = 400 + 20 * random.standard_normal((2, 32, 32, 16))
    lesion = np.zeros((32, 32, 16), dtype=bool)
    lesion[12:16, 12:16, 6:9] = True
    brain[1][lesion] -= 150
    brain[:, :3] = 0
    for name, volume in zip("ab", brain, strict=True):
        nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32), affine), tmp_path / f"{name}.nii.gz")
    fine = np.diag([1.0, 1, 1, 1])
    fine[:3, 3] = -0.5
    mask = lesion.repeat(2, 0).repeat(2, 1).repeat(2, 2).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask, fine), tmp_path / "mask.nii.gz")
    rows = ["name,image_a,image_b,modality_a,modality_b", "both,a.nii.gz,b.nii.gz,mr,mr"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_real_volumes_are_measured_by_their_mask(volumes):
    arguments = ["--pairs", volumes / "pairs.csv", "--mask", volumes / "mask.nii.gz", "-o", volumes / "out"]
    result = s3im("benchmark", "lesions", *arguments, "--device", "cpu")
    assert result.exit_code == 0, result.output
    (lesion,) = json.loads((volumes / "out" / "lesions.json").read_text(encoding="utf-8"))["lesions"]
    assert lesion["contrast_a"] < 1
    assert 4 < lesion["contrast_b"] < 10  # 150 over about 20
    brain = [nibabel.load(volumes / f"{name}.nii.gz").get_fdata() for name in "ab"]
    tissue = torch.from_numpy(brain[0] > np.percentile(brain[0][brain[0] > 0], 35))
    mask = torch.from_numpy(nibabel.load(volumes / "mask.nii.gz").get_fdata()[::2, ::2, ::2] > 0)
    expected = [lesion_contrast(torch.from_numpy(image)[None], mask, tissue) for image in (brain[1], sum(brain))]
    assert lesion["contrast_b"] == pytest.approx(expected[0], rel=0.03)  # the scale clips a few voxels
    assert lesion["contrast in Average"] == pytest.approx(expected[1], rel=0.03)
    assert "| both | masked | 1 |" in result.output


def test_colour_and_weights_are_the_requested_ones(volumes):
    found = {}
    paper = ["--task", "figure-2"]
    for name, options in {"default": [], "gray": paper, "b": [*paper, "--color", "b"]}.items():
        arguments = [
            "--pairs",
            volumes / "pairs.csv",
            "--mask",
            volumes / "mask.nii.gz",
            "-o",
            volumes / name,
            *options,
        ]
        result = s3im("benchmark", "lesions", *arguments, "--device", "cpu")
        assert result.exit_code == 0, result.output
        (found[name],) = json.loads((volumes / name / "lesions.json").read_text(encoding="utf-8"))["lesions"]
    kept = {name: lesion["contrast in S3IMFusion"] / lesion["contrast_b"] for name, lesion in found.items()}
    assert kept["b"] > kept["gray"] + 0.1
    assert found["default"]["contrast in S3IMFusion"] != found["gray"]["contrast in S3IMFusion"]
    assert found["default"]["contrast_b"] == found["gray"]["contrast_b"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--pairs", "pairs.csv"], "--pairs and --mask are used together"),
        (["--pairs", "pairs.csv", "--mask", "elsewhere.nii.gz"], "elsewhere.nii.gz has no lesion within"),
    ],
)
def test_input_that_cannot_be_measured_is_reported_in_one_line(arguments, sentence, volumes, monkeypatch):
    monkeypatch.chdir(volumes)
    away = np.eye(4)
    away[:3, 3] = 500
    nibabel.save(nibabel.Nifti1Image(np.eye(4, dtype=np.uint8).repeat(4).reshape(4, 4, 4), away), "elsewhere.nii.gz")
    result = s3im("benchmark", "lesions", *arguments, "-o", "out")
    assert (result.exit_code, sentence in result.output) == (2, True), result.output
    assert result.output.count("\n") == 1
