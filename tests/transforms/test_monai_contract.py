"""The transforms in a script of a MONAI user: with MONAI's own Compose, Invertd, SaveImaged and inferers."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SliceInferer
from monai.transforms import (
    Compose,
    ConcatItemsd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)

from monai_s3im.formats.writing import write_transform
from monai_s3im.inferers import SliceWiseInferer
from monai_s3im.transforms import (
    AlignSourcesd,
    ColorMapd,
    FillUncoveredd,
    JoinSourcesd,
    LoadSourcesd,
    NormalizeModality,
    NormalizeModalityd,
    RandSliced,
    RegisterSourcesd,
    RestoreChrominanced,
    RestoreGridd,
    SplitChrominanced,
    ToSlices,
)

KEYS = ["image_a", "image_b"]
SHAPES = {"image_a": (20, 17, 6), "image_b": (11, 12, 9)}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:monai")


def rotated(spacing, origin, degrees):
    """An oblique affine whose array axes run left, posterior and inferior."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1, -1, -1]) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


AFFINES = {"image_a": rotated((1.0, 1.3, 4.0), (10, 12, 9), 12), "image_b": rotated((2, 2, 3.0), (11, 13, 10), 25)}


@pytest.fixture
def files(tmp_path):
    """Two volumes of smooth content on different grids."""
    found = {}
    for number, key in enumerate(KEYS):
        grid = np.stack(np.meshgrid(*map(np.arange, SHAPES[key]), indexing="ij"), axis=-1)
        x, y, z = np.moveaxis(grid @ AFFINES[key][:3, :3].T + AFFINES[key][:3, 3], -1, 0)
        values = 100 + 40 * np.sin(x / 9 + number) + 30 * np.cos(y / 7) + 2 * z
        found[key] = tmp_path / f"{key}.nii.gz"
        nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINES[key]), found[key])
    return {key: str(file) for key, file in found.items()}


def loading(*spacing):
    return [
        LoadImaged(KEYS, reader="NibabelReader"),
        EnsureChannelFirstd(KEYS),
        *([Spacingd(KEYS, spacing)] if spacing else []),
    ]


def of_source(index):
    """A network that gives one of its sources."""
    return lambda image: image[:, index : index + 1]


def inferers(volume):
    return {"ours": SliceWiseInferer(), "MONAI's": SliceInferer(spatial_dim=2, roi_size=volume.shape[1:3])}


def fuse(preprocessing, files, inferer, orig_key, network, folder, **invert):
    """The voxels and the affine of the file that a script writes."""
    batch = list_data_collate([preprocessing(files)])
    batch["pred"] = inferers(batch["image"][0])[inferer](batch["image"], network)
    back = Invertd("pred", preprocessing, orig_keys=orig_key, **invert)
    save = SaveImaged("pred", output_dir=folder, output_postfix="fused", separate_folder=False, print_log=False)
    save(back(decollate_batch(batch)[0]))
    (file,) = folder.glob("*_fused.nii.gz")
    image = nib.load(file)
    return image.get_fdata(), image.affine


