import errno
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import load_decathlon_datalist
from nibabel.affines import apply_affine
from PIL import Image
from scipy import ndimage

from monai_s3im.errors import InputError, OutputError
from monai_s3im.pairs.lists import read_pairs
from monai_s3im.phantom import gaussian_blur, head_phantom, imaging, training_set, write_phantom
from monai_s3im.phantom import template as template_file
from monai_s3im.phantom.canvas import TISSUES, Tissue
from monai_s3im.phantom.subject import draw_subject
from monai_s3im.phantom.template import template

SMALL = {"shape": (48, 56, 40), "spacing_mm": (4.0, 4.0, 4.5)}
SPACING_MM = (1.2, 1.2, 1.5)


@pytest.fixture(scope="module")
def head():
    """A head with a tumour and a haemorrhage."""
    return head_phantom(seed=0)


@pytest.fixture(scope="module")
def oblique_head():
    return head_phantom((150, 170, 120), (1.3, 1.3, 1.6), seed=0, oblique_deg=17)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "phantom"
    write_phantom(folder, subjects=4, slices_per_subject=2, volumes=True)
    return folder


def array(phantom, name):
    return phantom.volumes[name][0].numpy()


def inside(phantom, tissue, voxels=2):
    label = array(phantom, "labels") == TISSUES[tissue].label
    return ndimage.binary_erosion(label, iterations=voxels, border_value=1)


@pytest.mark.parametrize(
    ("tissue", "hounsfield", "bound"),
    [
        ("air", -1000, 1),
        ("fat", -90, 4),
        ("csf", 5, 3),
        ("grey matter", 38, 2),
        ("white matter", 28, 2),
        ("oedema", 20, 2),
        ("tumour", 42, 2),
        ("haemorrhage", 65, 2),
        ("cortical bone", 1300, 50),
        ("petrous bone", 1600, 50),
    ],
)
def test_ct_of_a_tissue_has_its_typical_hounsfield_units(head, tissue, hounsfield, bound):
    voxels = inside(head, tissue)
    assert voxels.sum() > 50
    assert array(head, "ct")[voxels].mean() == pytest.approx(hounsfield, abs=bound)


def test_calcification_and_diploe_are_between_soft_tissue_and_dense_bone(head):
    assert array(head, "ct")[inside(head, "calcification", 1)].mean() == pytest.approx(300, abs=30)
    assert array(head, "ct")[inside(head, "diploe")].mean() == pytest.approx(650, abs=60)


def test_ct_noise_is_four_hounsfield_units(head):
    assert array(head, "ct")[:10, -20:, -20:].std() == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("name", ["t1", "t2"])
def test_mr_background_is_rayleigh_noise(head, name):
    background = array(head, name)[:30, -30:, -40:]  # 36,000 voxels: the standard error of the mean is 0.07
    assert background.mean() == pytest.approx(20 * np.sqrt(np.pi / 2), rel=0.01)
    assert background.std() == pytest.approx(20 * np.sqrt(2 - np.pi / 2), rel=0.02)


def test_mr_contrasts_are_those_of_t1_and_t2(head):
    def order(name):
        tissues = ["csf", "grey matter", "white matter"]
        return sorted(tissues, key=lambda tissue: array(head, name)[inside(head, tissue)].mean())

    assert order("t1") == ["csf", "grey matter", "white matter"]
    assert order("t2") == ["white matter", "grey matter", "csf"]


@pytest.mark.parametrize(
    ("structure", "place_mm", "tissue"),
    [
        ("genu of the corpus callosum", (0, 28, 4), "white"),
        ("splenium of the corpus callosum", (0, -40, 14), "white"),
        ("posterior limb of the internal capsule", (23, -16, 12), "white"),
        ("centrum semiovale", (26, -20, 36), "white"),
        ("head of the caudate nucleus", (12, 16, 6), "grey"),
        ("thalamus", (10, -18, 8), "grey"),
        ("hippocampus", (28, -22, -14), "grey"),
        ("insula", (38, 4, 2), "grey"),
        ("body of the lateral ventricle", (12, -10, 22), "csf"),
        ("atrium of the lateral ventricle", (24, -42, 8), "csf"),
        ("fourth ventricle", (0, -46, -32), "csf"),
    ],
)
def test_structures_of_the_template_are_where_mni_space_has_them(structure, place_mm, tissue):
    both_sides = torch.tensor([place_mm, (-place_mm[0], *place_mm[1:])]).float().T
    grey, white = template()[0].at(both_sides)
    most = {"grey": grey, "white": white, "csf": 1 - grey - white}[tissue]
    assert (most > 0.7).all(), structure
    assert (template()[1].at(both_sides) < -5).all(), "inside the skull"


