"""Which files are accepted, by name, location and header; no browser is needed."""

import gzip
import os
import re
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from s3im_web.files import (
    FileError,
    check_volume,
    find_volumes,
    inner_path,
    list_volumes,
    plain_name,
    unpack,
    upload_folder,
    volume_inside,
    without_upload,
)

from monai_s3im.errors import InputError
from monai_s3im.formats.reading import read_image

MEGABYTE = 2**20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with ``a.nii``, ``sub/b.nrrd`` and a link to a secret file outside it."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    nibabel.save(
        nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4)), tmp_path / "data" / "a.nii"
    )
    image = SimpleITK.GetImageFromArray(np.arange(120, dtype=np.float32).reshape(6, 5, 4))
    SimpleITK.WriteImage(image, tmp_path / "data" / "sub" / "b.nrrd")
    (tmp_path / "secret.nii").write_bytes((tmp_path / "data" / "a.nii").read_bytes())
    (tmp_path / "data" / "link.nii").symlink_to(tmp_path / "secret.nii")
    (tmp_path / "data" / "readme.txt").write_text("none")
    return tmp_path / "data"


def test_volumes_in_a_folder_are_listed_without_links_out_of_it(data: Path) -> None:
    assert list_volumes(data) == ["a.nii", "sub/b.nrrd"]


@pytest.mark.parametrize("name", [b"M\xfcller.nii", b"M\xfcller/a.nii"])
def test_a_name_that_is_not_utf8_is_not_listed(data: Path, name: bytes) -> None:
    path = data / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert list_volumes(data) == ["a.nii", "sub/b.nrrd"]


def test_an_inaccessible_file_does_not_end_the_list(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_file = Path.is_file

    def ask(path: Path) -> bool:
        if path.name == "a.nii":
            raise PermissionError(path)
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", ask)
    assert list_volumes(data) == ["sub/b.nrrd"]


def test_the_list_stops_at_its_limit_without_walking_the_whole_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (asked.append(Path(path)), scandir(path))[1])
    monkeypatch.setattr("s3im_web.files.MAX_LISTED", 1)
    assert list_volumes(data) == ["a.nii"]
    assert asked == [data]


def test_hidden_files_and_folders_and_links_to_themselves_are_not_listed(data: Path) -> None:
    (data / "loop.nii").symlink_to("loop.nii")
    (data / ".hidden").mkdir()
    for name in (".a.nii", ".hidden/a.nii"):
        (data / name).touch()
    assert list_volumes(data) == ["a.nii", "sub/b.nrrd"]


def test_a_volume_inside_the_folder_is_found(data: Path) -> None:
    assert volume_inside(data, "sub/b.nrrd") == data / "sub" / "b.nrrd"


@pytest.mark.parametrize(
    "name", ["../secret.nii", "sub/../../secret.nii", "link.nii", "none.nii", "", ".", "a.nii\0", "~/a.nii"]
)
def test_nothing_outside_the_folder_is_found(data: Path, name: str) -> None:
    with pytest.raises(FileError, match="no such volume"):
        volume_inside(data, name)


def test_an_absolute_path_is_refused(data: Path) -> None:
    with pytest.raises(FileError, match="no such volume"):
        volume_inside(data, str(data.parent / "secret.nii"))


def test_without_a_folder_nothing_is_found() -> None:
    with pytest.raises(FileError, match="upload"):
        volume_inside(None, "a.nii")


def test_whole_volumes_pass(data: Path) -> None:
    for name in ("a.nii", "sub/b.nrrd"):  # not packed: what they unpack to is their own size
        check_volume(data / name, (data / name).stat().st_size)


@pytest.mark.parametrize("name", ["a.nii", "sub/b.nrrd"])
def test_a_volume_larger_than_allowed_is_refused(data: Path, name: str) -> None:
    with pytest.raises(FileError, match="allowed"):
        check_volume(data / name, (data / name).stat().st_size - 1)


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.full((4, 5, 6), np.nan, np.float32), "a.nii has no content (every voxel is NaN)"),
        (np.zeros((4, 5, 6), np.float32), "a.nii has no content (every voxel is 0)"),
        (np.full((4, 5, 6), np.inf, np.float32), "a.nii has 120 infinite voxels out of 120"),
        (np.arange(240, dtype=np.int16).reshape(4, 5, 6, 2), "a.nii is 4D and has 2 frames"),
        (np.ones((4, 5, 6), np.complex64), "a.nii has voxels of type complex64"),
    ],
)
def test_what_the_command_refuses_is_refused_with_the_same_message(
    tmp_path: Path, voxels: np.ndarray, said: str
) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    with pytest.raises(InputError, match=re.escape(said)) as by_command:
        read_image(path)
    with pytest.raises(FileError, match=f"^{re.escape(said)}") as by_page:
        check_volume(path, MEGABYTE)
    assert str(by_page.value).startswith(str(by_command.value).replace(f"{tmp_path}{os.sep}", ""))


