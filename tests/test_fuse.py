import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor
from PIL import Image
from references.geometry_reference import in_field_of_view
from sample_images import GRID, SHAPE, SMALLER, blobs, itk_affine, write_picture, write_volume

from monai_s3im.bundle_config import bundle_root
from monai_s3im.errors import InputError, OutputError
from monai_s3im.formats.reading import read_image
from monai_s3im.formats.writing import sha256_of
from monai_s3im.pipeline import Fuser, fuse
from monai_s3im.transforms import NormalizeModality


@pytest.fixture
def volumes(tmp_path):
    return write_volume(tmp_path / "a.nii.gz", 0), write_volume(tmp_path / "b.nii.gz", 5)


def test_two_gray_pictures_give_a_gray_picture(fuser, pictures, tmp_path):
    fused = fuser(*pictures, tmp_path / "out.png")
    assert fused.shape == (1, 20, 24)
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "L"
        assert np.array_equal(np.asarray(written), np.rint(255 * fused[0].numpy()))


def test_a_coloured_picture_makes_the_result_coloured(fuser, pictures, tmp_path):
    colour = write_picture(tmp_path / "colour.png", 7, colour=True)
    fused = fuser(pictures[0], colour, tmp_path / "out.png")
    assert fused.shape == (3, 20, 24)
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "RGB"
        assert np.array_equal(np.moveaxis(np.asarray(written), -1, 0), np.rint(255 * fused.numpy()))


def test_gray_leaves_the_colour_out(pictures, tmp_path):
    colour = write_picture(tmp_path / "colour.png", 7, colour=True)
    assert fuse(pictures[0], colour, gray=True, device="cpu").shape == (1, 20, 24)


def check_geometry(path, shape, affine):
    """The grid of a written volume, as nibabel and as SimpleITK read it."""
    np.testing.assert_allclose(itk_affine(path), affine, rtol=0, atol=1e-4)
    assert sitk.ReadImage(str(path)).GetSize() == shape
    if ".nii" in path.name:
        image = nib.load(path)
        assert image.shape[:3] == shape
        for name in ("sform", "qform"):
            matrix, code = getattr(image, f"get_{name}")(coded=True)
            assert code > 0
            np.testing.assert_allclose(matrix, affine, rtol=0, atol=1e-4)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "in-plane"])
def test_a_fused_volume_has_the_grid_of_image_a_in_every_plane(volumes, tmp_path, plane):
    fused = fuse(*volumes, tmp_path / "out.nii.gz", plane=plane, device="cpu")
    assert fused.shape == (1, *SHAPE)
    np.testing.assert_allclose(fused.affine, GRID, rtol=0, atol=1e-5)
    check_geometry(tmp_path / "out.nii.gz", SHAPE, GRID)
    assert np.array_equal(nib.load(tmp_path / "out.nii.gz").get_fdata(dtype=np.float32), fused[0].numpy())


@pytest.mark.parametrize("modality_b", ["mr", "pet"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_grid_is_that_of_image_a_for_any_image_b_and_any_format(fuser, volumes, tmp_path, suffix, modality_b):
    image_b = write_volume(tmp_path / f"small{suffix}", 5, *SMALLER)
    output = tmp_path / f"out{suffix}"
    fused = fuser(volumes[0], image_b, output, "mr", modality_b)
    check_geometry(output, SHAPE, GRID)
    expected = fused.numpy() if modality_b == "mr" else np.rint(255 * fused.numpy())
    assert np.array_equal(read_image(output).numpy(), expected)


@pytest.mark.parametrize("modality_b", ["mr", "pet"])
def test_outside_the_field_of_view_of_b_the_result_is_exactly_normalised_a(fuser, volumes, tmp_path, modality_b):
    image_b = write_volume(tmp_path / "small.nii.gz", 5, *SMALLER)
    fused = fuser(volumes[0], image_b, None, "mr", modality_b).as_tensor()
    outside = torch.as_tensor(~in_field_of_view(*SMALLER, SHAPE, GRID))
    assert 0 < outside.sum() < outside.numel()
    expected = NormalizeModality("mr")(read_image(volumes[0])).as_tensor().clamp(0, 1).expand(fused.shape)
    assert torch.equal(fused[:, outside], expected[:, outside])
    assert not torch.equal(fused[:, ~outside], expected[:, ~outside])


def test_the_result_does_not_depend_on_how_the_volumes_are_stored(fuser, volumes, tmp_path):
    reordered = tmp_path / "reordered.nii.gz"
    nib.load(volumes[0]).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]])).to_filename(reordered)
    expected, fused = fuser(*volumes), fuser(reordered, volumes[1])
    back = nib.Nifti1Image(fused[0].numpy(), fused.affine.numpy()).as_reoriented(np.array([[1, 1], [2, -1], [0, -1]]))
    np.testing.assert_allclose(back.affine, GRID, rtol=0, atol=1e-5)
    np.testing.assert_allclose(back.get_fdata(), expected[0].numpy(), rtol=0, atol=1e-6)


