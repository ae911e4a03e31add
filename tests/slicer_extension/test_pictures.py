"""Pictures of a fused volume in Slicer's slice views, made by its slice logic without OpenGL.

The pictures in ``golden/`` are those of the head phantom: rows axial, coronal, sagittal; columns A, B, fused. To update
one, look at the new picture, whose path a failure gives, and copy it over.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scene_tools import rotation
from vtk.util.numpy_support import vtk_to_numpy

from monai_s3im.phantom import head_phantom

GOLDEN = Path(__file__).parent / "golden"
SIZE = (96, 96)
FIELD_MM = (240, 240)
CENTRE = (0.0, 0.0, 8.0)  # mm RAS
PLANES = ("Axial", "Coronal", "Sagittal")


@pytest.fixture(scope="module")
def phantom():
    """A small head, tilted by 12 degrees."""
    return head_phantom((80, 96, 40), (2.4, 2.4, 4.0), oblique_deg=12).volumes


@pytest.fixture
def add_head(phantom, add_volume):
    """Adds the phantom in a modality."""
    return lambda name, key: add_volume(name, phantom[key][0].numpy().T, phantom[key].affine.numpy())


@pytest.fixture
def picture_of(application_logic, scene):
    """Makes the picture of a volume in a slice view, (rows, columns, RGB)."""
    import slicer

    node, logic = scene.CreateNodeByClass("vtkMRMLSliceNode"), slicer.vtkMRMLSliceLogic()
    node.SetName("Red")
    node.SetLayoutName("Red")
    scene.AddNode(node)
    logic.SetMRMLApplicationLogic(application_logic)
    logic.SetMRMLScene(scene)
    logic.SetSliceNode(node)

    def picture(volume, plane="Axial"):
        node.SetOrientation(plane)
        node.SetDimensions(*SIZE, 1)
        node.SetFieldOfView(*FIELD_MM, 1)
        node.SetSliceOrigin(0, 0, 0)
        node.JumpSliceByCentering(*CENTRE)
        logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        logic.UpdatePipeline()
        producer = logic.GetImageDataConnection().GetProducer()
        producer.Update()
        image = producer.GetOutput()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*SIZE[::-1], -1)[::-1, :, :3]

    yield picture
    logic.SetSliceNode(None)
    logic.SetMRMLScene(None)
    logic.SetMRMLApplicationLogic(None)


def check_golden(name, pictures, folder):
    """Equal to the picture in golden/ except for rounding, and for pixels on an edge that rounding moves."""
    new = np.concatenate([np.concatenate(row, axis=1) for row in pictures], axis=0)
    Image.fromarray(np.ascontiguousarray(new)).save(folder / name, optimize=True)
    golden = np.asarray(Image.open(GOLDEN / name).convert("RGB")).astype(int)
    assert golden.shape == new.shape
    share = (np.abs(golden - new).max(axis=-1) > 2).mean()
    assert share < 1e-3, f"{share:.1%} of the pixels of {folder / name} are not those of golden/{name}"


def test_ct_and_mr_that_only_their_transforms_bring_together(
    logic, phantom, add_head, add_volume, add_transform, picture_of, tmp_path
):
    moved = rotation(2, 25, (15, -10, 5))
    ct = add_volume("CT", phantom["ct"][0].numpy().T, np.linalg.inv(moved) @ phantom["ct"].affine.numpy())
    add_transform(moved, ct)
    mr = add_head("MR", "t1")
    fused = logic.process(ct, mr)
    check_golden("ct_mr.png", [[picture_of(node, plane) for node in (ct, mr, fused)] for plane in PLANES], tmp_path)


def test_mr_and_pet_in_the_colours_of_the_display(logic, scene, add_head, picture_of, tmp_path):
    mr, pet = add_head("MR", "t1"), add_head("PET", "pet")
    pet.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
    fused = logic.process(mr, pet)
    check_golden("mr_pet.png", [[picture_of(node, plane) for node in (mr, pet, fused)] for plane in PLANES], tmp_path)


def test_fused_volume_lies_on_a_moved_reference_in_the_view(logic, add_head, add_transform, picture_of):
    """Under a common transform, the view of the fused volume moves with that of the sources."""
    ct, mr = add_head("CT", "ct"), add_head("MR", "t1")
    fused = logic.process(ct, mr)
    still = picture_of(fused).astype(int)
    transform = add_transform(rotation(0, 0, (30, 0, 0)), ct, mr)
    moved_fused = logic.process(ct, mr)
    assert moved_fused.GetParentTransformNode() is transform
    moved = picture_of(moved_fused).astype(int)
    # 30 mm are 12 pixels, to the patient's right, which is left in the picture
    np.testing.assert_allclose(moved[:, :-12], still[:, 12:], atol=1)
