"""Says so where the web front is not tested."""

import importlib.util
import sys
from pathlib import Path

import pytest


def test_the_web_front_is_tested_in_an_environment_of_its_own() -> None:
    if importlib.util.find_spec("trame_slicer") is None:
        pytest.skip("no trame-slicer here, which needs another slicer-core: docs/guides/web.md says how to test it")
    import s3im_web

    assert s3im_web.__doc__


@pytest.mark.parametrize("missing", ["aiohttp", "trame_slicer", "trame_vuetify"])
def test_without_the_extra_it_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "slicer_extension" / "S3IMFusionWeb")
    from s3im_web.command import main

    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "s3im-web: the web front is not installed: "
        "python -m pip install 'trame-slicer[standalone]>=2,<3' 'trame-vuetify>=3' 'aiohttp>=3.10'\n"
    )