def test_volume_of_the_brain_is_that_of_the_template(head):
    """996.6 ml of grey and 670.1 ml of white matter: sums over the maps of 1 mm that the template comes with."""
    millilitres = np.prod(SPACING_MM) / 1000
    size = 0.92**3 * float(draw_subject(0).scale.prod())

    def volume(*tissues):
        return np.isin(array(head, "labels"), [TISSUES[tissue].label for tissue in tissues]).sum() * millilitres

    lesions = volume("oedema", "tumour", "haemorrhage")  # in white matter
    assert volume("grey matter", "deep nuclei") == pytest.approx(996.6 * size, rel=0.06)
    assert volume("white matter") + lesions == pytest.approx(670.1 * size, rel=0.15)
    assert 1100 < volume("grey matter", "deep nuclei", "white matter") + lesions < 1600, "of an adult"


def test_skull_is_closed_over_the_brain_and_of_believable_thickness(head):
    """Outward from the middle of the brain, above the base, every line crosses 4 to 13 mm of bone."""
    ct, affine = array(head, "ct"), head.volumes["ct"].affine.numpy()
    random = np.random.default_rng(0)
    ways = random.standard_normal((300, 3))
    ways[:, 2] = np.abs(ways[:, 2]) + 0.2
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    steps = np.arange(30, 110, 0.5)
    line = np.array([0, 0, 10]) + ways[:, None] * steps[:, None]
    at = np.moveaxis(apply_affine(np.linalg.inv(affine), line), -1, 0)
    bone = (ndimage.map_coordinates(ct, at, order=1, mode="nearest") > 300).sum(axis=1) * 0.5
    assert bone.min() >= 4
    assert np.percentile(bone, 95) < 13
    assert 6 < np.median(bone) < 10


def test_pet_of_the_cortex_and_basal_ganglia_is_hot_and_of_the_ventricles_cold(head):
    pet, labels = array(head, "pet"), array(head, "labels")
    ventricles = ndimage.binary_erosion(labels == TISSUES["csf"].label, iterations=2)
    index = np.argwhere(ventricles)
    world = apply_affine(head.volumes["pet"].affine.numpy(), index)
    middle = index[np.linalg.norm(world - [0, 0, 12], axis=1) < 30]
    white = pet[inside(head, "white matter", 3)].mean()
    assert pet[inside(head, "grey matter")].mean() > 2.2 * white
    assert pet[labels == TISSUES["deep nuclei"].label].mean() > 1.8 * white
    assert pet[tuple(middle.T)].mean() < 1.2 * white


def test_heads_of_two_seeds_differ_in_shape_and_most_have_a_lesion_of_each_kind():
    a, b = (np.isin(array(head_phantom(**SMALL, seed=seed, modalities=()), "labels"), [8, 9, 10]) for seed in (3, 4))
    dice = 2 * (a & b).sum() / (a.sum() + b.sum())
    assert 0.6 < dice < 0.95
    lesions = [draw_subject(seed).lesions for seed in range(60)]
    for kind in ("tumour", "haemorrhage"):
        assert sum(kind in found for found in lesions) > 30


def test_fewer_modalities_are_the_same_voxels():
    every, two = head_phantom(**SMALL, seed=3), head_phantom(**SMALL, seed=3, modalities=("pet", "t1"))
    assert set(two.volumes) == {"pet", "t1", "labels"}
    for name, volume in two.volumes.items():
        assert torch.equal(volume, every.volumes[name])
    with pytest.raises(InputError, match="no flair: choose from ct, t1"):
        head_phantom(**SMALL, modalities=("flair",))


def test_notice_of_the_template_is_next_to_it():
    notice = (Path(template_file.FILE).parent / "LICENSE-ICBM152").read_text(encoding="utf-8")
    assert "provided that the above copyright notice appear in all copies" in notice
    assert template_file.FILE.stat().st_size < 1_500_000


