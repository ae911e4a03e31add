import csv
import hashlib
import io
import json
import logging
import math
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from references.metrics_reference import REFERENCES
from rich.console import Console
from scipy.ndimage import gaussian_filter, map_coordinates

from monai_s3im.errors import InputError, OutputError
from monai_s3im.evaluation.evaluate import Evaluation, evaluate, read_luma
from monai_s3im.functional import intensity_range
from monai_s3im.metrics import FUSION_METRICS
from monai_s3im.modalities import MODALITIES
from monai_s3im.record import FusionRecord, RegistrationRecord, SourceRecord
from monai_s3im.settings import FusionSettings

NAMES = list(FUSION_METRICS)


def save_picture(path, height=48, width=50, seed=0, channels=1):
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return path


@pytest.fixture
def three_files(tmp_path):
    return [save_picture(tmp_path / role / "case1.png", seed=i) for i, role in enumerate(["fused", "a", "b"])]


@pytest.fixture
def three_folders(tmp_path):
    sizes = {"case1": (48, 50), "case2": (60, 44), "case3": (48, 50)}
    for i, role in enumerate(["fused", "a", "b"]):
        for j, (name, (height, width)) in enumerate(sizes.items()):
            save_picture(tmp_path / role / f"{name}.png", height, width, seed=10 * i + j)
    return [tmp_path / role for role in ("fused", "a", "b")]


def naive_values(fused, source_a, source_b):
    images = [np.asarray(Image.open(path), dtype=np.float64) for path in (fused, source_a, source_b)]
    return {name: REFERENCES[name](*images) for name in NAMES}


def test_three_files_give_the_values_of_the_naive_evaluator(three_files):
    result = evaluate(*three_files)
    assert list(result.cases) == ["case1"]
    assert list(result.cases["case1"]) == NAMES
    assert result.cases["case1"] == pytest.approx(naive_values(*three_files), rel=1e-9)
    assert result.mean == result.cases["case1"]


def test_three_folders_are_matched_by_stem_and_batched_by_size(three_folders):
    (three_folders[1] / "case2.png").rename(three_folders[1] / "case2.bmp")
    (three_folders[0] / "notes.txt").write_text("not a picture")
    result = evaluate(*three_folders)
    assert list(result.cases) == ["case1", "case2", "case3"]
    for name, values in result.cases.items():
        paths = [next(folder.glob(f"{name}.*")) for folder in three_folders]
        assert values == pytest.approx(naive_values(*paths), rel=1e-9)
    assert result.mean["SF"] == pytest.approx(np.mean([values["SF"] for values in result.cases.values()]))


def test_more_cases_than_a_batch_are_all_measured(three_folders, monkeypatch):
    monkeypatch.setattr("monai_s3im.evaluation.evaluate.LARGEST_BATCH", 1)
    in_batches_of_one = evaluate(*three_folders)
    monkeypatch.undo()
    assert evaluate(*three_folders).cases["case3"] == pytest.approx(in_batches_of_one.cases["case3"], rel=1e-12)


def test_colour_is_measured_on_its_rounded_luma(tmp_path):
    path = tmp_path / "colour.png"
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 31]]], dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    # 76.245, 149.685, 29.07, 2.99 + 11.74 + 3.534 = 18.264
    assert read_luma(path).tolist() == [[[76.0, 150.0, 29.0, 18.0]]]


def test_a_colour_fused_image_has_the_values_of_its_luma(three_files, tmp_path):
    colour = save_picture(tmp_path / "colour" / "x.png", channels=3, seed=5)
    gray = tmp_path / "gray.png"
    Image.fromarray(read_luma(colour)[0].numpy().astype(np.uint8)).save(gray)
    of_colour = evaluate(colour, *three_files[1:]).cases["x"]
    assert of_colour == evaluate(gray, *three_files[1:]).cases["gray"]


