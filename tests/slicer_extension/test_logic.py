"""Volume nodes in, a fused volume node out: the voxels of ``s3im fuse``, on the reference's grid and position."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from S3IMFusionLib.settings import FusionSettings
from sample_images import blobs, write_volume
from scene_tools import in_ras_order, load, matrix_of, read, rotation, save, voxels_of
from scipy.ndimage import map_coordinates
from typer.testing import CliRunner

from monai_s3im.cli import app

A_SHAPE, B_SHAPE = (20, 24, 10), (16, 14, 12)
A_GRID = rotation(0, 20) @ np.diag([1.5, -1.0, 3.0, 1.0])  # oblique, anisotropic, flipped
A_GRID[:3, 3] = -14, 12, -20
B_GRID = rotation(2, -10, (-15, -16, -18)) @ np.diag([2.0, 2.4, 3.0, 1.0])
MOVED = rotation(1, 15, (4, -3, 2))
TURNED = rotation(2, 90) @ rotation(0, 25, (-3, 5, 1))
SHEARED = np.array([[1.1, 0.2, 0.0, 1.0], [0.0, 0.9, 0.1, 0.0], [0.0, 0.0, 1.0, -2.0], [0.0, 0.0, 0.0, 1.0]])
STILL = np.eye(4)


def values_of(shape, seed, scale=1000.0):
    return (scale * blobs(shape, seed)).astype(np.float32)


def fused_by_command(folder, path_a, path_b, *options):
    """What ``s3im fuse`` writes: voxels (I, J, K) and affine."""
    output = folder / "expected.nrrd"
    result = CliRunner().invoke(app, ["fuse", str(path_a), str(path_b), "--output", str(output), *options])
    assert result.exit_code == 0, result.output
    return read(output)


@pytest.mark.parametrize("reference", ["a", "b"])
@pytest.mark.parametrize(
    ("under_a", "under_b"),
    [(STILL, STILL), (MOVED, STILL), (STILL, TURNED), (TURNED, MOVED), (MOVED, SHEARED), (SHEARED, TURNED)],
    ids=["none", "A moved", "B moved", "both moved", "B sheared", "A sheared"],
)
def test_voxels_are_those_of_the_command_on_hardened_files(
    logic, scene, add_volume, add_transform, tmp_path, reference, under_a, under_b
):
    a, b = values_of(A_SHAPE, 1), values_of(B_SHAPE, 2)
    node_a, node_b = add_volume("MR head", a.T, A_GRID), add_volume("PET head", b.T, B_GRID)
    transform_a, transform_b = add_transform(under_a, node_a), add_transform(under_b, node_b)
    fused = logic.process(node_a, node_b, settings=FusionSettings(reference=reference))

    file_a = write_volume(tmp_path / "a.nrrd", array=a, affine=under_a @ A_GRID)
    file_b = write_volume(tmp_path / "b.nrrd", array=b, affine=under_b @ B_GRID)
    options = ("--modality-a", "mr", "--modality-b", "pet", "--reference", reference)
    voxels, affine = fused_by_command(tmp_path, file_a, file_b, *options)
    np.testing.assert_array_equal(voxels_of(fused).swapaxes(0, 2), voxels)

    grid, under, transform = {"a": (A_GRID, under_a, transform_a), "b": (B_GRID, under_b, transform_b)}[reference]
    np.testing.assert_allclose(matrix_of(fused), grid, atol=1e-4)
    assert fused.GetParentTransformNode() is transform
    np.testing.assert_allclose(under @ matrix_of(fused), affine, atol=1e-4)


def test_a_sheared_volume_is_resampled_right(logic, add_volume, add_transform, tmp_path):
    """B, sheared, against scipy's linear interpolation of B on A's grid; CT, whose window knows no percentiles."""
    a, b = values_of(A_SHAPE, 1), values_of((40, 44, 40), 2, scale=1500.0) - 900
    grid_b = np.diag([2.0, 2.0, 2.0, 1.0])
    grid_b[:3, 3] = -44, -44, -40
    node_a, node_b = add_volume("MR", a.T, A_GRID), add_volume("CT", b.T, grid_b)
    add_transform(SHEARED, node_b)
    settings, logic.as_fractions = FusionSettings(window="full"), True
    fused = voxels_of(logic.process(node_a, node_b, settings=settings))

    index = np.indices(A_SHAPE).reshape(3, -1)
    to_b = np.linalg.inv(SHEARED @ grid_b) @ A_GRID
    moved = map_coordinates(b.astype(float), to_b[:3, :3] @ index + to_b[:3, 3:], order=1).reshape(A_SHAPE)
    expected = voxels_of(logic.process(node_a, add_volume("CT", moved.astype(np.float32).T, A_GRID), settings=settings))
    np.testing.assert_allclose(fused, expected, atol=2e-5)


def show_in(scene, node, colors):
    """Show a volume in a colour table, (256, 3) of 0 to 255."""
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Table")
    table.SetTypeToUser()
    table.SetNumberOfColors(256)
    for index, (red, green, blue) in enumerate(colors / 255):
        table.SetColor(index, red, green, blue, 1.0)
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())


@pytest.mark.parametrize("gray", [False, True])
def test_uptake_has_the_colours_in_which_slicer_shows_it(logic, scene, add_volume, tmp_path, gray):
    a, b = values_of(A_SHAPE, 1), values_of(B_SHAPE, 2)
    node_a, node_b = add_volume("MR", a.T, A_GRID), add_volume("PET", b.T, B_GRID)
    colors = np.stack([np.arange(256), 255 - np.arange(256), np.full(256, 7)], axis=-1)
    show_in(scene, node_b, colors)
    fused = logic.process(node_a, node_b, settings=FusionSettings(gray=gray))

    np.savetxt(tmp_path / "colors.txt", colors, fmt="%d")
    files = [
        write_volume(tmp_path / f"{name}.nrrd", array=array, affine=grid)
        for name, array, grid in (("a", a, A_GRID), ("b", b, B_GRID))
    ]
    options = ["--modality-a", "mr", "--modality-b", "pet", "--color-map", str(tmp_path / "colors.txt")]
    voxels, _ = fused_by_command(tmp_path, *files, *options, *(["--gray"] if gray else []))
    voxels = np.rint(10000 * voxels) if gray else voxels
    assert fused.GetClassName() == ("vtkMRMLScalarVolumeNode" if gray else "vtkMRMLVectorVolumeNode")
    np.testing.assert_array_equal(voxels_of(fused).swapaxes(0, 2), voxels)


@pytest.mark.parametrize("components", [3, 4])
def test_rgb_is_fused_as_the_command_does(logic, add_volume, tmp_path, components):
    a = values_of(A_SHAPE, 1)
    rgb = np.stack([values_of(A_SHAPE, seed, 255) for seed in range(components)], axis=-1).astype(np.uint8)
    fused = logic.process(add_volume("MR", a.T, A_GRID), add_volume("Photo", rgb.swapaxes(0, 2), A_GRID))

    file_a = write_volume(tmp_path / "a.nrrd", array=a, affine=A_GRID)
    image, geometry = sitk.GetImageFromArray(rgb.swapaxes(0, 2), isVector=True), sitk.ReadImage(str(file_a))
    image.CopyInformation(geometry)
    sitk.WriteImage(image, str(tmp_path / "b.nrrd"))
    voxels, _ = fused_by_command(tmp_path, file_a, tmp_path / "b.nrrd", "--modality-a", "mr")
    assert voxels.dtype == np.uint8
    np.testing.assert_array_equal(voxels_of(fused).swapaxes(0, 2), voxels)


def test_rgb_of_equal_channels_is_gray(logic, add_volume):
    gray = values_of(A_SHAPE, 2, 255).astype(np.uint8).T
    fused = logic.process(add_volume("MR", values_of(A_SHAPE, 1).T), add_volume("Photo", np.stack([gray] * 3, axis=-1)))
    assert fused.GetClassName() == "vtkMRMLScalarVolumeNode"


def test_ranges_of_the_sources_are_applied_as_the_command_does(logic, add_volume, tmp_path):
    a, b = values_of(A_SHAPE, 1), values_of(A_SHAPE, 2)
    nodes = add_volume("MR head", a.T, A_GRID), add_volume("PET head", b.T, A_GRID)
    files = [
        write_volume(tmp_path / f"{name}.nrrd", array=array, affine=A_GRID) for name, array in (("a", a), ("b", b))
    ]
    modalities = ("--modality-a", "mr", "--modality-b", "pet")
    usual, _ = fused_by_command(tmp_path, *files, *modalities)
    expected, _ = fused_by_command(tmp_path, *files, *modalities, "--range-a", "100,800", "--range-b", "0,400")
    fused = logic.process(*nodes, settings=FusionSettings(range_a="100,800", range_b="0,400"))
    np.testing.assert_array_equal(voxels_of(fused).swapaxes(0, 2), expected)
    assert not np.array_equal(expected, usual)


def test_the_displayed_window_of_a_ct_is_used_on_request(logic, add_volume):
    mr, ct = add_volume("MR", values_of(A_SHAPE, 1).T), add_volume("CT", (values_of(A_SHAPE, 2, 1500) - 900).T)
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevel(300, 40)
    as_shown = logic.process(mr, ct, settings=FusionSettings(window="display"))
    np.testing.assert_array_equal(
        voxels_of(as_shown), voxels_of(logic.process(mr, ct, settings=FusionSettings(window="-110,190")))
    )
    usual = voxels_of(logic.process(mr, ct))
    ct.GetDisplayNode().SetWindowLevel(2000, 0)
    np.testing.assert_array_equal(voxels_of(logic.process(mr, ct)), usual)
    assert not np.array_equal(usual, voxels_of(as_shown))


def test_finer_grid_is_that_of_the_smaller_voxels_in_the_world(logic, add_volume, add_transform):
    """B's voxels are smaller in its own frame, 1.5 mm^3 of 2, and larger in the world, where B is twice as long."""
    a = add_volume("MR", values_of(A_SHAPE, 1).T, np.diag([1.0, 1.0, 2.0, 1.0]))
    b = add_volume("MR b", values_of(B_SHAPE, 2).T, np.diag([1.0, 1.0, 1.5, 1.0]))
    settings = FusionSettings(reference="finer")
    assert voxels_of(logic.process(a, b, settings=settings)).shape == B_SHAPE[::-1]
    add_transform(np.diag([2.0, 1.0, 1.0, 1.0]), b)
    assert voxels_of(logic.process(a, b, settings=settings)).shape == A_SHAPE[::-1]


