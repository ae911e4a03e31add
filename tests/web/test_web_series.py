"""DICOM series on the page: a PET in SUV, and series of real patients fused as by the command."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_study import SUV_FACTOR, write_pet_study
from page_steps import PATIENCE, WIDE, difference, drop, picture_of, saved, wait_idle
from pydicom.uid import generate_uid

from monai_s3im.phantom import head_phantom

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Any:
    return start_server("--device", "cpu", "--max-sessions", "1")


@pytest.fixture(scope="module")
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page of one user."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    page.get_by_role("heading", name="Fuse two volumes").wait_for()
    yield page
    context.close()


def begin(page: Any, *paths: Path) -> None:
    """Start a new session with dropped files."""
    page.get_by_role("button", name="New session").click()
    page.get_by_role("heading", name="Fuse two volumes").wait_for()
    wait_idle(page)
    drop(page, *paths)


def choose(page: Any, **titles: str) -> None:
    """Choose A and B among the series."""
    for side, title in titles.items():
        button = page.get_by_role("button", name=f"{title} as {side.upper()}")
        button.wait_for()
        wait_idle(page)
        button.click()
        page.locator(f"#name-{side}", has_text=title).wait_for()
    wait_idle(page)


def fuse(page: Any) -> None:
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.get_by_role("link", name="Save NRRD").wait_for()
    wait_idle(page)


@pytest.fixture(scope="module")
def pet() -> nibabel.Nifti1Image:
    """The phantom's uptake in whole Bq/ml, with MR on the same grid."""
    volumes = head_phantom((80, 96, 64), (2.4, 2.4, 3.0), modalities=("t1", "pet")).volumes
    values = np.rint(volumes["pet"].numpy()[0] / SUV_FACTOR)
    return nibabel.Nifti1Image(values, volumes["pet"].affine.numpy())