@pytest.fixture(scope="module")
def fractions(head):
    """How much of a voxel each group of tissues fills: the head, painted with 1 for one group and 0 for all others."""
    groups = [("grey matter", "deep nuclei"), ("white matter",), ("tumour",), ("haemorrhage",), ("csf",)]
    with pytest.MonkeyPatch.context() as patch:
        for name, tissue in TISSUES.items():
            patch.setitem(TISSUES, name, Tissue(tissue.label, *(float(name in group) for group in groups)))
        affine = head.volumes["labels"].affine.numpy()
        fields = ("ct", "t1", "t2", "spect", "pet")
        values, _ = imaging._paint((160, 192, 128), affine, np.mean(SPACING_MM), draw_subject(0), fields)
    rest = (1 - values.sum(dim=0)) * (head.volumes["labels"].as_tensor()[0] > 0)
    return [*values.numpy(), rest.numpy()]


def tissue_maps_blurred(head, fractions, fwhm_mm):
    """One regressor per group: where it is, blurred by scipy (the geometric transfer matrix of partial volume)."""
    sigma = [fwhm_mm / 2.354820045 / step for step in SPACING_MM]
    brain = np.isin(array(head, "labels"), [7, 8, 9, 10])
    return brain, np.stack([ndimage.gaussian_filter(one, sigma)[brain] for one in fractions], axis=1)


@pytest.mark.parametrize(("name", "fwhm_mm"), [("spect", 9.0), ("pet", 5.0)])
def test_uptake_of_grey_to_white_matter_is_four_to_one(head, fractions, name, fwhm_mm):
    brain, maps = tissue_maps_blurred(head, fractions, fwhm_mm)
    uptake = np.linalg.lstsq(maps, array(head, name)[brain], rcond=None)[0]
    assert uptake[0] / uptake[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("name", "fwhm_mm"), [("spect", 9.0), ("pet", 5.0)])
def test_resolution_of_emission_images_is_that_of_their_scanner(head, fractions, name, fwhm_mm):
    def residual(width):
        brain, maps = tissue_maps_blurred(head, fractions, width)
        return np.linalg.lstsq(maps, array(head, name)[brain], rcond=None)[1][0]

    assert residual(fwhm_mm) < min(residual(fwhm_mm - 1), residual(fwhm_mm + 1))


def test_pet_tumour_is_hot_and_spect_tumour_is_cold(head):
    grey, tumour = inside(head, "grey matter"), inside(head, "tumour")
    assert array(head, "pet")[tumour].mean() > 1.3 * array(head, "pet")[grey].mean()
    assert array(head, "spect")[tumour].mean() < 0.7 * array(head, "spect")[grey].mean()


