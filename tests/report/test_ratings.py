"""A reader's ratings: saved next to the report, shown again when it is rewritten; anything else is refused."""

import http.client
import json
import shutil
import threading

import pytest
from page_reading import read_page
from typer.testing import CliRunner

from monai_s3im.batch.summary import read_summary
from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.report import write_report
from monai_s3im.report.ratings import Rating, parse_ratings, read_ratings, write_ratings
from monai_s3im.report.serving import report_server


@pytest.fixture
def folder(reported, tmp_path):
    return shutil.copytree(reported.folder, tmp_path / "rated")


@pytest.fixture
def server(folder):
    with report_server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def request(server, method, path="/ratings.json", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_what_was_rated_is_in_the_updated_report(folder, reported):
    sha256 = {result.name: result.fused_sha256 for result in read_summary(folder)}
    ratings = {
        "volume": Rating("doubtful", '<b>edge</b> "A" & B', sha256["volume"], "2026-01-01T00:00:00Z"),
        "uptake": Rating("bad", "", "0" * 64),
    }
    write_ratings(folder, ratings)
    page = read_page(write_report(folder, reported.pairs))
    rated = {place.attributes["data-case"]: place for place in page.all("fieldset", class_="rating")}
    checked = [each.attributes["value"] for each in rated["volume"].all("input") if "checked" in each.attributes]
    assert checked == ["doubtful"]
    assert rated["volume"].all("input")[-1].attributes["value"] == '<b>edge</b> "A" & B'
    assert not [each for each in rated["uptake"].all("input") if "checked" in each.attributes]
    assert "Rated before it was fused again" in rated["uptake"].text


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"ratings": {"volume": {"rating": "great"}}}', '{"ratings": {"volume": {"note": 5}}}'],
)
def test_a_file_that_is_something_else_is_named(folder, reported, content):
    (folder / "ratings.json").write_text(content)
    with pytest.raises(InputError, match=r"ratings\.json cannot be used .*: correct or remove it"):
        write_report(folder, reported.pairs)


def test_cases_that_are_not_of_the_batch_are_left_out():
    assert parse_ratings({"ratings": {"other": {"rating": "good"}, "one": {"rating": "bad"}}}, ["one"]) == {
        "one": Rating("bad")
    }


def test_the_server_serves_the_report_and_saves_the_ratings_next_to_it(folder, server):
    assert request(server, "GET", "/")[1] == (folder / "report.html").read_text(encoding="utf-8")
    body = json.dumps({"ratings": {"volume": {"rating": "good", "note": "sharp"}}})
    assert request(server, "PUT", body=body) == (200, "saved")
    assert read_ratings(folder, ["volume"]) == {"volume": Rating("good", "sharp")}


def test_the_server_gives_what_was_saved_and_newer_ratings_replace_only_those_of_their_cases(folder, server):
    def put(name, rating, rated_at):
        body = json.dumps({"ratings": {name: {"rating": rating, "rated_at": rated_at}}})
        assert request(server, "PUT", body=body) == (200, "saved")

    put("volume", "good", "2026-01-02")
    put("uptake", "bad", "2026-01-02")
    put("volume", "bad", "2026-01-01")
    put("uptake", "doubtful", "2026-01-03")
    saved = json.loads(request(server, "GET", "/ratings.json")[1])["ratings"]
    assert {name: each["rating"] for name, each in saved.items()} == {"volume": "good", "uptake": "doubtful"}


def test_a_damaged_file_of_ratings_is_named_and_kept(folder, server):
    (folder / "ratings.json").write_text("[]")
    status, text = request(server, "PUT", body='{"ratings": {"volume": {"rating": "good"}}}')
    assert status == 507
    assert "ratings.json cannot be used" in text
    assert (folder / "ratings.json").read_text() == "[]"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/summary.csv", {}, 404),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/", {"Host": "evil.example"}, 403),
        ("PUT", "/ratings.json", {"Origin": "http://evil.example"}, 403),
        ("PUT", "/ratings.json", {"Origin": "null"}, 403),
        ("PUT", "/summary.csv", {}, 400),
        ("PUT", "/ratings.json", {"Content-Length": "99999999999"}, 400),
    ],
)
def test_the_server_serves_only_the_report_and_only_its_own_page(folder, server, method, path, headers, status):
    before = sorted(folder.iterdir())
    assert request(server, method, path, body=None if method == "GET" else "{}", **headers)[0] == status
    assert sorted(folder.iterdir()) == before


def test_ratings_that_cannot_be_used_are_refused_by_a_sentence(folder, server):
    status, text = request(server, "PUT", body='{"ratings": {"volume": {"rating": "great"}}}')
    assert status == 400
    assert "the rating of volume is not one of good, doubtful, bad" in text
    assert not (folder / "ratings.json").exists()


def test_without_a_report_there_is_nothing_to_serve(tmp_path):
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--serve"])
    assert result.exit_code == 2
    assert "report.html does not exist: write it first with s3im report" in result.stderr
