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

import pooch
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
        self.is_chunked = False
        self.break_after = None
        self.requests = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server
        site.requests += 1
        if self.path != "/file.bin":
            self.send_error(404)
            return
        sent = site.content[: site.break_after]
        self.send_response(200)
        if site.is_chunked:  # as GitHub sends the archives that it makes
            self.send_header("Transfer-Encoding", "chunked")
            sent = b"%x\r\n%b\r\n" % (len(sent), sent) + (b"0\r\n\r\n" if site.break_after is None else b"")
        else:
            self.send_header("Content-Length", str(len(site.content)))
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = True

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


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_file_arrives_complete_and_leaves_no_other_file(site, tmp_path, progress, is_chunked):
    site.is_chunked = is_chunked
    path = tmp_path / "new" / "file.bin"
    assert download(site.url, path, SHA256.upper(), progress=progress) == path
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]


def test_an_existing_file_is_not_fetched_again(site, tmp_path):
    download(site.url, tmp_path / "file.bin", SHA256, progress=False)
    download(site.url, tmp_path / "file.bin", SHA256, progress=False)
    assert site.requests == 1


def test_a_file_with_other_content_than_the_sha256_is_fetched_again(site, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"old")
    download(site.url, tmp_path / "file.bin", SHA256, progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("is_chunked", [True, False])
def test_an_interrupted_transfer_is_reported_and_leaves_nothing(site, tmp_path, is_chunked):
    site.break_after, site.is_chunked = 300_000, is_chunked
    with pytest.raises(InputError, match=r"file\.bin cannot be reached or was interrupted .*: check .*try again$"):
        download(site.url, tmp_path / "file.bin", progress=False)
    assert names(tmp_path) == []
    site.break_after = None
    download(site.url, tmp_path / "file.bin", progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_wrong_sha256_is_named_and_leaves_nothing(site, tmp_path):
    wrong = "0" * 64
    with pytest.raises(InputError, match=rf"file\.bin from {site.url} does not have the SHA256 {wrong}: "):
        download(site.url, tmp_path / "file.bin", wrong, progress=False)
    assert names(tmp_path) == []


def test_an_unknown_address_is_reported_in_one_sentence(site, tmp_path):
    with pytest.raises(InputError, match=r"other\.bin answered 404 \(Not Found\): check the address$"):
        download(site.url.replace("file", "other"), tmp_path / "x", progress=False)
    assert names(tmp_path) == []


def test_no_network_is_reported_in_one_sentence(tmp_path):
    with Site() as closed:
        url = closed.url
    with pytest.raises(InputError, match=r"cannot be reached or was interrupted .*check the network"):
        download(url, tmp_path / "x", progress=False)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://example.org/x", "example.org/x"])
def test_an_address_that_is_not_of_the_web_is_refused(tmp_path, url):
    with pytest.raises(InputError, match="is not a web address"):
        download(url, tmp_path / "x")


@pytest.mark.parametrize(
    ("fault", "raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError, r"No space left on device.*free some space"),
        (PermissionError(errno.EACCES, "Permission denied"), OutputError, "Permission denied.*that you may write to"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_what_stops_a_transfer_leaves_nothing(site, tmp_path, monkeypatch, fault, raised, said):
    def stop(self, url, output_file, pooch):
        Path(output_file).write_bytes(b"some")
        raise fault

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", stop)
    with pytest.raises(raised, match=said):
        download(site.url, tmp_path / "file.bin", progress=False)
    assert names(tmp_path) == []


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


def test_an_existing_data_set_is_not_fetched_again(site, dataset, tmp_path):
    for _ in range(2):
        fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    assert site.requests == 1
    with pytest.raises(InputError, match="name a new folder"):
        fetch_dataset(dataset, tmp_path / "tiny", sha256="0" * 64, progress=False)


def test_a_later_fetch_is_held_to_the_recorded_sha256(site, dataset, tmp_path):
    folder = fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    record = (folder / "SOURCE.json").read_bytes()
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.name != "SOURCE.json":
            file.rmdir() if file.is_dir() else file.unlink()
    good, site.content = site.content, zipped(GOOD_ZIP | {"Repo-984d/extra": b"x"})
    with pytest.raises(InputError, match="does not have the SHA256"):
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
    assert site.requests == 0


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
def test_what_is_not_an_intact_archive_is_reported(site, dataset, tmp_path, content):
    site.content = content
    with pytest.raises(InputError, match=r"not a valid ZIP|holds no file"):
        fetch_dataset(dataset, tmp_path / "tiny", progress=False)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("name", DATASETS)
def test_a_public_data_set_reports_its_terms_and_names_a_commit(name):
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/archive/[0-9a-f]{12,40}\.zip", DATASETS[name].url)
    assert "research" in DATASETS[name].terms
    assert "do not redistribute it" in DATASETS[name].terms