@pytest.mark.parametrize("fwhm_mm", [5.0, 9.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blur_of_a_point_has_the_full_width_at_half_maximum(fwhm_mm, axis):
    spacing_mm = (0.5, 1.0, 0.8)
    point = torch.zeros(61, 61, 61)
    point[30, 30, 30] = 1
    blurred = gaussian_blur(point, spacing_mm, fwhm_mm).movedim(axis, 0)[:, 30, 30].double().numpy()
    fine = np.linspace(30, 60, 30_001)
    half = fine[np.argmin(np.abs(np.interp(fine, np.arange(61), blurred) - blurred[30] / 2))] - 30
    assert 2 * half * spacing_mm[axis] == pytest.approx(fwhm_mm, rel=0.01)


def test_blur_agrees_with_scipy_and_keeps_the_total():
    volume = torch.rand(40, 30, 20, generator=torch.Generator().manual_seed(0))
    volume[:12] = volume[-12:] = volume[:, :12] = volume[:, -12:] = 0
    volume[..., :9] = volume[..., -9:] = 0
    blurred = gaussian_blur(volume, (1.0, 1.0, 2.0), 4.0).numpy()
    expected = ndimage.gaussian_filter(volume.double().numpy(), np.array([1, 1, 0.5]) * 4 / 2.354820045, truncate=8)
    np.testing.assert_allclose(blurred, expected, atol=2e-4)
    assert blurred.sum() == pytest.approx(float(volume.sum()), rel=1e-3)


def test_same_seed_gives_the_same_bits_and_another_seed_another_head():
    first, again, other = (head_phantom(**SMALL, seed=seed) for seed in (3, 3, 4))
    for name in first.volumes:
        assert torch.equal(first.volumes[name], again.volumes[name])
        assert not torch.equal(first.volumes[name], other.volumes[name])
    assert first.landmarks == again.landmarks
    assert first.landmarks != other.landmarks


def test_volumes_are_channel_first_float32_in_ras(head):
    for name in ("ct", "t1", "t2", "spect", "pet"):
        volume = head.volumes[name]
        assert volume.shape == (1, 160, 192, 128)
        assert volume.dtype == torch.float32
        assert nibabel.aff2axcodes(volume.affine.numpy()) == ("R", "A", "S")
        np.testing.assert_allclose(nibabel.affines.voxel_sizes(volume.affine.numpy()), SPACING_MM)
    assert head.volumes["labels"].dtype == torch.uint8


def centre_mm(phantom, tissue, near):
    """Centroid in RAS mm of a tissue within 20 mm of a point."""
    index = np.argwhere(array(phantom, "labels") == TISSUES[tissue].label)
    world = apply_affine(phantom.volumes["labels"].affine.numpy(), index)
    return world[np.linalg.norm(world - near, axis=1) < 20].mean(axis=0)


@pytest.mark.parametrize("which", ["head", "oblique_head"])
@pytest.mark.parametrize(
    ("landmark", "tissue", "bound_mm"),
    [("right_eye", "vitreous", 1.0), ("left_eye", "vitreous", 1.0), ("pineal", "calcification", 0.8),
     ("haemorrhage", "haemorrhage", 1.2)],
)  # fmt: skip
def test_affine_puts_a_structure_where_its_landmark_is(request, which, landmark, tissue, bound_mm):
    phantom = request.getfixturevalue(which)
    expected = np.array(phantom.landmarks[landmark])
    assert np.linalg.norm(centre_mm(phantom, tissue, expected) - expected) < bound_mm


def test_right_eye_is_at_positive_x(head):
    assert head.landmarks["right_eye"][0] > 20
    assert head.landmarks["left_eye"][0] < -20


def test_head_is_the_same_on_an_oblique_grid(head, oblique_head):
    labels = array(oblique_head, "labels")
    index = np.stack(np.meshgrid(*(np.arange(0, size, 3) for size in labels.shape), indexing="ij"), axis=-1)
    world = apply_affine(oblique_head.volumes["ct"].affine.numpy(), index)
    at = np.moveaxis(apply_affine(np.linalg.inv(head.volumes["ct"].affine.numpy()), world), -1, 0)
    within = np.all([(a > 2) & (a < size - 3) for a, size in zip(at, (160, 192, 128), strict=True)], axis=0)
    ct = ndimage.map_coordinates(array(head, "ct"), at, order=1)[within]
    oblique_ct = array(oblique_head, "ct")[::3, ::3, ::3][within]
    assert np.corrcoef(ct, oblique_ct)[0, 1] > 0.98


@pytest.mark.parametrize(
    "bad", [{"shape": (0, 10, 10)}, {"shape": (10, 10)}, {"spacing_mm": (1.0, -1.0, 1.0)}, {"seed": -1}]
)
def test_impossible_grid_or_seed_is_refused(bad):
    with pytest.raises(InputError, match="positive"):
        head_phantom(**({"shape": (8, 8, 8)} | bad))


def test_datalist_is_one_that_monai_and_the_pair_list_read(written):
    for section, count in (("training", 6), ("validation", 2)):
        items = load_decathlon_datalist(str(written / "datalist.json"), True, section, base_dir=str(written))
        pairs = read_pairs(written, section)
        assert len(items) == len(pairs) == count
        assert {item["modality_b"] for item in items} == {"ct", "spect"}
        for item, pair in zip(items, pairs, strict=True):
            assert item["name"] == pair.name
            assert pair.image_a.is_file()
            assert pair.image_b.is_file()


def test_no_subject_is_in_training_and_in_validation(written):
    lists = json.loads((written / "datalist.json").read_text(encoding="utf-8"))
    training, validation = ({item["case"] for item in lists[section]} for section in ("training", "validation"))
    assert training == {"s00", "s01", "s02"}
    assert validation == {"s03"}


def test_pictures_are_eight_bit_of_256_pixels_and_spect_is_rgb(written):
    for item in json.loads((written / "datalist.json").read_text(encoding="utf-8"))["training"]:
        with Image.open(written / item["image_a"]) as mr, Image.open(written / item["image_b"]) as partner:
            assert mr.size == partner.size == (256, 256)
            assert mr.mode == "L"
            assert partner.mode == {"ct": "L", "spect": "RGB"}[item["modality_b"]]


def test_pictures_show_the_front_up_and_the_right_on_the_left(written):
    phantom = head_phantom(training_set.SLICE_GRID, training_set.SLICE_SPACING_MM, seed=0)
    z = training_set.SLICE_MARGIN
    expected = Image.fromarray(array(phantom, "t1")[::-1, ::-1, z].T).resize((256, 256), Image.Resampling.BICUBIC)
    picture = np.asarray(Image.open(written / f"T1/s00_z{z:03}.png"), dtype=float)
    assert np.corrcoef(picture.ravel(), np.asarray(expected).ravel())[0, 1] > 0.995
    assert np.corrcoef(picture[:, ::-1].ravel(), np.asarray(expected).ravel())[0, 1] < 0.97
    ct = np.asarray(Image.open(written / f"CT/s00_z{z:03}.png"))
    assert (ct[-20:] > 200).any(), "the table is under the head"
    assert not (ct[:5] > 200).any()


def test_volumes_keep_their_units_and_place(written, head):
    volumes = {
        name: nibabel.load(written / "volumes" / f"{name}.nii.gz") for name in ("ct", "t1", "t2", "spect", "pet")
    }
    np.testing.assert_array_equal(volumes["ct"].get_fdata(dtype=np.float32), array(head, "ct"))
    np.testing.assert_allclose(volumes["t1"].affine, head.volumes["t1"].affine.numpy(), atol=1e-6)
    for name, spacing in (("spect", 4.0), ("pet", 3.2)):
        coarse = volumes[name]
        np.testing.assert_allclose(coarse.header.get_zooms(), spacing, atol=1e-6)
        index = np.stack(np.meshgrid(*map(np.arange, coarse.shape), indexing="ij"), axis=-1)
        world = apply_affine(coarse.affine, index)
        at = np.moveaxis(apply_affine(np.linalg.inv(volumes["t1"].affine), world), -1, 0)
        expected = ndimage.map_coordinates(array(head, name), at, order=1, mode="nearest")
        np.testing.assert_allclose(coarse.get_fdata(), expected, atol=0.02)
        assert np.prod(coarse.shape) * spacing**3 < 0.85 * np.prod((160, 192, 128)) * np.prod(SPACING_MM)
    names = {(p.name, p.modality_a, p.modality_b) for p in read_pairs(written / "volumes")}
    assert names == {("t1_ct", "mr", "ct"), ("t1_spect", "mr", "spect"), ("t1_pet", "mr", "pet")}


def test_progress_is_reported_before_each_step(tmp_path):
    steps = []
    write_phantom(tmp_path / "set", subjects=2, slices_per_subject=1, progress=lambda *step: steps.append(step))
    assert steps == [("slices of head 1 of 2", 0.0), ("slices of head 2 of 2", 0.5)]


def test_a_finished_folder_is_not_written_again(written):
    def state():
        return {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in written.rglob("*")}

    before = state()
    assert write_phantom(written, subjects=4, slices_per_subject=2, volumes=True) == written / "datalist.json"
    assert write_phantom(written, subjects=4, slices_per_subject=2) == written / "datalist.json"
    assert state() == before


@pytest.mark.parametrize("kind", ["working folder", "empty folder", "link to a folder"])
def test_an_empty_folder_is_filled(kind, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    if kind == "link to a folder":
        (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder if kind == "working folder" else tmp_path)
    named = {"working folder": ".", "empty folder": "set", "link to a folder": "link"}[kind]
    assert write_phantom(named, subjects=2, slices_per_subject=1).samefile(folder / "datalist.json")
    assert Path(named, "phantom.json").is_file()  # by the working folder as it was
    assert {file.name for file in tmp_path.iterdir()} <= {"set", "link"}


def test_a_folder_with_other_files_is_refused_and_left_alone(written, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        write_phantom(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="another phantom"):
        write_phantom(written, subjects=4, slices_per_subject=2, seed=1)


@pytest.mark.parametrize("bad", [{"subjects": 1}, {"slices_per_subject": 0}, {"slices_per_subject": 99}, {"seed": -1}])
def test_impossible_set_is_refused(tmp_path, bad):
    with pytest.raises(InputError, match="2 subjects or more"):
        write_phantom(tmp_path / "set", **bad)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training_set, "_write_slices", full)
    with pytest.raises(OutputError, match="No space left"):
        write_phantom(tmp_path / "set", subjects=2, slices_per_subject=1)
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_that_write_it_at_once_both_continue(written, tmp_path, monkeypatch):
    folder = tmp_path / "set"

    def slower(new, *_):
        new.mkdir()
        shutil.copytree(written, folder)

    monkeypatch.setattr(training_set, "_write_set", slower)
    assert write_phantom(folder, subjects=4, slices_per_subject=2) == folder / "datalist.json"
    assert [file.name for file in tmp_path.iterdir()] == ["set"]
    assert (folder / "datalist.json").read_bytes() == (written / "datalist.json").read_bytes()