def test_16_bit_pictures_are_brought_to_the_8_bit_scale(three_files, tmp_path):
    wide = np.asarray(Image.open(three_files[0])).astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "wide.png")
    measured = evaluate(tmp_path / "wide.png", *three_files[1:]).cases["wide"]
    assert measured == pytest.approx(evaluate(*three_files).cases["case1"], rel=1e-6)


def test_real_cases_equal_the_evaluator_of_the_field(shared_data):
    expected = json.loads((shared_data / "reference" / "metric_values.json").read_text(encoding="utf-8"))["RoadScene"][
        "U2Fusion"
    ]
    sources = (shared_data / "data" / "roadscene" / "val" / folder for folder in ("vi", "ir"))
    result = evaluate(shared_data / "peers" / "val" / "U2Fusion" / "RoadScene", *sources)
    for file, values in expected.items():
        measured = result.cases[file.removesuffix(".jpg")]
        assert measured == pytest.approx({name: values[name] for name in NAMES}, rel=1e-6)


def test_the_json_file_has_the_cases_and_their_mean(three_folders, tmp_path):
    result = evaluate(*three_folders)
    result.write_json(tmp_path / "values.json")
    assert json.loads((tmp_path / "values.json").read_text(encoding="utf-8")) == {
        "cases": result.cases,
        "mean": result.mean,
    }