def landmark(shape, grid, point, sigma=4.0):
    """A Gaussian blob at a point of the world; (K, J, I)."""
    index = np.indices(shape).reshape(3, -1)
    distance = np.linalg.norm(grid[:3, :3] @ index + grid[:3, 3:] - np.reshape(point, (3, 1)), axis=0)
    return (1000 * np.exp(-((distance / sigma) ** 2) / 2)).reshape(shape).astype(np.float32).T


def centre_of(voxels, to_world):
    """The centre of the brightest voxels in mm of the world."""
    gray = np.asarray(voxels, float)
    at = np.argwhere(gray > 0.8 * gray.max())[:, ::-1].mean(axis=0)
    return to_world[:3, :3] @ at + to_world[:3, 3]


@pytest.mark.parametrize("under_b", [STILL, rotation(0, 20, (0, 8, 0))], ids=["A moved", "both moved"])
def test_a_landmark_stays_where_it_is_when_the_reference_is_moved(logic, add_volume, add_transform, under_b):
    """Slicer's own resampler (5.8 to 5.13) does not bring it onto the reference, which is why it is not used."""
    import slicer

    grid = np.diag([2.0, 2.0, 2.0, 1.0])
    grid[:3, 3] = -40
    below, under_a = np.array([10.0, -8.0, 6.0]), rotation(2, 30, (12, 0, 0))
    point = (under_b @ [*below, 1.0])[:3]
    water = np.zeros((40, 40, 40), np.int16)
    water[0, 0, 0] = -1000
    node_a = add_volume("CT", water, grid)
    node_b = add_volume("MR", landmark((40, 40, 40), grid, below), grid)
    transform_a, transform_b = add_transform(under_a, node_a), add_transform(under_b, node_b)

    of_slicer = slicer.vtkSlicerVolumesLogic.ResampleVolumeToReferenceVolume(node_b, node_a)
    np.testing.assert_allclose(matrix_of(of_slicer), grid)
    assert of_slicer.GetParentTransformNode() is transform_b
    assert np.linalg.norm(centre_of(voxels_of(of_slicer), under_a @ grid) - point) > 5

    fused = logic.process(node_a, node_b, settings=FusionSettings(window="full"))
    np.testing.assert_allclose(matrix_of(fused), grid)
    assert fused.GetParentTransformNode() is transform_a
    assert np.linalg.norm(centre_of(voxels_of(fused), under_a @ grid) - point) < 0.5


