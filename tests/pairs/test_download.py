import errno
import hashlib
import http.server
import io
import json
import re
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from monai_s3im.errors import InputError, OutputError
from monai_s3im.pairs import download as module
from monai_s3im.pairs.download import DATASETS, RemoteDataset, download, fetch_dataset, unpack

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site(http.server.ThreadingHTTPServer):
    """One file on loopback, with the faults that a test asks for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.knows_range = True
        self.break_after = None
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server
        site.requests.append(dict(self.headers))
        if self.path != "/file.bin":
            self.send_error(404)
            return
        start, total = 0, len(site.content)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and site.knows_range and self.headers.get("If-Range", site.etag) == site.etag:
            start = int(wanted[1])
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        end = total if site.break_after is None else min(total, start + site.break_after)
        self.wfile.write(site.content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(timeout=10)


def break_off(site, path, after, **options):
    """Leaves a part of `after` bytes."""
    site.break_after = after
    with pytest.raises(InputError, match="broke off"):
        download(site.url, path, progress=False, **options)
    site.break_after = None


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("progress", [True, False])
def test_a_file_arrives_whole_and_alone(site, tmp_path, progress):
    path = tmp_path / "new" / "file.bin"
    assert download(site.url, path, SHA256.upper(), progress=progress) == path
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]


def test_a_file_that_is_there_is_not_fetched_again(site, tmp_path):
    download(site.url, tmp_path / "file.bin", SHA256, progress=False)
    download(site.url, tmp_path / "file.bin", SHA256, progress=False)
    assert len(site.requests) == 1


def test_a_file_with_other_content_than_the_sha256_is_fetched_again(site, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"old")
    download(site.url, tmp_path / "file.bin", SHA256, progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_transfer_that_broke_off_says_so_keeps_its_part_and_goes_on(site, tmp_path):
    path = tmp_path / "file.bin"
    site.break_after = 300_000
    with pytest.raises(InputError, match=r"broke off after 300000 of 1048576 bytes: .*file\.bin\.part is kept"):
        download(site.url, path, progress=False)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:300_000]
    assert not path.exists()
    site.break_after = None
    download(site.url, path, progress=False)
    assert site.requests[1]["Range"] == "bytes=300000-"
    assert site.requests[1]["If-Range"] == '"one"'
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_a_transfer_may_break_off_twice(site, tmp_path):
    break_off(site, tmp_path / "file.bin", 300_000)
    break_off(site, tmp_path / "file.bin", 200_000)
    download(site.url, tmp_path / "file.bin", progress=False)
    assert [request.get("Range") for request in site.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(site, tmp_path):
    break_off(site, tmp_path / "file.bin", 300_000)
    site.content, site.etag = CONTENT[::-1], '"two"'
    download(site.url, tmp_path / "file.bin", progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_sends_the_file_from_its_start(site, tmp_path):
    site.knows_range = False
    break_off(site, tmp_path / "file.bin", 300_000)
    download(site.url, tmp_path / "file.bin", progress=False)
    assert site.requests[1]["Range"] == "bytes=300000-"
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_without_a_strong_version_a_transfer_goes_on_only_with_a_sha256(site, tmp_path, etag):
    site.etag = etag
    break_off(site, tmp_path / "a", 300_000)
    download(site.url, tmp_path / "a", progress=False)
    break_off(site, tmp_path / "b", 300_000, sha256=SHA256)
    download(site.url, tmp_path / "b", SHA256, progress=False)
    assert [request.get("Range") for request in site.requests] == [None, None, None, "bytes=300000-"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


def test_a_complete_part_is_taken_and_a_longer_one_is_thrown_away(site, tmp_path):
    for name, extra in (("complete", b""), ("longer", b"extra")):
        (tmp_path / f"{name}.part").write_bytes(CONTENT + extra)
        (tmp_path / f"{name}.part.version").write_text('"one"')
        download(site.url, tmp_path / name, progress=False)
        assert (tmp_path / name).read_bytes() == CONTENT
    assert names(tmp_path) == ["complete", "longer"]
    assert len(site.requests) == 3


def test_a_wrong_sha256_names_both_and_leaves_nothing(site, tmp_path):
    wrong = "0" * 64
    with pytest.raises(InputError, match=rf"file\.bin .* has SHA256 {SHA256} instead of {wrong}"):
        download(site.url, tmp_path / "file.bin", wrong, progress=False)
    assert names(tmp_path) == []


def test_an_unknown_address_is_told_in_one_sentence(site, tmp_path):
    with pytest.raises(InputError, match=r"other\.bin answered 404 \(Not Found\): check the address$"):
        download(site.url.replace("file", "other"), tmp_path / "x", progress=False)
    assert names(tmp_path) == []


def test_no_network_is_told_in_one_sentence(tmp_path):
    with Site() as closed:
        url = closed.url
    with pytest.raises(InputError, match=r"cannot be reached .*check the network"):
        download(url, tmp_path / "x", progress=False)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://example.org/x", "example.org/x"])
def test_an_address_that_is_not_of_the_web_is_refused(tmp_path, url):
    with pytest.raises(InputError, match="is no web address"):
        download(url, tmp_path / "x")


def test_a_full_disk_is_told_and_keeps_the_part(site, tmp_path, monkeypatch):
    def full(response, stream, *_):
        stream.write(response.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(OutputError, match=r"No space left on device.*free some space"):
        download(site.url, tmp_path / "file.bin", progress=False)
    assert (tmp_path / "file.bin.part").stat().st_size == 1000


def test_an_interrupted_transfer_keeps_its_part_and_says_so(site, tmp_path, monkeypatch, caplog):
    def interrupted(response, stream, *_):
        stream.write(response.read(1000))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(site.url, tmp_path / "file.bin", progress=False)
    monkeypatch.undo()
    assert "file.bin.part is kept" in caplog.text
    download(site.url, tmp_path / "file.bin", progress=False)
    assert site.requests[1]["Range"] == "bytes=1000-"


def zipped(entries, link=None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/hosts")
    return stream.getvalue()


GOOD_ZIP = {
    "Repo-984d/README.md": b"hello",
    "Repo-984d/CT-MRI/CT/2004.png": b"ct",
    "Repo-984d/CT-MRI/MRI/2004.png": b"mr",
}


@pytest.fixture
def dataset(site, monkeypatch):
    site.content = zipped(GOOD_ZIP)
    monkeypatch.setitem(DATASETS, "tiny", RemoteDataset("A tiny set.", site.url, "For tests only.", "CT-MRI/{CT,MRI}"))
    return "tiny"


def test_a_data_set_arrives_with_its_source_and_its_terms_are_shown(site, dataset, tmp_path, capsys):
    folder = fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    assert (folder / "CT-MRI/CT/2004.png").read_bytes() == b"ct"
    assert (folder / "CT-MRI/MRI/2004.png").read_bytes() == b"mr"
    source = json.loads((folder / "SOURCE.json").read_text(encoding="utf-8"))
    assert source["sha256"] == hashlib.sha256(site.content).hexdigest()
    assert source["url"] == site.url
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", source["date"])
    assert source["terms"] == "For tests only."
    assert "For tests only." in capsys.readouterr().err
    assert names(tmp_path) == ["tiny"]


def test_a_data_set_arrives_in_the_working_folder(site, dataset, tmp_path, monkeypatch):
    folder = tmp_path / "tiny"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert fetch_dataset(dataset, ".", progress=False) == Path()
    assert Path("CT-MRI/CT/2004.png").read_bytes() == b"ct"
    assert names(tmp_path) == ["tiny"]


def test_a_data_set_that_is_there_is_not_fetched_again(site, dataset, tmp_path):
    for _ in range(2):
        fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    assert len(site.requests) == 1
    with pytest.raises(InputError, match="name a new folder"):
        fetch_dataset(dataset, tmp_path / "tiny", sha256="0" * 64, progress=False)


def test_a_later_fetch_is_held_to_the_recorded_sha256(site, dataset, tmp_path):
    folder = fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    record = (folder / "SOURCE.json").read_bytes()
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.name != "SOURCE.json":
            file.rmdir() if file.is_dir() else file.unlink()
    good, site.content = site.content, zipped(GOOD_ZIP | {"Repo-984d/extra": b"x"})
    with pytest.raises(InputError, match="has SHA256"):
        fetch_dataset(dataset, folder, progress=False)
    assert (folder / "SOURCE.json").read_bytes() == record
    site.content = good
    fetch_dataset(dataset, folder, progress=False)
    assert (folder / "README.md").read_bytes() == b"hello"


def test_a_folder_with_other_files_is_refused_and_left_alone(site, dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        fetch_dataset(dataset, tmp_path, progress=False)
    assert names(tmp_path) == ["thesis.txt"]
    assert site.requests == []


def test_an_unknown_data_set_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="harvard, roadscene"):
        fetch_dataset("brats", tmp_path / "x")


@pytest.mark.parametrize(
    "name", ["../outside.txt", "Repo/../../outside.txt", "/outside.txt", "Repo\\..\\x", "C:/outside"]
)
def test_an_archive_with_a_path_that_leads_out_is_refused(site, dataset, tmp_path, name):
    site.content = zipped(GOOD_ZIP | {name: b"evil"})
    with pytest.raises(InputError, match="could lead out of its folder"):
        fetch_dataset(dataset, tmp_path / "in" / "tiny", progress=False)
    assert not (tmp_path / "in" / "tiny").exists()
    assert not list(tmp_path.rglob("outside*"))
    assert not Path("/outside.txt").exists()


def test_an_archive_with_a_link_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(GOOD_ZIP, link="Repo-984d/link"))
    with pytest.raises(InputError, match="could lead out"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 1 << 20)
    (tmp_path / "a.zip").write_bytes(zipped({"x/zeros": bytes((1 << 20) + 1)}))
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", [b"<html>Sign in</html>", zipped({}), zipped(GOOD_ZIP).replace(b"hello", b"hellO", 1)[:-30]]
)
def test_what_is_no_sound_archive_is_told(site, dataset, tmp_path, content):
    site.content = content
    with pytest.raises(InputError, match=r"no sound ZIP|holds no file"):
        fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("name", DATASETS)
def test_a_public_data_set_tells_its_terms_and_names_a_commit(name):
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/archive/[0-9a-f]{12,40}\.zip", DATASETS[name].url)
    assert "research" in DATASETS[name].terms
    assert "do not pass it on" in DATASETS[name].terms