def test_both_images_matter(fuser, volumes, tmp_path):
    other = write_volume(tmp_path / "other.nii.gz", 9)
    fused = fuser(*volumes)
    assert not torch.equal(fused, fuser(volumes[0], other))
    assert not torch.equal(fused, fuser(other, volumes[1]))


def test_tensors_give_what_their_files_give(fuser, volumes, pictures, tmp_path):
    for images in (volumes, pictures):
        tensors = [read_image(path) for path in images]
        assert torch.equal(fuser(*tensors, modality_a="mr"), fuser(*images, modality_a="mr"))
    fuser(*[read_image(path) for path in volumes], tmp_path / "out.nii.gz")
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert record["sources"]["image_a"]["file"] is record["sources"]["image_a"]["sha256"] is None


def test_tensors_of_an_integer_type_count_up_to_its_largest_value(fuser, pictures):
    integers = [MetaTensor(torch.as_tensor(np.asarray(Image.open(path))[None].copy())) for path in pictures]
    assert torch.equal(fuser(*integers), fuser(*pictures))


def test_the_given_tensors_are_not_changed(fuser, pictures):
    tensors = [MetaTensor(read_image(path).as_tensor() / 255) for path in pictures]
    before = [tensor.clone() for tensor in tensors]
    fuser(*tensors)
    for tensor, copy in zip(tensors, before, strict=True):
        assert torch.equal(tensor, copy)
        assert tensor.meta.keys() == copy.meta.keys()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (MetaTensor(torch.rand(2, 4, 5)), r"image_b has shape \(2, 4, 5\): give a picture"),
        (MetaTensor(torch.rand(4, 5)), "image_b has shape"),
        (MetaTensor(torch.full((1, 4, 5), torch.nan)), "image_b has infinite voxels, or NaN in a picture"),
        (MetaTensor(torch.ones(1, 4, 5)), "image_b has no content, every voxel is 1"),
        (MetaTensor(255 * torch.eye(4)[None]), r"image_b has values from 0 to 255 outside \[0, 1\]"),
        (MetaTensor(torch.rand(1, 4, 5, 6), affine=torch.zeros(4, 4)), "image_b has an affine that cannot be inverted"),
        ([[0.5]], "image_b is a list: give a path, a tensor or an array"),
        (None, "image_b is a NoneType"),
    ],
)
def test_unusable_tensors_are_refused_by_name(fuser, image, words):
    with pytest.raises(InputError, match=words):
        fuser(MetaTensor(torch.rand(1, 4, 5)), image)