def test_outside_of_a_cts_field_of_view_it_is_air(logic, add_volume):
    """Where only the MR is, the fused volume is the MR, as in the library; 0 HU would be soft tissue."""
    shape = (24, 24, 12)
    mr = add_volume("MR", values_of(shape, 1).T)
    half = values_of((12, 24, 12), 2, scale=1500.0) - 900
    fused = voxels_of(logic.process(mr, add_volume("CT", half.T), settings=FusionSettings(window="full")))
    alone = values_of(shape, 1)
    low, high = json.loads(fused_record(logic))["sources"]["image_a"]["intensity_range"]
    expected = np.clip((alone - low) / (high - low), 0, 1).T[..., 14:]
    np.testing.assert_allclose(fused[..., 14:], 10000 * expected, atol=0.51)  # 0.5 of rounding, 1e-6 of the library


def fused_record(logic):
    return logic._run.output_node.GetAttribute("S3IMFusion.Record")


def real_pair(shared_data, folder, name):
    """Two files and their modalities."""
    volumes = shared_data / "data" / "volumes"
    if name.startswith("PET and MR"):
        files, modalities = [volumes / "pet_mr_template" / file for file in ("T1.nii", "PET.nii")], ("mr", "pet")
        slices = np.s_[:, :, 40:56] if name == "PET and MR, left-handed" else np.s_[:, :, :]
    else:
        files, modalities = (
            [volumes / "chris_t1_pd_pcasl" / f"chris_{kind}.nii.gz" for kind in ("PD", "t1")],
            ("mr", "mr"),
        )
        slices = np.s_[:, 100:148, 22:30]
    nib.save(nib.load(files[0]).slicer[slices], folder / "a.nii")
    return folder / "a.nii", files[1], modalities


