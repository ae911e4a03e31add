"""Nothing from a user, a data set or a result is run as code."""

import ast
import json
from pathlib import Path

import pytest
from sample_images import write_picture, write_volume
from typer.testing import CliRunner

from monai_s3im.bundle_config import bundle_parser
from monai_s3im.cli import app
from monai_s3im.errors import InputError
from monai_s3im.pipeline import Fuser
from monai_s3im.workflows import Inference

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("monai_s3im", "slicer_extension", "benchmarks", "studies", ".ci", "docs")
SOURCES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
BANNED_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "telnetlib", "ftplib"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "yaml.load"}
BANNED_CALLS |= {"torch.hub.load", "torch.jit.load", "input"}
ALLOWED = {
    ("monai_s3im/batch/ray_pool.py", "pickle"): "the driver's own job, to the workers of the user's own cluster",
    ("monai_s3im/networks/export.py", "torch.jit.load"): "a network that the user exported; docs/project/security.md",
}


def dangers(tree):
    """The calls in a file that could run their input as code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {alias.name.partition(".")[0] for alias in node.names} & BANNED_MODULES
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in BANNED_MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            name, values = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in BANNED_CALLS or values.get("shell", "False") != "False":
                yield name
            if values.get("allow_pickle", "False") != "False":
                yield f"{name} allow_pickle"
            if name.endswith("torch.load") and values.get("weights_only") != "True":
                yield "torch.load"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("eval(text)", ["eval"]),
        ("os.system(text)", ["os.system"]),
        ("subprocess.run(text, shell=True)", ["subprocess.run"]),
        ("import pickle", ["pickle"]),
        ("from pickle import loads", ["pickle"]),
        ("torch.load(path)", ["torch.load"]),
        ("torch.load(path, weights_only=flag)", ["torch.load"]),
        ("np.load(path, allow_pickle=True)", ["np.load allow_pickle"]),
        ("torch.load(path, weights_only=True); np.load(path); re.compile(text); model.eval()", []),
    ],
)
def test_the_search_finds_what_it_looks_for(code, found):
    assert list(dangers(ast.parse(code))) == found


def test_there_is_code_to_search():
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_runs_what_it_is_given(path):
    name = path.relative_to(ROOT).as_posix()
    found = set(dangers(ast.parse(path.read_text(encoding="utf-8"))))
    assert {danger for danger in found if (name, danger) not in ALLOWED} == set()


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "ran"


@pytest.fixture
def expression(marker):
    """What a config would run."""
    return f"$__import__('pathlib').Path('{marker}').touch()"


def test_a_config_runs_the_expression(expression, marker):
    parser = bundle_parser("inference")
    parser["plane"] = expression
    parser.get_parsed_content("plane")
    assert marker.exists()


@pytest.mark.parametrize("setting", ["plane", "reference", "spacing", "register", "window", "color_map", "transform"])
def test_a_setting_is_text_and_not_run(setting, expression, marker):
    with pytest.raises(InputError, match=f"the setting {setting} cannot be .* which a config would run"):
        Fuser(device="cpu", **{setting: expression})
    assert not marker.exists()


@pytest.mark.parametrize(
    "value", ["@network", "%inference.json::items", " $1", "a@##b", ["$1"], {"_target_": "x"}, [["$1"]]]
)
def test_references_macros_and_components_are_not_settings(value):
    with pytest.raises(InputError, match="the setting window cannot be"):
        Fuser(device="cpu", window=value)


@pytest.mark.parametrize("option", ["--weights", "--color-map", "--window", "--plane"])
def test_an_option_of_the_command_is_not_run(option, expression, marker, tmp_path):
    images = [write_picture(tmp_path / f"{name}.png", 0) for name in "ab"]
    result = CliRunner().invoke(app, ["fuse", *map(str, images), "-o", str(tmp_path / "f.png"), option, expression])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert not marker.exists()


def test_a_list_of_pairs_is_not_run(expression, marker, tmp_path):
    pairs = {"training": [{"image_a": expression, "image_b": "%x", "modality_a": expression}]}
    (tmp_path / "datalist.json").write_text(json.dumps(pairs))
    for path in (tmp_path, tmp_path / "datalist.json"):
        result = CliRunner().invoke(app, ["fuse", "--pairs", str(path), "-o", str(tmp_path / "out")])
        assert result.exit_code == 2
        workflow = Inference(pairs=str(path), output_dir=str(tmp_path / "out"), device="cpu", logging_file=False)
        with pytest.raises(InputError, match="does not exist"):
            workflow.run()
    assert not marker.exists()


def test_the_record_of_a_result_is_not_run_when_it_is_reported(expression, marker, tmp_path):
    write_volume(tmp_path / "a.nii.gz", 0)
    write_volume(tmp_path / "b.nii.gz", 5)
    (tmp_path / "pairs.csv").write_text("name,image_a,image_b,modality_a,modality_b\ncase,a.nii.gz,b.nii.gz,mr,pet\n")
    pairs = ["--pairs", str(tmp_path / "pairs.csv")]
    assert CliRunner().invoke(app, ["fuse", *pairs, "-o", str(tmp_path / "out"), "--device", "cpu"]).exit_code == 0
    record = json.loads((tmp_path / "out" / "case.json").read_text(encoding="utf-8"))
    component = {"_target_": "pathlib.Path.touch", "self": str(marker)}
    for name, value in (("window", expression), ("imports", [expression]), ("preprocessing", component), ("plane", {})):
        (tmp_path / "out" / "case.json").write_text(json.dumps({**record, name: value}))
        result = CliRunner().invoke(app, ["report", str(tmp_path / "out"), *pairs])
        assert (tmp_path / "out" / "report.html").is_file(), result.output
        assert not marker.exists()


@pytest.fixture
def foreign_config(expression, tmp_path):
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "theirs.json"
    file.write_text(json.dumps({"initialize": [expression], "run": ["$None"], "seed": 0}))
    return file


def test_a_foreign_config_requires_trust(foreign_config, marker, monkeypatch):
    monkeypatch.chdir(foreign_config.parent)
    for name in (str(foreign_config), "theirs.json", str(foreign_config.with_suffix("")), "../configs/theirs"):
        result = CliRunner().invoke(app, ["train", "--config", name])
        assert result.exit_code == 2
        assert "a config can run any code" in result.stderr or "neither a config of the bundle" in result.stderr
    assert not marker.exists()


def test_a_config_that_is_trusted_runs(foreign_config, marker):
    CliRunner().invoke(app, ["train", "--config", str(foreign_config), "--trust-config"])
    assert marker.exists()
