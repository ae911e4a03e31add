"""The content and order of a report; nothing in it is fetched from elsewhere or runs foreign code."""

import base64
import gzip
import hashlib
import io
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from hostile_case import HOSTILE_NAME, HOSTILE_WARNING, WARNED_NAME
from page_reading import read_page
from PIL import Image

import monai_s3im.report
import monai_s3im.viewer
from monai_s3im.batch.summary import read_summary
from monai_s3im.errors import InputError, OutputError
from monai_s3im.report import write_report

LIKE_CASES = 9  # the pictures


@pytest.fixture(scope="module")
def page(reported):
    return read_page(reported.page)


def article_of(page, name):
    (article,) = [article for article in page.all("article") if article.one("h3").text == " ".join(name.split())]
    return article


def test_every_case_is_in_the_list_and_has_its_place(reported, page):
    rows = page.one("table", id="list").one("tbody").all("tr")
    assert sorted(row.one("th").text for row in rows) == sorted(pair.name for pair in reported.pairs)
    places = {element.attributes["id"] for element in page.all() if "id" in element.attributes}
    assert {row.one("a").attributes["href"].removeprefix("#") for row in rows} <= places
    for row in rows:
        place = row.one("a").attributes["href"].removeprefix("#")
        (target,) = [element for element in page.all() if element.attributes.get("id") == place]
        assert target.one("h3").text == row.one("th").text


def test_urgent_cases_come_first(page):
    order = ["failed", "warning", "outlier", "clear"]
    states = [row.attributes["data-attention"] for row in page.one("table", id="list").one("tbody").all("tr")]
    assert states == sorted(states, key=order.index)
    cards = [article.attributes["data-attention"] for article in page.all("article")]
    assert cards == sorted(cards, key=order.index)
    assert cards[0] == "warning"
    assert page.all("article")[0].one(class_="warnings").text == HOSTILE_WARNING


def test_the_header_counts(page):
    counts = {
        button.attributes["data-show"]: button.one("b").text for button in page.one(class_="counts").all("button")
    }
    assert counts["all"] == str(LIKE_CASES + 5)
    assert (counts["failed"], counts["warning"]) == ("2", "1")
    assert sum(int(counts[name]) for name in ("failed", "warning", "outlier", "clear")) == LIKE_CASES + 5


def test_a_failed_case_is_named_with_its_sentence(page):
    failed = {case.one("h3").text: case.one("p").text for case in page.one(class_="failed-cases").all("li")}
    assert failed.keys() == {"missing", HOSTILE_NAME}
    assert "none.nii.gz does not exist: check the path" in failed["missing"]
    assert "cannot name a file" in failed[HOSTILE_NAME]


def test_names_and_warnings_are_text_whatever_they_hold(reported, page):
    assert article_of(page, WARNED_NAME).attributes["data-name"].startswith(WARNED_NAME)
    assert not [image for image in page.all("img") if image.attributes.get("src") == "x"]
    assert not [element for element in page.all() if any(name.startswith("on") for name in element.attributes)]
    assert not any("alert(" in script.text for script in page.all("script"))
    assert "alert('warned')" not in reported.page.read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere(page):
    for element in page.all():
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            value = element.attributes.get(name, "#")
            assert value.startswith(("#", "data:image/webp;base64,")), (element.tag, name, value[:80])
    style = page.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert not page.all("link")
    assert not page.all("iframe")


def test_the_policy_of_the_page_names_the_very_scripts_and_styles_that_it_has(reported, page):
    (policy,) = [
        meta.attributes["content"]
        for meta in page.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    text = reported.page.read_text(encoding="utf-8")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_montages_are_pictures_with_a_description_and_of_the_given_size(page):
    for article in page.all("article"):
        image = article.one("img")
        assert image.attributes["loading"] == "lazy"
        assert article.one("h3").text in " ".join(image.attributes["alt"].split())
        content = base64.b64decode(image.attributes["src"].removeprefix("data:image/webp;base64,"))
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "WEBP"
            assert [str(side) for side in picture.size] == [image.attributes[side] for side in ("width", "height")]


def test_only_volumes_have_a_viewer_with_the_fused_volume_and_its_sources(reported, page):
    for article in page.all("article"):
        is_picture = article.one("h3").text.startswith("picture")
        names = [script.attributes["data-volume"] for script in article.all("script")]
        assert names == ([] if is_picture else ["fused", "A", "B"])
    (fused, *_) = article_of(page, "uptake").all("script")
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(fused.text)))
    file = nib.load(reported.folder / "uptake.nii.gz")
    assert np.array_equal(np.asanyarray(image.dataobj), np.asanyarray(file.dataobj))
    assert np.allclose(image.affine, file.affine, atol=1e-4)