@pytest.mark.parametrize(
    "name",
    [
        "PET and MR, left-handed",
        "PD and T1, oblique",
        pytest.param("PET and MR, all slices", marks=pytest.mark.slow),
    ],
)
def test_real_files_through_the_scene_and_back_have_the_voxels_of_the_command(
    logic, scene, shared_data, tmp_path, name
):
    file_a, file_b, modalities = real_pair(shared_data, tmp_path, name)
    settings = FusionSettings(modality_a=modalities[0], modality_b=modalities[1])
    node_a, node_b = load(scene, file_a, "A"), load(scene, file_b, "B")
    logic.as_fractions = True
    fused = logic.process(node_a, node_b, settings=settings)
    assert fused.GetName() == "A + B fused"
    voxels, affine = save(scene, fused, tmp_path / "fused.nrrd")

    options = ("--modality-a", modalities[0], "--modality-b", modalities[1])
    expected, expected_affine = fused_by_command(tmp_path, file_a, file_b, *options)
    assert voxels.dtype == expected.dtype
    voxels, affine = in_ras_order(voxels, affine)
    expected, expected_affine = in_ras_order(expected, expected_affine)
    np.testing.assert_allclose(affine, expected_affine, atol=1e-4)
    # Slicer and nibabel read the geometry of a NIfTI file, which is in single precision, alike to 1e-7 mm;
    # the network raises what that changes in the sources by up to 2 at each of its levels.
    np.testing.assert_allclose(voxels, expected, atol=0 if voxels.dtype == np.uint8 else 1e-5, rtol=0)

    saved = [tmp_path / "a.nrrd", tmp_path / "b.nrrd"]
    for node, file in zip((node_a, node_b), saved, strict=True):
        save(scene, node, file)
    expected, expected_affine = in_ras_order(*fused_by_command(tmp_path, *saved, *options))
    np.testing.assert_array_equal(voxels, expected)


def test_gray_is_stored_in_whole_numbers_with_ten_thousand_for_one(logic, add_volume):
    pair = add_volume("MR", values_of(A_SHAPE, 1).T, A_GRID), add_volume("CT", values_of(A_SHAPE, 2).T - 900, A_GRID)
    fused = logic.process(*pair)
    assert voxels_of(fused).dtype == np.int16
    assert fused.GetAttribute("S3IMFusion.FullScale") == "10000"
    logic.as_fractions = True
    fractions = logic.process(*pair)
    assert voxels_of(fractions).dtype == np.float32
    assert fractions.GetAttribute("S3IMFusion.FullScale") is None
    assert (fractions.GetDisplayNode().GetWindow(), fractions.GetDisplayNode().GetLevel()) == (1.0, 0.5)
    np.testing.assert_array_equal(voxels_of(fused), np.rint(10000 * voxels_of(fractions)))