@pytest.mark.parametrize("kind", [torch.as_tensor, np.asarray])
@pytest.mark.parametrize("shape", [(1, 12, 16), (1, 12, 16, 5)])
def test_plain_tensors_and_arrays_are_fused_as_metatensors_are(fuser, kind, shape):
    images = [torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    plain, expected = fuser(*map(kind, images)), fuser(*map(MetaTensor, images))
    assert torch.equal(plain.as_tensor(), expected.as_tensor())
    assert torch.equal(plain.affine, torch.eye(4, dtype=plain.affine.dtype))


def test_the_record_reports_how_the_image_was_made(fuser, volumes, tmp_path):
    fuser(*volumes, tmp_path / "out.nii.gz", "mr", "pet")
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert record["fused"] == "out.nii.gz"
    assert record["fused_sha256"] == hashlib.sha256((tmp_path / "out.nii.gz").read_bytes()).hexdigest()
    assert record["sources"]["image_b"]["file"] == "b.nii.gz"
    assert record["sources"]["image_b"]["modality"] == "pet"
    assert record["sources"]["image_b"]["modality_guessed"] is False
    assert record["sources"]["image_b"]["intensity_range"][0] == 0
    assert record["sources"]["image_a"]["sha256"] == hashlib.sha256(volumes[0].read_bytes()).hexdigest()
    weights = (bundle_root() / "models" / "model_spect_mri.pt").read_bytes()
    assert record["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert record["software"]["torch"] == torch.__version__
    assert (record["device"], record["plane"], record["gray"]) == ("cpu", "axial", False)
    assert str(tmp_path) not in (tmp_path / "out.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("register", "second"), [("none", "aligning"), ("rigid", "registering")])
def test_progress_names_each_step_and_counts_the_slices_of_a_volume(volumes, tmp_path, register, second):
    calls = []
    settings = {"device": "cpu", "slice_batch": 4, "register": register}
    fuse(*volumes, tmp_path / "out.nii.gz", **settings, progress=lambda *call: calls.append(call))
    slices = max(total for _, _, total in calls)
    assert slices > 4
    counted = [("fusing", min(done, slices), slices) for done in range(4, slices + 4, 4)]
    assert calls == [("reading", 0, 0), (second, 0, 0), ("fusing", 0, 0), *counted, ("writing", 0, 0)]


def test_progress_leaves_the_voxels_as_they_are(volumes):
    assert torch.equal(fuse(*volumes, device="cpu", progress=lambda *call: None), fuse(*volumes, device="cpu"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "quantum"}, "device 'quantum' is not available: use auto or cpu"),
        ({"device": "meta"}, "device 'meta' is not available"),
        ({"plane": "oblique"}, "unknown plane 'oblique'"),
        ({"weights": "missing.pt"}, "missing.pt does not exist"),
        ({"weights": __file__}, "test_fuse.py has no weights of this network"),
    ],
)
def test_unusable_settings_are_refused_before_any_image_is_read(settings, words):
    with pytest.raises(InputError, match=words):
        Fuser(**{"device": "cpu", **settings})


def test_an_output_that_does_not_fit_is_refused_before_anything_is_read(
    fuser, volumes, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr("monai_s3im.transforms.loading.read_image", None)
    with pytest.raises(InputError, match=r"out\.png cannot hold a 3D image"):
        fuser(*volumes, tmp_path / "out.png")
    with pytest.raises(InputError, match=r"out\.nii\.gz cannot hold a 2D image"):
        fuser(*pictures, tmp_path / "out.nii.gz")
    with pytest.raises(InputError, match=r"out\.jpg would lose detail"):
        fuser(*pictures, tmp_path / "out.jpg")
    with pytest.raises(OutputError, match="is a folder: name the file to write"):
        fuser(*pictures, tmp_path)
    with pytest.raises(OutputError, match=r"cannot be written \(.*a\.png is a file\)"):
        fuser(*pictures, pictures[0] / "out.png")


@pytest.mark.parametrize("which", [0, 1])
def test_a_source_is_never_overwritten(fuser, pictures, tmp_path, which):
    before = pictures[which].read_bytes()
    (tmp_path / "link.png").symlink_to(pictures[which])
    for output in (pictures[which], tmp_path / "link.png"):
        with pytest.raises(InputError, match="is one of the inputs and would be overwritten"):
            fuser(*pictures, output)
    assert pictures[which].read_bytes() == before


def test_an_estimated_movement_goes_with_the_image_that_it_was_made_for(fuser, volumes, tmp_path):
    output, movement = tmp_path / "out.nii.gz", tmp_path / "out.tfm"
    Fuser(device="cpu", register="rigid")(*volumes, output)
    assert movement.is_file()
    estimate = movement.read_bytes()
    Fuser(device="cpu", transform=movement)(*volumes, output)
    assert movement.read_bytes() == estimate, "it was given now, and is the user's"
    fuser(*volumes, output)
    assert movement.read_bytes() == estimate
    Fuser(device="cpu", register="rigid")(*volumes, output)
    fuser(*volumes, output)
    assert not movement.exists()


def test_a_user_s_own_movement_next_to_the_output_is_kept(fuser, volumes, tmp_path, monkeypatch):
    (tmp_path / "out.tfm").write_text("mine")
    fuser(*volumes, tmp_path / "out.nii.gz")
    assert (tmp_path / "out.tfm").read_text(encoding="utf-8") == "mine"
    monkeypatch.setattr("monai_s3im.record.FusionRecord.write", full_disk)
    with pytest.raises(OutputError):
        fuser(*volumes, tmp_path / "out.nii.gz")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.tfm"]


def full_disk(record, path):
    raise OutputError(f"{path} cannot be written (no space left on the device)")


def test_neither_image_nor_record_is_left_when_the_image_cannot_be_written(fuser, pictures, tmp_path, monkeypatch):
    def full(image, path):
        raise OutputError("no space left")

    monkeypatch.setattr("monai_s3im.transforms.saving.write_image", full)
    with pytest.raises(OutputError, match="no space left"):
        fuser(*pictures, tmp_path / "out" / "out.png")
    assert list((tmp_path / "out").iterdir()) == []


def test_images_too_large_for_the_device_are_reported_in_one_sentence(fuser, pictures, monkeypatch):
    def out_of_memory(image, task):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fuser, "_network", out_of_memory)
    with pytest.raises(InputError, match="do not fit into the memory of cpu: crop or resample them"):
        fuser(*pictures)


def test_unknown_modality_is_refused(fuser, pictures):
    with pytest.raises(InputError, match="unknown modality 'xray'"):
        fuser(*pictures, modality_b="xray")


def test_two_runs_give_the_same_bytes(fuser, volumes, tmp_path):
    for name in ("one", "two"):
        fuser(*volumes, tmp_path / name / "out.nii.gz")
    for file in ("out.nii.gz", "out.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_pictures_and_slices_may_have_any_size(fuser):
    for size in [(1, 9), (7, 1), (5, 13)]:
        picture = MetaTensor(torch.as_tensor(blobs(size))[None].float())
        assert fuser(picture, picture).shape == (1, *size)


def test_real_pairs_are_fused(fuser, shared_data):
    folder = shared_data / "data" / "harvard" / "PET-MRI" / "val"
    image_a, image_b = (sorted((folder / name).iterdir())[0] for name in ("MRI", "PET"))
    fused = fuser(image_a, image_b)
    assert fused.shape == (3, 256, 256)
    assert 0 <= fused.amin() < 0.1
    assert 0.5 < fused.amax() <= 1


def test_the_file_of_a_frame_is_never_overwritten(fuser, volumes, tmp_path):
    frames = write_volume(tmp_path / "frames.nii.gz", array=np.stack([blobs(SHAPE).astype(np.float32)] * 3, axis=-1))
    before = sha256_of(frames)
    with pytest.raises(InputError, match=r"frames.nii.gz is one of the inputs and would be overwritten"):
        fuser(f"{frames}#2", volumes[1], frames)
    assert sha256_of(frames) == before


def test_a_sidecar_of_something_else_is_left_alone(fuser, pictures, tmp_path):
    sidecar = tmp_path / "out.json"
    sidecar.write_text('{"EchoTime": 0.03}')
    with pytest.raises(OutputError, match=r"out.json exists and is not a fusion record; .*: choose another output"):
        fuser(*pictures, tmp_path / "out.png")
    assert sidecar.read_text() == '{"EchoTime": 0.03}'
    assert not (tmp_path / "out.png").exists()


def test_a_record_is_replaced_even_if_it_is_damaged(fuser, pictures, tmp_path):
    fuser(*pictures, tmp_path / "out.png")
    record = (tmp_path / "out.json").read_bytes()
    (tmp_path / "out.json").write_bytes(record[:40])
    fuser(*pictures, tmp_path / "out.png")
    assert (tmp_path / "out.json").read_bytes() == record


def test_settings_give_what_a_file_of_colours_holds(tmp_path):
    table, settings = tmp_path / "map.txt", []
    for colour in ("{0} 0 0", "0 0 {0}"):
        table.write_text("\n".join(colour.format(level) for level in range(256)))
        settings.append(Fuser(device="cpu", color_map=str(table)).record_settings)
    assert settings[0]["color_map"] == settings[1]["color_map"] == "map.txt"
    assert settings[1]["color_map_sha256"] == sha256_of(table) != settings[0]["color_map_sha256"]
    assert Fuser(device="cpu", color_map="jet").record_settings["color_map_sha256"] is None


def test_a_finer_grid_keeps_to_the_limit_of_memory(volumes):
    with pytest.raises(InputError, match=r"spacing 0.1 x 0.1 x 0.1 mm would make .* more than the limit of 0.001 GiB"):
        fuse(*volumes, device="cpu", spacing=0.1, max_gib=0.001)


def test_pictures_of_no_named_modality_are_reported(fuser, pictures, caplog):
    caplog.set_level("INFO", "monai_s3im")
    fuser(*pictures)
    assert caplog.messages == [
        (
            "a.png and b.png have no modality in header or name, so the weights are those of the task medical: name "
            "the modalities (--modality-a, --modality-b)"
        )
    ]
    caplog.clear()
    fuser(*pictures, modality_a="mr", modality_b="ct")
    assert not caplog.messages
