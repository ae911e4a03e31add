"""The options of the server, and an address that is in use."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from s3im_web import serving
from s3im_web.sessions import ServerSettings, Sessions


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("the server started")

    monkeypatch.setattr(sys, "argv", ["s3im-web", *options])
    monkeypatch.setattr(serving.web, "run_app", started)
    serving.serve()


@pytest.mark.parametrize("option", ["--port", "--jobs", "--max-sessions", "--max-megabytes", "--idle-minutes"])
@pytest.mark.parametrize("value", ["0", "-5", "nan", "few"])
def test_only_positive_numbers_are_accepted(
    option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, f"{option}={value}")
    assert end.value.code == 2
    assert f"argument {option}: {value} is not a positive number" in capsys.readouterr().err


def test_a_port_above_65535_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--port", "65536")
    assert end.value.code == 2
    assert "65536 is more than 65535" in capsys.readouterr().err


def test_a_short_idle_time_does_not_keep_a_core_busy() -> None:
    sessions = Sessions(ServerSettings(None, 1, "cpu"), jobs=1, max_sessions=1, idle_minutes=1e-9)
    try:
        assert sessions.check_seconds >= 1
    finally:
        sessions.folder.rmdir()


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = str(used.getsockname()[1])
        command = [sys.executable, "-m", "s3im_web", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"s3im-web: cannot listen on 127.0.0.1, port {port}:")


def test_the_nginx_settings_match_the_defaults_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["s3im-web"])
    options = serving._options()
    text = (Path(__file__).parents[2] / "integrations" / "web" / "nginx.conf").read_text(encoding="utf-8")
    assert f"proxy_pass http://{options.host}:{options.port};" in text
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) == options.max_megabytes + 1  # an upload has overhead besides its files
    assert "$http_host" in text  # includes the port, which the check of the origin needs