def test_the_csv_file_has_a_row_per_case_and_the_mean_last(three_folders, tmp_path):
    result = evaluate(*three_folders)
    result.write_csv(tmp_path / "values.csv")
    with (tmp_path / "values.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row.pop("case") for row in rows] == ["case1", "case2", "case3", "mean"]
    assert [{name: float(x) for name, x in row.items()} for row in rows] == [*result.cases.values(), result.mean]


def test_a_value_that_is_not_finite_is_null_in_json_empty_in_csv_and_left_out_of_the_mean(tmp_path):
    values = dict.fromkeys(NAMES, 1.0)
    result = Evaluation(
        {"a": values | {"SCD": math.nan, "VIF": math.nan}, "b": values | {"PSNR": math.inf, "VIF": math.nan}}
    )
    result.write_json(tmp_path / "values.json")
    result.write_csv(tmp_path / "values.csv")
    content = json.loads((tmp_path / "values.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert content["cases"]["a"] == values | {"SCD": None, "VIF": None}
    assert content["cases"]["b"] == values | {"PSNR": None, "VIF": None}
    assert content["mean"] == values | {"PSNR": None, "VIF": None}
    assert (tmp_path / "values.csv").read_text(encoding="utf-8").splitlines()[
        1
    ] == "a,1.0,1.0,1.0,1.0,1.0,1.0,,1.0,1.0,"


def test_the_table_shows_every_case_and_the_mean(three_folders):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(evaluate(*three_folders).table())
    text = console.export_text()
    assert all(word in text for word in ["case1", "case2", "case3", "mean", *NAMES])


def test_missing_partners_and_unequal_sizes_are_named_all_at_once(three_folders):
    fused, source_a, source_b = three_folders
    (source_a / "case1.png").unlink()
    (source_b / "case3.png").unlink()
    save_picture(source_b / "case2.png", 10, 11)
    save_picture(fused / "extra.png")
    with pytest.raises(InputError) as caught:
        evaluate(*three_folders)
    message = str(caught.value)
    assert f"{source_a} has no case1, extra" in message
    assert f"{source_b} has no case3, extra" in message
    assert f"{fused / 'case2.png'} is 60 x 44" in message
    assert f"{source_b / 'case2.png'} is 10 x 11" in message
    assert "case1.png is" not in message


def test_three_files_of_unequal_size_are_refused(three_files, tmp_path):
    small = save_picture(tmp_path / "small.png", 20, 20)
    with pytest.raises(InputError, match=r"small\.png is 20 x 20"):
        evaluate(*three_files[:2], small)


def test_files_and_folders_may_not_be_mixed(three_folders):
    with pytest.raises(InputError, match="is not a folder"):
        evaluate(three_folders[0] / "case1.png", *three_folders[1:])


def test_two_pictures_with_the_same_stem_are_refused(three_folders):
    shutil.copy(three_folders[0] / "case1.png", three_folders[0] / "case1.bmp")
    with pytest.raises(InputError, match=r"case1\.bmp and case1\.png"):
        evaluate(*three_folders)


def test_a_folder_without_pictures_is_refused(three_folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no image"):
        evaluate(tmp_path / "empty", *three_folders[1:])


def test_a_missing_file_is_refused(three_files, tmp_path):
    with pytest.raises(InputError, match=r"gone\.png does not exist"):
        evaluate(tmp_path / "gone.png", *three_files[1:])


def test_a_volume_among_pictures_is_refused(three_files, tmp_path):
    with pytest.raises(InputError, match="three pictures or three volumes"):
        evaluate(tmp_path / "x.nii.gz", *three_files[1:])


def test_other_sources_are_left_alone(three_folders):
    (three_folders[0] / "case2.png").unlink()
    assert list(evaluate(*three_folders).cases) == ["case1", "case3"]


def write_record(fused, modality, registration=None, **settings):
    source = SourceRecord("x.nii.gz", "0" * 64, modality, [0.0, 1.0])
    record = {
        "fused": fused.name,
        "fused_sha256": "0" * 64,
        "software": {},
        "warnings": [],
        "registration": registration,
    }
    sources = {"image_a": source, "image_b": source}
    FusionRecord(**record, sources=sources, settings=FusionSettings(**settings)).write(fused)


@pytest.fixture
def three_volumes(tmp_path):
    """Fused volume and sources, in generic units, with an empty last slice; the affine flips and scales."""
    random = np.random.default_rng(1)
    paths = []
    for role, scale in (("fused", 1.0), ("a", 70.0), ("b", 3.0)):
        array = random.random((24, 20, 4)).astype(np.float32) * scale
        array[..., 3] = 0
        array[:12, :5] = 0  # air, so that percentiles are those of a head
        (tmp_path / role).mkdir()
        paths.append(tmp_path / role / "case.nii.gz")
        nib.save(nib.Nifti1Image(array, np.diag([-1.0, 2.0, 3.0, 1.0])), paths[-1])
    write_record(paths[0], "mr")
    return paths


def test_a_volume_is_measured_on_its_slices_with_content(three_volumes):
    arrays = []
    for path, modality in zip(three_volumes, (None, "mr", "mr"), strict=True):
        array = nib.load(path).get_fdata()
        if modality:
            tensor = torch.as_tensor(array, dtype=torch.float32)[None]
            lower, upper = intensity_range(tensor, MODALITIES[modality])
            array = np.clip((array - lower) / (upper - lower), 0, 1)
        arrays.append(255 * array)
    values = evaluate(*three_volumes).cases["case"]
    for name in ("EN", "AG", "MI", "PSNR", "SCD", "SF", "SD"):  # those that do not care for rows and columns
        slices = [REFERENCES[name](*(array[..., k] for array in arrays)) for k in range(3)]
        assert values[name] == pytest.approx(np.mean(slices), rel=1e-4), name


def test_the_order_of_the_sources_does_not_matter_where_a_record_names_them(tmp_path, caplog):
    """The record says which is the CT by its SHA256; the values are those of the sources in the order of the fusion."""
    grid, random = np.diag([2.0, 2.0, 2.0, 1.0]), np.random.default_rng(4)
    radius = np.linalg.norm(np.indices((16, 16, 8)).T - [8, 8, 4], axis=-1).T
    arrays = {
        "mr": np.where(radius < 6, random.uniform(100, 300, radius.shape), 0),
        "ct": np.where(radius < 6, random.uniform(0, 80, radius.shape), -1000),
        "fused": random.random(radius.shape),
    }
    for name, array in arrays.items():
        nib.save(nib.Nifti1Image(array.astype(np.float32), grid), tmp_path / f"{name}.nii.gz")
    fused, mr, ct = (tmp_path / f"{name}.nii.gz" for name in ("fused", "mr", "ct"))
    sources = {
        f"image_{key}": SourceRecord(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), modality, [0.0, 1.0])
        for key, file, modality in (("a", mr, "mr"), ("b", ct, "ct"))
    }
    record = {"fused": fused.name, "fused_sha256": "0" * 64, "software": {}, "warnings": []}
    FusionRecord(**record, sources=sources, settings=FusionSettings()).write(fused)
    values = evaluate(fused, mr, ct).mean
    assert evaluate(fused, ct, mr).mean == pytest.approx(values, rel=1e-12, nan_ok=True)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    nib.save(nib.Nifti1Image((arrays["ct"] + 1).astype(np.float32), grid), tmp_path / "other.nii.gz")
    evaluate(fused, tmp_path / "other.nii.gz", mr)
    assert "other.nii.gz is not one of the sources in the record of" in caplog.text
    nameless = {key: replace(source, sha256=None) for key, source in sources.items()}
    FusionRecord(**record, sources=nameless, settings=FusionSettings()).write(fused)
    assert evaluate(fused, ct, mr).mean["VIF"] != pytest.approx(values["VIF"], rel=1e-2)


def test_folders_of_volumes_are_measured(three_volumes):
    result = evaluate(*(path.parent for path in three_volumes))
    assert list(result.cases) == ["case"]
    assert result.cases["case"] == pytest.approx(evaluate(*three_volumes).cases["case"], nan_ok=True)


def test_a_registered_source_is_measured_where_registration_brought_it(tmp_path):
    random = np.random.default_rng(2)
    grid, moved_grid = np.diag([-1.0, 2.0, 3.0, 1.0]), np.diag([1.2, 1.2, 2.0, 1.0])
    moved_grid[:3, 3] = (-40, -20, -20)
    angle = np.radians(10)
    movement = np.eye(4)  # from a point of A to its like in B, LPS mm
    movement[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    movement[:3, 3] = (3.0, -2.0, 1.5)

    def save(name, array, affine):
        nib.save(nib.Nifti1Image(array.astype(np.float32), affine), tmp_path / f"{name}.nii.gz")
        return tmp_path / f"{name}.nii.gz"

    source_b = np.clip(12 * gaussian_filter(random.uniform(-1000, 1000, (60, 60, 30)), 1), -1000, 1000)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    points = lps @ grid @ np.vstack([np.indices((24, 20, 8)).reshape(3, -1), np.ones(24 * 20 * 8)])
    voxels = np.linalg.solve(lps @ moved_grid, movement @ points)[:3]
    assert voxels.min() > 5
    by_hand = map_coordinates(source_b, voxels, order=1, mode="constant", cval=np.nan).reshape(24, 20, 8)
    assert np.isfinite(by_hand).all()
    source_b_file, by_hand_file = save("b", source_b, moved_grid), save("by_hand", by_hand, grid)
    fused, source_a = save("fused", random.random((24, 20, 8)), grid), random.uniform(-1000, 1000, (24, 20, 8))
    source_a_file = save("a", source_a, grid)
    write_record(fused, "ct", window=[-1000.0, 1000.0])
    expected = evaluate(fused, source_a_file, by_hand_file).mean
    not_moved = evaluate(fused, source_a_file, source_b_file).mean
    registration = RegistrationRecord("rigid", movement.tolist(), file="fused.tfm")
    write_record(fused, "ct", registration, window=[-1000.0, 1000.0])
    values = evaluate(fused, source_a_file, source_b_file).mean
    assert values == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert values["MI"] != pytest.approx(not_moved["MI"], rel=1e-2)


def test_a_result_that_cannot_be_written_leaves_nothing_behind(three_files, tmp_path):
    result = evaluate(*three_files)
    for write in (result.write_json, result.write_csv):
        with pytest.raises(OutputError, match="cannot be written"):
            write(tmp_path / "no_such_folder" / "values")
    assert not (tmp_path / "no_such_folder").exists()