@pytest.mark.parametrize("inferer", ["ours", "MONAI's"])
@pytest.mark.parametrize("join", [JoinSourcesd(KEYS), ConcatItemsd(KEYS, "image")])
def test_a_script_gets_the_grid_and_the_order_of_its_first_source_back(files, tmp_path, inferer, join):
    steps = [*loading(), NormalizeModalityd(KEYS, ["modality_a", "modality_b"]), AlignSourcesd(KEYS), join]
    values, affine = fuse(Compose(steps), files, inferer, "image_a", of_source(0), tmp_path / "out")
    np.testing.assert_allclose(affine, AFFINES["image_a"], atol=1e-4)
    loaded = Compose([*loading(), NormalizeModalityd(KEYS, ["modality_a", "modality_b"])])(files)["image_a"]
    np.testing.assert_allclose(values, loaded[0].clamp(0, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize("inferer", ["ours", "MONAI's"])
def test_invertd_also_inverts_an_earlier_spacing(files, tmp_path, inferer):
    steps = [*loading(1.5, 1.5, 4.0), NormalizeModalityd(KEYS, ["modality_a", "modality_b"]), AlignSourcesd(KEYS)]
    values, affine = fuse(
        Compose([*steps, JoinSourcesd(KEYS)]), files, inferer, "image_a", of_source(0), tmp_path / "out",
        nearest_interp=False,
    )  # fmt: skip
    assert values.shape == SHAPES["image_a"]
    np.testing.assert_allclose(affine, AFFINES["image_a"], atol=1e-4)
    loaded = Compose([*loading(), NormalizeModalityd(KEYS, ["modality_a", "modality_b"])])(files)["image_a"]
    inner = (slice(2, -2), slice(2, -2), slice(1, -1))
    np.testing.assert_allclose(values[inner], loaded[0].clamp(0, 1).numpy()[inner], atol=0.05)


@pytest.mark.parametrize("spacing", [None, "1.5x1.5x3"])
def test_the_other_source_gets_its_own_grid_back_too(files, tmp_path, spacing):
    steps = [*loading(), ScaleIntensityRanged(KEYS, 0, 200, 0, 1), AlignSourcesd(KEYS, spacing=spacing)]
    preprocessing = Compose([*steps, JoinSourcesd(KEYS)])
    given = Compose(loading())(files)["image_b"][0].numpy() / 200
    values, affine = fuse(preprocessing, files, "ours", "image_b", of_source(1), tmp_path / "out", nearest_interp=False)
    assert values.shape == SHAPES["image_b"]
    np.testing.assert_allclose(affine, AFFINES["image_b"], atol=1e-4)
    seen = values > 0.2  # 0 where A does not reach
    assert seen.mean() > 0.1
    inner = np.zeros_like(seen)
    inner[3:-3, 3:-3, 2:-2] = True
    assert np.abs(values - given)[seen & inner].max() < 0.04


def test_the_joined_image_also_restores_the_result(files):
    steps = [*loading(), ScaleIntensityRanged(KEYS, 0, 200, 0, 1), AlignSourcesd(KEYS)]
    preprocessing = Compose([*steps, JoinSourcesd(KEYS, keep=False)])
    data = preprocessing(files)
    assert "image_a" not in data
    data["pred"] = data["image"][:1]
    back = Invertd("pred", preprocessing, orig_keys="image")(data)["pred"]
    assert back.shape[1:] == SHAPES["image_a"]
    np.testing.assert_allclose(back.affine, AFFINES["image_a"], atol=1e-6)


def test_inversion_undoes_a_registration(files, tmp_path):
    movement = np.eye(4)
    movement[:3, 3] = 3, -2, 1
    write_transform(movement, tmp_path / "movement.tfm")
    register = RegisterSourcesd(KEYS, transform=tmp_path / "movement.tfm")
    preprocessing = Compose([*loading(), NormalizeModalityd(KEYS, ["modality_a", "modality_b"]), register])
    data = preprocessing(files)
    assert not np.allclose(data["image_b"].affine, AFFINES["image_b"])
    data["pred"] = data["image_b"].clone()
    back = Invertd("pred", preprocessing, orig_keys="image_b")(data)["pred"]
    np.testing.assert_allclose(back.affine, AFFINES["image_b"], atol=1e-6)
    assert torch.equal(back.as_tensor(), data["image_b"].as_tensor())


STEPS = {
    "LoadSourcesd": LoadSourcesd(KEYS),
    "NormalizeModalityd": NormalizeModalityd(KEYS, ["modality_a", "modality_b"]),
    "RegisterSourcesd": RegisterSourcesd(KEYS),
    "AlignSourcesd": AlignSourcesd(KEYS),
    "ColorMapd": ColorMapd(KEYS),
    "SplitChrominanced": SplitChrominanced(KEYS),
    "JoinSourcesd": JoinSourcesd(KEYS),
    "RandSliced": RandSliced(KEYS, random=False),
    "FillUncoveredd": FillUncoveredd(KEYS),
    "RestoreGridd": RestoreGridd(KEYS),
    "RestoreChrominanced": RestoreChrominanced(KEYS),
}
PUT_BACK = {"RestoreGridd", "RandSliced"}  # the first goes back itself; the second leaves the volume


@pytest.mark.parametrize("name", sorted(STEPS.keys() - PUT_BACK))
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_done_before_is_still_known(name, channels):
    done = {"class": "Before", "id": 1, "orig_size": (8, 8, 4)}
    volume = torch.rand(channels, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    data = {key: MetaTensor(volume, applied_operations=[dict(done)]) for key in KEYS}
    data |= {"modality_a": "mr", "modality_b": "pet"}
    if name == "JoinSourcesd" and channels == 3:
        data = SplitChrominanced(KEYS)(data)
    found = STEPS[name](data)
    for key in KEYS:
        assert found[key].applied_operations[0] == done


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_plain_tensors_and_arrays_are_welcome(name, kind):
    volume = torch.rand(1, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    plain = volume if kind == "tensor" else volume.numpy()
    found = STEPS[name]({"image_a": plain, "image_b": plain})
    expected = STEPS[name]({"image_a": MetaTensor(volume), "image_b": MetaTensor(volume)})
    for key in KEYS:
        np.testing.assert_array_equal(np.asarray(found[key]), np.asarray(expected[key]))


@pytest.mark.parametrize("make", [torch.as_tensor, np.asarray])
def test_the_array_transforms_take_them_as_well(make):
    volume = torch.rand(1, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    for transform in (NormalizeModality(), ToSlices("coronal")):
        np.testing.assert_array_equal(transform(make(volume)).numpy(), transform(MetaTensor(volume)).numpy())
