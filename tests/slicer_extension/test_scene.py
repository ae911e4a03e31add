"""Volume nodes as sources: problems, modality, colours, field of view."""

import numpy as np
import pytest
import vtk
from S3IMFusionLib.logic import FusionLogic
from S3IMFusionLib.scene import do_overlap, problems_of, source_of
from S3IMFusionLib.settings import FusionSettings
from sample_images import blobs
from scene_tools import rotation, state_of

VOXELS = (1000 * blobs((6, 5, 4))).astype(np.int16).T


@pytest.fixture
def logic(scene):
    """Nothing here needs the process."""
    return FusionLogic(scene)


def test_nothing_chosen_is_reported(logic):
    assert logic.check(None, None) == ["Choose volume A.", "Choose volume B."]


def test_two_volumes_are_fine_and_are_not_touched(logic, scene, add_volume):
    a, b = add_volume("CT", VOXELS), add_volume("MR", VOXELS)
    before = state_of(scene)
    assert logic.check(a, b) == []
    assert logic.warnings(a, b) == []
    assert state_of(scene) == before


def test_the_same_volume_twice_is_refused(logic, add_volume):
    node = add_volume("MR", VOXELS)
    assert logic.check(node, node) == ["Volumes A and B are the same: choose two different volumes."]


def test_an_input_as_output_is_refused(logic, add_volume):
    a, b = add_volume("CT", VOXELS), add_volume("MR", VOXELS)
    assert logic.check(a, b, output=b) == ["The output, 'MR', is an input: choose another, or a new volume."]


def test_an_empty_volume_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "New")
    assert problems_of(node, "A") == ["Volume A, 'New', is empty: load or choose another volume."]


def test_a_label_map_is_refused(add_volume):
    node = add_volume("Labels", VOXELS, class_name="vtkMRMLLabelMapVolumeNode")
    assert problems_of(node, "B") == ["Volume B, 'Labels', is a label map, not an image: choose an image."]


def test_a_diffusion_volume_is_refused_as_4d(add_volume):
    node = add_volume("DWI", np.stack([VOXELS] * 7, axis=-1), class_name="vtkMRMLDiffusionWeightedVolumeNode")
    assert problems_of(node, "A") == ["Volume A, 'DWI', is 4D with 7 frames: choose one frame, as a separate volume."]


def test_a_sequence_is_not_a_volume(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "PET 4D")
    (problem,) = problems_of(node, "A")
    assert problem == "Volume A, 'PET 4D', is a sequence: choose the volume of one time point."


def test_vectors_that_are_not_colours_are_refused(add_volume):
    node = add_volume("Field", np.zeros((4, 5, 6, 3), np.float32))
    assert problems_of(node, "A") == [
        "Volume A, 'Field', has 3 values of type float per voxel and is not RGB: choose another volume."
    ]


@pytest.mark.parametrize("components", [3, 4])
def test_rgb_and_rgba_of_8_bit_are_fine(add_volume, components):
    assert problems_of(add_volume("Photo", np.zeros((4, 5, 6, components), np.uint8)), "A") == []


def test_another_node_is_not_a_volume(scene):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Move")
    assert problems_of(node, "A") == ["Volume A, 'Move', is not a volume: choose a scalar or colour volume."]


def test_a_nonlinear_transform_is_refused_with_the_remedy(scene, add_volume, add_transform):
    node = add_volume("MR", VOXELS)
    grid = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Warp")
    add_transform(np.eye(4), node).SetAndObserveTransformNodeID(grid.GetID())
    warp, field = vtk.vtkGridTransform(), vtk.vtkImageData()
    field.SetDimensions(2, 2, 2)
    field.AllocateScalars(vtk.VTK_DOUBLE, 3)
    field.GetPointData().GetScalars().Fill(0.5)
    warp.SetDisplacementGridData(field)
    grid.SetAndObserveTransformFromParent(warp)
    (problem,) = problems_of(node, "A")
    assert problem.startswith("Volume A, 'MR', has the nonlinear parent transform 'Transform': harden it")


