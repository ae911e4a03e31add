"""Values of real images from the evaluator common in the field."""

import json
from pathlib import Path

import pytest
import torch

from monai_s3im.evaluation.evaluate import read_luma
from monai_s3im.metrics import fusion_metrics, peak_signal_to_noise_ratio, structural_similarity

TASKS = {
    "MRI_CT": ("data/harvard/CT-MRI/val/MRI", "data/harvard/CT-MRI/val/CT"),
    "MRI_SPECT": ("data/harvard/SPECT-MRI/val/MRI", "data/harvard/SPECT-MRI/val/SPECT"),
    "RoadScene": ("data/roadscene/val/vi", "data/roadscene/val/ir"),
}
METHODS = ("Average", "Max", "IFCNN", "U2Fusion")
HISTOGRAM_METRICS = ("EN", "MI")


def fused_image(method: str, task: str, file: str, sources: torch.Tensor, shared: Path) -> torch.Tensor:
    if method == "Average":
        return ((sources[:, :1] + sources[:, 1:]) / 2 + 0.5).floor()  # rounded, half up
    if method == "Max":
        return sources.amax(1, keepdim=True)
    return read_luma(shared / "peers" / "val" / method / task / f"{Path(file).stem}.png")[None]


def measured_and_expected(method: str, task: str, shared: Path, dtype: torch.dtype, device: str = "cpu"):
    values = json.loads((shared / "reference" / "metric_values.json").read_text(encoding="utf-8"))
    for file, expected in values[task][method].items():
        sources = torch.cat([read_luma(shared / folder / file) for folder in TASKS[task]])[None]
        fused = fused_image(method, task, file, sources, shared)
        pair = tuple((image / 255).to(device, dtype) for image in (fused, sources))
        measured = fusion_metrics(*pair)
        measured["SSIM_range2"] = structural_similarity(*pair, dynamic_range=2.0)
        measured["PSNR_peak_max"] = peak_signal_to_noise_ratio(*pair, peak="max")
        assert measured.keys() == expected.keys()
        for name, value in measured.items():
            yield f"{file} {name}", value.item(), expected[name]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_values_equal_the_evaluator_of_the_field_in_float64(shared_data, task, method):
    for name, measured, expected in measured_and_expected(method, task, shared_data, torch.float64):
        assert measured == pytest.approx(expected, rel=1e-6, abs=0), name


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_histogram_metrics_equal_the_evaluator_of_the_field_in_every_printed_digit(shared_data, task, method):
    for name, measured, expected in measured_and_expected(method, task, shared_data, torch.float64):
        if name.endswith(HISTOGRAM_METRICS):
            assert float(f"{measured:.10g}") == expected, name


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_values_in_float32_are_within_a_ten_thousandth(shared_data, task, method):
    for name, measured, expected in measured_and_expected(method, task, shared_data, torch.float32):
        assert measured == pytest.approx(expected, rel=1e-4, abs=0), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_values_in_float32_on_a_gpu_are_within_a_ten_thousandth(shared_data, task, method):
    for name, measured, expected in measured_and_expected(method, task, shared_data, torch.float32, "cuda"):
        assert measured == pytest.approx(expected, rel=1e-4, abs=0), name
