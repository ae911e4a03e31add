"""The process of one session: a scene, its views, the page; started and reached by the gateway alone.

``python -m s3im_web.app`` reads its settings, one line of JSON, from stdin, prints the port that it listens at, and
ends when stdin does.
"""

import asyncio
import hmac
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from S3IMFusionLib.logic import FusionLogic
from slicer import vtkMRMLVolumeNode
from trame.app import get_server
from trame_slicer.core import SlicerApp

from .files import FileError, base_name, list_volumes, plain_name, volume_inside, volume_suffix
from .gateway import SECRET_HEADER
from .page import NO_BAR, Page
from .session_settings import SessionSettings
from .viewing import FusionViews
from .volumes import (
    Upload,
    checked_upload,
    color_bar_of,
    load_volume,
    note_uploads,
    record_of,
    record_text_of,
    save_volume,
    show_range,
)
from .work import Work

DOWNLOADS = ("nrrd", "nii.gz", "json")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FusionApp:
    """The session: takes volumes in, fuses, shows, gives out.

    Args:
        settings: what the server sent.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self.server = get_server("s3im_web", client_type="vue3")
        self._slicer = SlicerApp()
        self._views = FusionViews(self.server, self._slicer)
        self._sources: dict[str, vtkMRMLVolumeNode | None] = {"a": None, "b": None}
        self._uploads: dict[str, Upload] = {}
        self._fused: vtkMRMLVolumeNode | None = None
        logic = FusionLogic(self._slicer.scene, as_fractions=True)  # saved as the command saves
        self._work = Work(logic, self.server.state, settings, self._on_fused)
        Page(self.server, self._views, self._fuse, self._work.cancel)
        state = self.server.state
        state.server_files = list_volumes(settings.data)
        state.change("fade")(lambda fade, **_: self._views.fade(max(-1.0, min(1.0, float(fade)))))
        state.change("layout")(lambda layout, **_: self._views.set_layout(layout))
        for side in self._sources:
            state.change(f"choice_{side}")(self._load_choice(side))
        self.server.controller.on_server_bind.add(self._add_routes)
        self.server.controller.on_server_ready.add(self._tell_port)

    def _tell_port(self, **_: object) -> None:
        sys.stdout.write(f"\ns3im-web port {self.server.port}\n")
        sys.stdout.flush()
        os.dup2(2, 1)  # nobody reads further lines

    def _add_routes(self, web_server: object) -> None:
        web_server.app.middlewares.append(_asks_for(self._settings.secret))
        web_server.app.router.add_post("/upload/{side}", self._upload)
        web_server.app.router.add_get("/download/{kind}", self._download)

    def _fuse(self) -> None:
        fusion = self._work.fuse(self._sources["a"], self._sources["b"])
        self._fusion = asyncio.create_task(fusion)  # while it is awaited no other message would be read

    def _on_fused(self, fused: vtkMRMLVolumeNode) -> None:
        note_uploads(fused, self._uploads)
        self._forget_fused()
        self._fused = fused
        self._views.show("Fused", fused)
        for side, source in record_of(fused).sources.items():
            show_range(self._sources[side.removeprefix("image_")], *source.intensity_range)
        with self.server.state as state:
            state.update({"fused_name": fused.GetName(), **color_bar_of(record_of(fused))})

    def _forget_fused(self) -> None:
        """Take the result away, and with it what saves it."""
        former, self._fused = self._fused, None
        self._views.show("Fused", None)
        self._views.fade(0)
        if former is not None:
            self._slicer.scene.RemoveNode(former)
        with self.server.state as state:
            state.update({"fused_name": "", "fade": 0, **NO_BAR})

    def _load_choice(self, side: str) -> Callable[..., Coroutine[Any, Any, None]]:
        async def load(**state: object) -> None:
            choice = state[f"choice_{side}"]
            if not choice:
                return
            values: dict[str, object] = {}
            with self.server.state as shown:
                shown[f"loading_{side}"] = True
            try:
                path = volume_inside(self._settings.data, str(choice))
                await self._take(side, path, path.name)
            except FileError as error:
                values = {"message": str(error), f"choice_{side}": None}
            finally:
                with self.server.state as shown:
                    shown.update({**values, f"loading_{side}": False})

        return load

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        """Receive a file into a folder of its own, read it, and remove it."""
        side = request.match_info["side"]
        if side not in self._sources:
            raise web.HTTPNotFound
        state = self.server.state
        with state:
            state.update({f"loading_{side}": True, "message": ""})
        folder = None
        try:
            name = base_name(unquote(request.headers.get("X-File-Name", "")))
            volume_suffix(name)
            folder = self._settings.folder / f"{side}-{secrets.token_hex(8)}"  # no name of a modality in it
            folder.mkdir(mode=0o700)
            path = folder / f"{plain_name(name)}{volume_suffix(name)}"
            await self._receive(request, path)
            await self._take(side, path, name)
            with state:
                state[f"choice_{side}"] = None  # the same one can be chosen again
        except FileError as error:
            with state:
                state.message = str(error)
            return web.Response(status=422, text=str(error))
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            with state:
                state[f"loading_{side}"] = False
        return web.Response(text="taken")

    async def _receive(self, request: web.Request, path: Path) -> None:
        allowed = self._settings.max_bytes
        refusal = FileError(f"{path.name} is larger than the {allowed / 2**20:.0f} MB that are allowed here")
        with path.open("wb") as file:
            if (request.content_length or 0) > allowed:
                raise refusal
            async for chunk in request.content.iter_any():
                allowed -= len(chunk)
                if allowed < 0:
                    raise refusal
                file.write(chunk)

    async def _take(self, side: str, path: Path, name: str) -> None:
        """Make a file the source A or B; a result of the former one goes."""
        self._check_idle()
        self._work.prepare()
        upload = await asyncio.to_thread(checked_upload, path, name, self._settings.max_bytes)
        self._check_idle()
        title = plain_name(name)
        volume = load_volume(self._slicer, path, title)
        self._forget_fused()
        former, self._sources[side] = self._sources[side], volume
        self._uploads[side] = upload
        self._views.show(side.upper(), volume)
        if former is not None:
            self._slicer.scene.RemoveNode(former)
        with self.server.state as state:
            state.update({f"name_{side}": title, "message": "", "note": ""})

    def _check_idle(self) -> None:
        if self.server.state.is_running:
            raise FileError("A fusion is running: wait for its end, or cancel it.")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if kind not in DOWNLOADS or self._fused is None:
            raise web.HTTPNotFound(text="There is no fused volume to save: fuse first.")
        folder = Path(tempfile.mkdtemp(prefix="save-", dir=self._settings.folder))
        path = folder / f"fused.{kind}"
        try:
            if kind == "json":
                path.write_text(record_text_of(self._fused))
            else:
                save_volume(self._fused, path)
            name = f"{self._fused.GetName()}.{kind}"
            response = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{_ascii(name)}"'})
            response.content_type = "application/octet-stream"
            response.content_length = path.stat().st_size
            await response.prepare(request)
            with path.open("rb") as file:
                while chunk := file.read(2**20):
                    await response.write(chunk)
            return response
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _ascii(name: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name)


def _asks_for(secret: str) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """Other users of this machine can reach the port, but do not know the secret."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(), secret.encode()):
            raise web.HTTPForbidden
        return await handler(request)

    return ask


async def _serve(settings: SessionSettings) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _end_with_server, settings.folder)
    app = FusionApp(settings)
    await app.server.start(
        port=0, host="127.0.0.1", exec_mode="coroutine", open_browser=False, show_connection_info=False, timeout=0
    )


def _end_with_server(folder: Path) -> None:
    """Stdin has ended: the server is gone, even if it was killed."""
    if not os.read(sys.stdin.fileno(), 1024):
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def main() -> None:
    """Serve one session."""
    settings = SessionSettings.from_line(sys.stdin.buffer.raw.readline().decode())
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # draws without a screen
    os.environ["WSLINK_READY_MSG"] = ""
    tempfile.tempdir = os.environ["TMPDIR"] = str(settings.folder)
    sys.argv = sys.argv[:1]  # trame reads options of its own
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