def test_a_transform_that_flattens_is_refused(add_volume, add_transform):
    node = add_volume("MR", VOXELS)
    add_transform(np.diag([1.0, 1.0, 0.0, 1.0]), node)
    (problem,) = problems_of(node, "A")
    assert "has degenerate axes" in problem


def test_volumes_apart_are_refused_unless_they_are_to_be_registered(logic, add_volume, add_transform):
    a, b = add_volume("CT", VOXELS), add_volume("MR", VOXELS)
    add_transform(rotation(0, 0, (50, 0, 0)), b)
    (problem,) = logic.check(a, b)
    assert problem.startswith("'CT' and 'MR' do not overlap in space: check that they show one patient")
    assert logic.check(a, b, FusionSettings(register="rigid")) == []


TURNED = rotation(2, 45)


@pytest.mark.parametrize(
    ("to_world", "overlap"),
    [
        (rotation(0, 0, (5.9, 0, 0)), True),
        (rotation(0, 0, (6.0, 0, 0)), False),
        (rotation(0, 0, (0, 4.9, 0)), True),
        (rotation(0, 0, (0, 0, -4.0)), False),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), True),
        (rotation(2, 45, (5.5 + 2.5, 4.5 + 2.5 - 0.5 * 2**0.5, 0)), False),  # the boxes along the axes would meet
        (rotation(2, 45, (5.5, 4.5, 0)), True),
    ],
)
def test_overlap_is_that_of_the_oblique_boxes(add_volume, add_transform, to_world, overlap):
    """6 x 5 x 4 voxels of 1 mm each, the centres of the first at the origin."""
    a, b = add_volume("CT", VOXELS), add_volume("MR", VOXELS)
    add_transform(to_world, b)
    assert do_overlap(source_of(a), source_of(b)) is overlap
    assert do_overlap(source_of(b), source_of(a)) is overlap


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("CTChest", "ct"),
        ("CTACardio", "ct"),
        ("3: CT head", "ct"),
        ("sub-01_ct", "ct"),
        ("MRHead", "mr"),
        ("MRBrainTumor1", "mr"),
        ("sub-01_T1w", "mr"),
        ("chris_t1", "mr"),
        ("FLAIR.nii", "mr"),
        ("PET", "pet"),
        ("18F-FDG brain", "pet"),
        ("SPECT perfusion", "spect"),
        ("direct view", None),
        ("Petra", None),
        ("Carpet", None),
        ("T10 vertebra", None),
        ("PET-CT", None),
        ("3: Unnamed", None),
    ],
)
def test_modality_is_recognised_by_the_name(add_volume, name, modality):
    source = source_of(add_volume(name, VOXELS))
    assert (source.modality, source.modality_by) == (modality, "name" if modality else "values")


@pytest.mark.parametrize(("tag", "modality"), [("PT", "pet"), ("NM", "spect"), ("MR", "mr"), ("OT", None)])
def test_dicom_modality_counts_before_the_name(scene, add_volume, tag, modality):
    node = add_volume("Series 3" if modality is None else "CT", VOXELS)
    hierarchy = scene.AddNewNodeByClass("vtkMRMLSubjectHierarchyNode")
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemAttribute(hierarchy.CreateItem(study, node), "DICOM.Modality", tag)
    source = source_of(node)
    assert (source.modality, source.modality_by) == (modality, "dicom" if modality else "values")


def test_chosen_modality_counts_before_all(add_volume):
    source = source_of(add_volume("CT", VOXELS), "mr")
    assert (source.modality, source.modality_by) == ("mr", "user")


def test_unknown_modality_gives_a_warning(logic, add_volume):
    assert logic.warnings(add_volume("Series 3", VOXELS), add_volume("CT", VOXELS)) == [
        "The modality of 'Series 3' is unknown and will be guessed from its values: choose it if you can."
    ]


def show_in(node, color_node_id):
    node.GetDisplayNode().SetAndObserveColorNodeID(color_node_id)
    return node


def a_table(scene, colors, name="Table"):
    """A colour node of 256 given colours, (256, 3) of 0 to 255."""
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    node.SetNumberOfColors(256)
    for index, (red, green, blue) in enumerate(colors / 255):
        node.SetColor(index, red, green, blue, 1.0)
    return node


