"""The tests that `make test` leaves to `make test-all`, by the start of their names, with the reason.

Tests that guard the values of a fused image stay in `make test`.
"""

import pytest

LONG = {
    "batch/test_ray_pool.py": "clusters want the cores for themselves",
    "web/": "its environment is another one",
    "test_power_cuts.py": "starts, kills and starts again",
    "batch/test_worker_pool.py": "starts processes, each of which imports PyTorch",
    "batch/test_batch.py::test_an_interrupt_loses": "the same",
    "batch/test_batch.py::test_a_batch_that_is_killed": "the same",
    "batch/test_batch.py::test_two_": "the same",
    "test_tasks.py::test_workers": "the same",
    "test_add_a_modality.py::test_the_test_of_the_page": "the same",
    "bundle/test_commands.py::test_training": "a process for each training",
    "bundle/test_training.py::test_two_processes": "the same, of two",
    "test_release.py::test_the_installed_wheel": "builds all of a release",
    "test_release.py::test_the_source_builds": "the same",
    "test_release_bundle.py::test_it_fuses": "a process for each command of MONAI",
    "test_release_bundle.py::test_the_zoo_takes_its_network": "the same",
    "test_docs_code.py::test_the_code_of_the_page_runs[docs/guides": "trains and fuses as a reader would",
    "test_docs_code.py::test_the_notebook": "the same, in Jupyter",
    "networks/test_exported_network.py": "exports the whole network in three formats",
    "bundle/test_model.py::test_onnx_export": "the same, by a process of MONAI",
    "fuzz/test_fuzz_quick.py::test_no_damaged_input": "a process for each entry point, and hundreds of files",
    "report/test_report_browser.py": "Chromium",
    "slicer_extension/test_worker.py": "processes that are killed and waited for",
    "slicer_extension/test_runs.py::test_cancel": "the same",
    "slicer_extension/test_runs.py::test_a_killed": "the same",
    "slicer_extension/test_whole_run.py": "a user's whole way: four fusions in two sessions",
    "slicer_extension/test_extension_packaging.py::test_the_installed_tree_fuses": "installs the extension",
}


def mark_long(items: list[pytest.Item]) -> None:
    """Mark the tests in the table as long."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(tuple(LONG)):
            item.add_marker(pytest.mark.long)
