"""The counts and yardsticks of the speed benchmark, and the page that it writes."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_s3im.networks import S3IMFusion

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from performance_page import write_page
from yardsticks import IFCNNShape, alternate, convolution_stack, count_operations


def test_the_shape_of_ifcnn_has_its_parameters():
    assert sum(parameter.numel() for parameter in IFCNNShape().parameters()) == 83_587


def test_flops_of_the_stack_are_those_counted_by_hand():
    multiplications = 9 * 20 * 30 * (2 * 32 + 6 * 32 * 32 + 32)
    assert count_operations(convolution_stack().eval(), torch.rand(1, 2, 20, 30)).flops == 2 * multiplications


@pytest.mark.parametrize("network", [IFCNNShape, convolution_stack, S3IMFusion])
def test_flops_without_attention_are_those_that_torch_counts(network):
    network, image = network().eval(), torch.rand(1, 2, 32, 40)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    tokens = 4 * 5
    attention = 2 * 4 * tokens**2 * 64 if isinstance(network, S3IMFusion) else 0
    found = sum(flops for name, flops in counter.get_flop_counts()["Global"].items() if "attention" not in str(name))
    assert count_operations(network, image).flops == found + attention


def test_bytes_are_what_is_read_and_written_and_a_view_moves_none():
    image = torch.rand(4, 6)
    assert count_operations(lambda x: (x.T[1:] + 1).relu_(), image).bytes == 4 * 4 * 5 * 4  # two operations, in and out


def test_the_limit_of_an_operation_is_the_longer_of_its_arithmetic_and_its_traffic():
    count = count_operations(lambda x: (x @ x) + 1, torch.rand(8, 8))
    limits = {"flops_per_second": 100.0, "bytes_per_second": 1000.0}
    assert count.least_seconds(limits) == pytest.approx(2 * 8**3 / 100 + 2 * 4 * 64 / 1000)


def test_functions_that_are_compared_take_turns():
    calls = []
    times = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, torch.device("cpu"), 0)
    assert "".join(calls) == "aabb" + 3 * "ab"
    assert times.keys() == {"a", "b"}


def figures():
    rows = [
        {"network": name, "precision": "float32", "side": side, "batch": 1, "seconds": seconds, "of IFCNN": seconds / 2,
         "GFLOP": 1.0, "GB": 1.0, "limit": 0.5, "attained": 0.5, "flops_per_second": 1e9, "bytes_per_second": 1e9}
        for side in (128, 256)
        for name, seconds in (("S3IMFusion", 0.75), ("IFCNN's shape", 2.0))
    ]  # fmt: skip
    return {
        "command": "python benchmarks/speed.py",
        "machine": {"device": "a machine", "threads": 2, "torch": "2", "date": "2026-01-01"},
        "network": rows,
        "loss": {"side": 256, "batch": 16, "seconds": {"step": 2.0, "S3IM": 0.2}, "share of S3IM": 0.1},
        "metrics": {"pairs": 64, "float32": 1.0, "per image": 21.0},
        "volume": [{"shape": [4, 5, 6], "precision": "float32", "stages": {"read": 1.0, "write": 2.0}, "seconds": 3.0,
                    "in memory": 0.0, "transfer alone": 0.0}],
        "memory": [{"side": 256, "MiB": 64.0, "bytes a pixel": 1024.0}],
    }  # fmt: skip


def test_the_page_is_filled_between_its_marks_and_only_there(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(
        "before\n<!-- cpu -->\nold\n<!-- end of cpu -->\nafter\n<!-- cuda -->\nnone\n<!-- end of cuda -->\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "performance_cpu.json").write_text(json.dumps(figures()))
    write_page(tmp_path)
    write_page(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- cpu -->\n`python benchmarks/speed.py`, 2026-01-01: a machine, 2 threads")
    assert text.endswith("\n<!-- end of cpu -->\nafter\n<!-- cuda -->\nnone\n<!-- end of cuda -->\n")
    assert "old" not in text
    assert "| network, 256 x 256, float32 | 750 ms | IFCNN's shape: 2 s | 0.38 |" in text
    assert "| 10.0% | at most 15 % |" in text
    assert "| 21.0 times | at least 20 times |" in text
    assert (tmp_path / "gallery" / "performance_cpu.png").stat().st_size > 10_000