def test_metrics_are_those_of_the_summary_and_stand_among_those_of_like_cases(reported, page):
    values = {result.name: result.metrics for result in read_summary(reported.folder)}
    article = article_of(page, "picture 3")
    rows = article.one("table", class_="metrics").one("tbody").all("tr")
    assert [row.one("th").text for row in rows] == list(values["picture 3"])
    like = [values[f"picture {index}"]["EN"] for index in range(LIKE_CASES)]
    value, median, _ = (cell.text for cell in rows[0].all("td"))
    assert value.split()[0] == f"{values['picture 3']['EN']:.3f}"
    assert median == f"{np.median(like):.3f}"
    assert f"Among {LIKE_CASES} cases of MR + CT pictures" in article.text


def test_settings_and_versions_are_those_of_the_records(reported, page):
    record = json.loads((reported.folder / "volume.json").read_text(encoding="utf-8"))
    settings = page.all("dl", class_="settings")[0]
    lines = {line.one("dt").text: line.one("dd").text for line in settings.all("div")}
    assert lines["torch"] == record["software"]["torch"]
    picture = json.loads((reported.folder / "picture 0.json").read_text(encoding="utf-8"))
    assert {picture["task"], record["task"]} == {"ct-mri", "medical"}
    assert lines[f"weights of {picture['task']}"] == picture["weights_sha256"] != record["weights_sha256"]
    assert lines[f"weights of {record['task']}"] == record["weights_sha256"]
    assert lines["window"] == "auto"
    assert lines["spacing"] == "none"


def test_skipped_cases_are_in_the_report_like_fused_ones(reported, tmp_path):
    from monai_s3im.batch import fuse_batch
    from monai_s3im.pipeline import Fuser

    folder = shutil.copytree(reported.folder, tmp_path / "again")
    results = list(fuse_batch(reported.pairs, folder, Fuser(device="cpu"), resume=True))
    assert [result.status for result in results].count("skipped") == len(reported.pairs) - 2
    page = read_page(write_report(folder, reported.pairs))
    assert len(page.all("article")) == len(reported.pairs) - 2
    assert all(article.all("img") for article in page.all("article"))


def test_without_sources_the_fused_images_are_shown_alone(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "alone")
    article = article_of(read_page(write_report(folder)), "volume")
    assert article.one(class_="note").text == "Its sources were not named, so only the fused image is shown."
    assert [script.attributes["data-volume"] for script in article.all("script")] == ["fused"]
    assert article.one("img").attributes["alt"].startswith("volume: fused; axial")


def test_a_case_that_cannot_be_shown_is_reported_and_the_others_are_shown(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "damaged")
    (folder / "picture 1.png").write_bytes(b"no picture")
    (folder / "picture 2.json").unlink()
    (folder / "picture 3.json").write_text('{"sources": {"image_a": 5}}')
    page = read_page(write_report(folder, reported.pairs))
    assert "has changed since it was written: fuse it again" in article_of(page, "picture 1").one(class_="note").text
    assert article_of(page, "picture 2").one(class_="note").text == "Its record is missing or damaged: fuse it again."
    assert article_of(page, "picture 3").one(class_="note").text == "Its record is missing or damaged: fuse it again."
    assert not article_of(page, "picture 4").all(class_="note")


def test_volumes_too_many_for_a_page_are_left_out_and_reported(reported, tmp_path, monkeypatch):
    folder = shutil.copytree(reported.folder, tmp_path / "full")
    monkeypatch.setattr(monai_s3im.report, "TOTAL_BYTES", 5_000_000 + 1)
    articles = read_page(write_report(folder, reported.pairs)).all("article")
    with_viewer = [article for article in articles if article.all("script")]
    assert [article.one("h3").text for article in with_viewer] == [WARNED_NAME]
    assert sum("No viewer here" in article.text for article in articles) == 2


def test_a_folder_without_a_summary_is_refused(tmp_path):
    with pytest.raises(InputError, match="give the output folder of a batch"):
        write_report(tmp_path)
    (tmp_path / "summary.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is not the summary of a batch"):
        write_report(tmp_path)


def test_a_report_that_cannot_be_written_leaves_nothing(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "taken")
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    before = sorted(folder.iterdir())
    with pytest.raises(OutputError, match=r"report\.html cannot be written"):
        write_report(folder, reported.pairs)
    assert sorted(folder.iterdir()) == before


def test_an_interrupted_report_leaves_the_previous_one(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "interrupted")
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(folder, reported.pairs, progress=interrupt)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_viewer_is_the_file_that_its_readme_names():
    folder = monai_s3im.viewer.LIBRARY.parent
    digest = hashlib.sha256((folder / "niivue.umd.js").read_bytes()).hexdigest()
    assert f"`{digest}`" in (folder / "README.md").read_text(encoding="utf-8")
    assert "Copyright (c) 2021, Niivue" in (folder / "LICENSE").read_text(encoding="utf-8")
