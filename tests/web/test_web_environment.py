"""Report where the web front is not tested."""

import importlib.util
import sys
from pathlib import Path

import pytest


def test_the_web_front_is_tested_in_a_separate_environment() -> None:
    if importlib.util.find_spec("aiohttp") is None:
        pytest.skip("aiohttp is not installed: run make test-web")
    import s3im_web

    assert s3im_web.__doc__


@pytest.mark.parametrize("missing", ["aiohttp"])
def test_a_missing_extra_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "web")
    from s3im_web.command import main

    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "s3im-web: the web front is not installed: python -m pip install 'aiohttp>=3.10'\n"
    )