@pytest.fixture(scope="module")
def study(pet: nibabel.Nifti1Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    t1 = head_phantom((80, 96, 64), (2.4, 2.4, 3.0), modalities=("t1",)).volumes["t1"]
    mr = nibabel.Nifti1Image(t1.numpy()[0], t1.affine.numpy())
    return write_pet_study(mr, pet, tmp_path_factory.mktemp("pet") / "study")


def ends_of_bar(page: Any, side: str) -> tuple[str, str]:
    bar = page.locator(f".pane[data-side={side}] .color-bar")
    return bar.locator(".low").inner_text(), bar.locator(".high").inner_text()


def test_a_pet_with_dose_and_weight_is_shown_in_suv(page: Any, study: Path) -> None:
    begin(page, study)
    choose(page, a="BRAIN T1", b="BRAIN FDG")
    low, high = ends_of_bar(page, "b")
    assert low == "0"
    assert re.fullmatch(r"[\d.]+ SUV", high)
    assert re.fullmatch(r"W [\d.]+ L [\d.]+ SUV", page.locator(".pane[data-side=b] .window").inner_text())


def test_another_suv_range_changes_the_picture(page: Any) -> None:
    page.locator(".pane[data-side=b] summary").click()
    preset = page.get_by_label("Preset of B")
    preset.select_option("SUV 0 to 5")
    assert ends_of_bar(page, "b") == ("0", "5 SUV")
    assert page.locator(".pane[data-side=b] .window").inner_text() == "W 5 L 2.5 SUV"
    bright = picture_of(page, "b")
    preset.select_option("SUV 0 to 20")
    assert ends_of_bar(page, "b") == ("0", "20 SUV")
    dark = picture_of(page, "b")
    assert bright.mean() > 1.5 * dark.mean()
    page.get_by_label("Upper end of B").fill("5")
    page.get_by_label("Upper end of B").press("Enter")
    assert preset.input_value() == "own"
    assert difference(picture_of(page, "b"), bright) < 0.1


def test_the_value_under_the_crosshair_is_the_suv_of_the_file(page: Any, pet: nibabel.Nifti1Image) -> None:
    activity = np.asarray(pet.dataobj)
    voxel = np.unravel_index(activity.argmax(), activity.shape)
    page.evaluate("([voxel, sizes]) => viewer.moveTo(voxel.map((v, i) => (v + 0.5) / sizes[i]))", [
        [int(index) for index in voxel], list(activity.shape),
    ])  # fmt: skip
    text = page.get_by_label("Values at the crosshair").inner_text()
    shown, unit = re.search(r"B ([\d.]+) (\S+)", text).groups()
    assert unit == "SUV"
    assert float(shown) == pytest.approx(activity.max() * SUV_FACTOR, rel=0.005)


def test_a_fusion_leaves_the_pet_in_suv(page: Any) -> None:
    fuse(page)
    assert ends_of_bar(page, "b")[1].endswith(" SUV")
    assert " SUV" in page.get_by_label("Values at the crosshair").inner_text()


def warnings_of(page: Any) -> list[str]:
    return page.get_by_role("list", name="Warnings").get_by_role("listitem").all_inner_texts()


def test_warnings_name_the_series_but_no_folder_of_the_server(page: Any, tmp_path: Path) -> None:
    record = json.loads(saved(page, "Save record", tmp_path).read_text(encoding="utf-8"))
    assert warnings_of(page) == record["warnings"]
    assert any(text.startswith("DICOM series 1 and DICOM series 2 have different frames") for text in warnings_of(page))
    assert not re.search(r"in-[0-9a-f]{8}", json.dumps(record))


def test_a_volume_in_another_place_is_explained_in_its_pane_until_it_is_registered(
    page: Any, pair: Path, tmp_path: Path
) -> None:
    ct = nibabel.load(pair / "ct.nii.gz")
    affine = ct.affine.copy()
    affine[:3, 3] += 1000
    nibabel.save(nibabel.Nifti1Image(np.asarray(ct.dataobj), affine), tmp_path / "far.nii.gz")
    begin(page, pair / "t1.nii.gz", tmp_path / "far.nii.gz")
    page.wait_for_function("() => viewer.images.a?.volume && viewer.images.b?.volume")
    wait_idle(page)
    if page.locator("#name-a").inner_text() == "far.nii.gz":
        page.get_by_role("button", name="Swap A and B").click()
        page.locator("#name-b", has_text="far").wait_for()
    notice = page.locator(".apart:visible")
    said = "B lies outside A in space: register the two, or check that they show one patient"
    assert page.locator(".pane[data-side=b]").get_by_text(said).is_visible()
    assert notice.count() == 1
    page.get_by_text("Registration", exact=True).click()
    page.get_by_role("button", name="Register B onto A").click()
    page.locator("#nudge").wait_for()
    wait_idle(page)
    assert notice.count() == 0


# Real patients


@pytest.fixture
def volumes(shared_data: Path) -> Path:
    return shared_data / "data" / "volumes"


def fused_by_command(a: Path, b: Path, folder: Path) -> tuple[bytes, str]:
    """The NRRD that ``s3im fuse`` writes, and its messages."""
    output = folder / "command.nrrd"
    command = [sys.executable, "-m", "monai_s3im", "fuse", str(a), str(b), "-o", str(output), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the server: rounding depends on it
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return output.read_bytes(), " ".join((done.stderr + done.stdout).split())


def names_of_series(page: Any) -> list[str]:
    rows = page.get_by_role("region", name="Series and volumes").get_by_role("row")
    rows.nth(1).wait_for()
    wait_idle(page)
    return [text.split("\t")[0].strip() for text in rows.all_inner_texts()[1:]]


def test_real_series_of_a_dropped_folder_are_fused_as_by_the_command(page: Any, volumes: Path, tmp_path: Path) -> None:
    for name in ("dicom_ct_head", "dicom_mr_brain_oblique"):
        shutil.copytree(volumes / name, tmp_path / "patient" / name)
    begin(page, tmp_path / "patient")
    names = names_of_series(page)
    assert len(names) == 2
    by_kind = dict(zip(("CT", "MR"), sorted(names, key=lambda name: _modality(page, name)), strict=True))
    choose(page, a=by_kind["MR"], b=by_kind["CT"])
    fuse(page)
    series = tmp_path / "patient"
    expected, said = fused_by_command(series / "dicom_mr_brain_oblique", series / "dicom_ct_head", tmp_path)
    assert saved(page, "Save NRRD", tmp_path).read_bytes() == expected
    assert any("have different patient IDs" in warning for warning in warnings_of(page))
    assert "have different patient IDs" in said


def _modality(page: Any, name: str) -> str:
    row = page.get_by_role("region", name="Series and volumes").get_by_role("row").filter(has_text=name)
    return re.search(r"DICOM, (\w+)", row.first.inner_text())[1]


def second_series(series: Path, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Another series of the same study, on the same grid."""
    folder.mkdir(parents=True)
    uid = generate_uid()
    for path in series.iterdir():
        image = pydicom.dcmread(path)
        for tag in [tag for tag in image if tag.tag.group == 0]:  # command tags cannot be written
            del image[tag.tag]
        image.SeriesInstanceUID, image.SOPInstanceUID = uid, generate_uid()
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.SeriesDescription, image.SeriesNumber = "SECOND", 99
        image.PixelData = change(image.pixel_array).astype(image.pixel_array.dtype).tobytes()
        image.save_as(folder / path.name)
    return folder


def test_two_series_of_a_real_study_in_an_archive_are_fused_as_by_the_command(
    page: Any, volumes: Path, tmp_path: Path
) -> None:
    first = tmp_path / "study" / "1"
    shutil.copytree(volumes / "dicom_mr_brain_oblique", first)
    second = second_series(first, tmp_path / "study" / "2", lambda values: values.max() - values)
    begin(page, Path(shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "study")))
    names = names_of_series(page)
    assert len(names) == 2
    (other,) = set(names) - {"SECOND"}
    choose(page, a="SECOND", b=other)
    fuse(page)
    expected, _ = fused_by_command(second, first, tmp_path)
    assert saved(page, "Save NRRD", tmp_path).read_bytes() == expected


def test_series_that_do_not_overlap_are_refused_with_the_message_of_the_command(
    page: Any, volumes: Path, tmp_path: Path
) -> None:
    for name in ("dicom_pet_head", "dicom_mr_brain_oblique"):
        shutil.copytree(volumes / name, tmp_path / "patient" / name)
    begin(page, tmp_path / "patient")
    names_of_series(page)
    page.locator("#fuse:enabled").wait_for()
    page.get_by_role("button", name="Fuse", exact=True).click()
    alert = page.get_by_role("alert").filter(has_text="do not overlap in space: check that")
    alert.wait_for()
    assert re.match(r"DICOM series [\d.]+ and DICOM series [\d.]+ do not", alert.inner_text().strip())


def test_a_real_pet_is_read_in_suv(page: Any, volumes: Path, tmp_path: Path) -> None:
    begin(page, volumes / "dicom_pet_head")
    page.locator(".pane[data-side=a]:visible").wait_for()
    page.wait_for_function("() => viewer.images.a?.volume")
    wait_idle(page)
    assert ends_of_bar(page, "a")[1].endswith(" SUV")
    (first, *_) = (pydicom.dcmread(path) for path in sorted((volumes / "dicom_pet_head").iterdir()))
    text = page.get_by_label("Values at the crosshair").inner_text()
    assert re.search(r"A [\d.]+ SUV", text)
    assert first.Units == "BQML"
