"""The configs name their components, so nothing is picked by its position or the end of a class name."""

import re
from pathlib import Path

import pytest
import torch.distributed
from monai.bundle import ConfigParser
from monai.handlers import LrScheduleHandler, StatsHandler, TensorBoardStatsHandler, ValidationHandler

from monai_s3im.bundle_config import bundle_root
from monai_s3im.training.negative_images import UprightStart

ROOT = Path(__file__).resolve().parents[2]
WORK = {"train": [UprightStart, ValidationHandler], "train_salient": [ValidationHandler, LrScheduleHandler]}


@pytest.mark.parametrize("recipe", WORK)
def test_of_several_processes_the_first_reports_and_all_do_the_work(recipe, monkeypatch, tmp_path):
    names = ["train", *([recipe] if recipe != "train" else []), "multi_gpu_train"]
    for rank, reports in ((0, [StatsHandler, TensorBoardStatsHandler]), (1, [])):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        parser = ConfigParser()
        parser.read_config([bundle_root() / "configs" / f"{name}.json" for name in names])
        parser.update({"device": "cpu", "output_dir": str(tmp_path)})
        parser["validate#evaluator"] = None
        if "lr_schedule" in parser:
            parser["lr_schedule"] = {"_target_": "types.SimpleNamespace"}
        handlers = parser.get_parsed_content("train#trainer#train_handlers")
        assert [type(handler) for handler in handlers] == WORK[recipe] + reports


def test_no_part_of_a_config_is_overridden_by_its_position():
    files = [
        file
        for folder in ("bundle/configs", "benchmarks", "studies", "monai_s3im", "docs")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".json", ".py", ".md"}
    ]
    assert len(files) > 100
    assert [file for file in files if re.search(r"[a-z_]#[a-z_]+#\d", file.read_text(encoding="utf-8"))] == []
