"""Says so where the web front is not tested."""

import importlib.util

import pytest


def test_the_web_front_is_tested_in_an_environment_of_its_own() -> None:
    if importlib.util.find_spec("trame_slicer") is None:
        pytest.skip("no trame-slicer here, which needs another slicer-core: docs/web.md tells how to test it")
    import s3im_web

    assert s3im_web.__doc__