def test_a_volume_cut_short_is_refused(data: Path) -> None:
    path = data / "a.nii"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileError, match=r"^a\.nii is damaged, cut short or not a \.nii file: copy or export it again$"):
        check_volume(path, MEGABYTE)


def test_a_small_file_of_a_large_volume_is_refused(tmp_path: Path) -> None:
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.int16), np.eye(4)).header
    header.set_data_shape((4000, 4000, 4000))
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    with pytest.raises(FileError, match="122070 MB"):  # 4000³ · 2 bytes
        check_volume(bomb, 1024 * MEGABYTE)


@pytest.mark.parametrize("field", ["data file: /etc/passwd", "DATAFILE: other.raw", "Data File: LIST"])
def test_a_header_that_points_to_another_file_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_text(f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n{field}\n\n")
    with pytest.raises(FileError, match="another file"):
        check_volume(path, MEGABYTE)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("content", [b"", b"a text\n", b"NRRD0004\n\n", bytes(400), gzip.compress(b"a text")])
def test_a_file_that_is_not_a_volume_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"^a\.\S+ (is|has a) (empty|damaged)"):
        check_volume(path, MEGABYTE)


@pytest.mark.parametrize("name", ["a.nii", "sub/b.nrrd"])
def test_a_file_that_the_server_may_not_read_is_reported(
    data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(name)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="check that the server may read it"):
        check_volume(data / name, MEGABYTE)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("t1.nii.gz", "t1"), ("../../x.nrrd", "x"), ("C:\\a b\\T1 w.NII", "T1_w"), ("<b>.nii", "b"), ("..nii", "volume")],
)
def test_plain_names_have_no_folders_suffix_or_special_characters(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("a.nii", "a.nii"),
        ("study/ct/1.dcm", "study/ct/1.dcm"),
        ("../../a.nii", "a.nii"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\x\\a.nii", "C:/x/a.nii"),
        ("..", "file"),
        ("", "file"),
        ("a/.hidden", "a/hidden"),
    ],
)
def test_an_uploaded_file_stays_in_its_folder(name: str, inner: str) -> None:
    assert inner_path(name) == Path(inner)


def packed(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return path


def test_an_archive_is_replaced_with_its_contents(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "upload"
    folder.mkdir()
    packed(folder / "study.zip", sub__a_dot_nii=(data / "a.nii").read_bytes(), readme_dot_txt=b"none")
    unpack(folder, MEGABYTE)
    assert find_volumes(folder) == [folder / "study" / "sub" / "a.nii"]
    assert not (folder / "study.zip").exists()


def test_archives_that_together_unpack_to_more_than_allowed_are_refused(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("volume.nii", bytes(MEGABYTE * 2 // 3))
    with pytest.raises(FileError, match=r"These archives unpack to more than the 1 MB"):
        unpack(tmp_path, MEGABYTE)


def test_an_archive_that_unpacks_to_more_than_allowed_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "bomb.zip", a_dot_nii=bytes(4 * MEGABYTE))
    with pytest.raises(FileError, match=r"bomb\.zip unpacks to more than the 1 MB"):
        unpack(tmp_path, MEGABYTE)


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "bomb.zip", a_dot_nii=bytes(4 * MEGABYTE))
    content = path.read_bytes().replace((4 * MEGABYTE).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"bomb\.zip (is damaged|unpacks to more)"):
        unpack(tmp_path, MEGABYTE)


def test_links_and_paths_that_leave_an_archive_are_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("../a.nii", "/a.nii", "x/../../a.nii")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr(name, b"1")
        with pytest.raises(FileError, match="leads out of its folder"):
            unpack(folder, MEGABYTE)
    folder = tmp_path / "link"
    folder.mkdir()
    entry = zipfile.ZipInfo("a.nii")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(FileError, match="contains a link"):
        unpack(folder, MEGABYTE)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"a text"])
def test_a_file_that_is_not_an_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.zip is damaged, encrypted or not a ZIP archive"):
        unpack(tmp_path, MEGABYTE)


def test_an_archive_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3im_web.files.MAX_FILES", 1)
    packed(tmp_path / "a.zip", a=b"1", b=b"2")
    with pytest.raises(FileError, match="has 2 files, and 1 are allowed"):
        unpack(tmp_path, MEGABYTE)


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("{0}#303 and {0}#1.2.84.5 lie apart", "DICOM series 303 and DICOM series 1.2.84.5 lie apart"),
        ("{0}#7#2 is resampled.", "DICOM series 7#2 is resampled."),
        ("{0}#../../x cannot be read", "DICOM series ../../x cannot be read"),
        ("{0} holds no DICOM images", "The upload holds no DICOM images"),
        ("t1.nii.gz and ct.nii.gz do not overlap", "t1.nii.gz and ct.nii.gz do not overlap"),
    ],
)  # fmt: skip
def test_a_series_is_named_by_its_number_instead_of_its_upload_folder(
    tmp_path: Path, sentence: str, shown: str
) -> None:
    assert without_upload(sentence.format(upload_folder(tmp_path).name)) == shown