COLORS = np.stack([np.arange(256), 255 - np.arange(256), np.full(256, 7)], axis=-1)


def test_colours_are_those_of_the_display(scene, add_volume):
    pet = show_in(add_volume("PET", VOXELS), a_table(scene, COLORS).GetID())
    np.testing.assert_array_equal(source_of(pet).colors, COLORS)
    pet.GetDisplayNode().SetInvertDisplayScalarRange(True)
    np.testing.assert_array_equal(source_of(pet).colors, COLORS[::-1])


def test_procedural_colours_are_sampled_over_their_range(scene, add_volume):
    node, points = scene.AddNewNodeByClass("vtkMRMLProceduralColorNode"), vtk.vtkColorTransferFunction()
    points.AddRGBPoint(10, 0, 0, 0)
    points.AddRGBPoint(30, 1, 0.5, 0)
    node.GetColorTransferFunction().DeepCopy(points)
    colors = source_of(show_in(add_volume("PET", VOXELS), node.GetID())).colors
    np.testing.assert_array_equal(colors[[0, 51, 255]], [[0, 0, 0], [51, 26, 0], [255, 128, 0]])


def test_gray_is_not_colour(add_volume):
    assert source_of(show_in(add_volume("PET", VOXELS), "vtkMRMLColorTableNodeGrey")).colors is None


def test_anatomy_has_no_colour_however_it_is_shown(scene, add_volume):
    assert source_of(show_in(add_volume("MR", VOXELS), a_table(scene, COLORS).GetID())).colors is None


def test_a_coloured_volume_of_unknown_modality_counts_as_uptake(scene, add_volume):
    source = source_of(show_in(add_volume("Series 3", VOXELS), a_table(scene, COLORS).GetID()))
    assert source.modality == "pet"
    np.testing.assert_array_equal(source.colors, COLORS)


def test_two_colours_give_a_warning(logic, scene, add_volume):
    pet = show_in(add_volume("PET", VOXELS), a_table(scene, COLORS).GetID())
    spect = show_in(add_volume("SPECT", VOXELS), a_table(scene, COLORS[::-1]).GetID())
    assert logic.warnings(pet, spect) == ["Both volumes are shown in colour: the colours of 'SPECT' are used for both."]
    assert logic.warnings(pet, spect, FusionSettings(color_map="hot")) == []


@pytest.mark.parametrize("text", ["6,0", "0", "0,many", "-inf,5", "1;2"])
def test_a_range_that_is_not_two_numbers_is_reported(logic, add_volume, text):
    volumes = [add_volume(name, np.ones((4, 4, 4), np.float32)) for name in ("MR", "PET")]
    assert logic.check(*volumes, FusionSettings(range_a="0, 6")) == []
    (problem,) = logic.check(*volumes, FusionSettings(range_b=text))
    assert problem.startswith(f"The range of B, '{text}', is not two ascending numbers: write it like 0,6")


def test_displayed_window_needs_a_ct(logic, add_volume):
    a, b = add_volume("MR", VOXELS), add_volume("MR 2", VOXELS)
    settings = FusionSettings(window="display")
    assert logic.check(a, b, settings) == [
        "The displayed window is selected, but no volume is a CT: choose the modalities."
    ]


def test_voxels_are_written_as_they_are_with_the_geometry_of_the_world(add_volume, add_transform, tmp_path):
    grid, above, outer = rotation(1, 33, (3, 2, 1)) @ np.diag([0.7, 1.3, 2.1, 1.0]), rotation(0, 12), rotation(2, 7)
    node = add_volume("CT", VOXELS, grid)
    add_transform(outer, add_transform(above, node))
    written = source_of(node).write(tmp_path / "a.npy")
    loaded = np.load(tmp_path / "a.npy")
    assert loaded.dtype == np.int16
    np.testing.assert_array_equal(loaded, VOXELS)
    np.testing.assert_allclose(written["affine"], outer @ above @ grid, atol=1e-12)
    assert written["modality"] == "ct"


@pytest.mark.parametrize("arguments", [{"reference": "c"}, {"register": "warp"}, {"slice_batch": 0}])
def test_settings_that_there_are_not_are_refused(arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        FusionSettings(**arguments)
