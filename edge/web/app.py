"""The page's routes: the state, the pictures, the orders, a probe, and the static files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from edge.errors import LeukoscopeError
from edge.web.feed import Feed, FieldPictures, TooManyWatchersError, Watcher, read_state
from edge.web.guard import is_loopback
from edge.web.view import CellId, GalleryGroup, GroundMap, ScanOutcome, StationView, Verdict

KEEP_ALIVE_S: Final = 10.0

SlideName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f\u2028\u2029]+$"
    ),
]


class SlideOrder(BaseModel):
    """The body of an order to open a slide; what is left out, the station decides."""

    model_config = ConfigDict(extra="forbid")

    slide: SlideName | None = None
    target_cells: Annotated[int, Field(ge=1, le=10_000)] | None = None


class ScanOrder(BaseModel):
    """The body of an order for a barcode that was read."""

    model_config = ConfigDict(extra="forbid")

    slide: SlideName


class ScanAnswer(BaseModel):
    """What came of it."""

    outcome: ScanOutcome


class VerdictOrder(BaseModel):
    """The body of a person's verdict on a cell; null lets the network's answer stand again."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict | None


class _EventStream(StreamingResponse):
    """Server-sent events of one watcher, whose place is given back however the stream ends."""

    def __init__(self, *, feed: Feed, watcher: Watcher, first: list[str]) -> None:
        super().__init__(_events(watcher, first), media_type="text/event-stream")
        self._feed = feed
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave(self._watcher)


async def _events(watcher: Watcher, first: list[str]) -> AsyncIterator[str]:
    for event in first:
        yield event
    while True:
        try:
            state = await asyncio.wait_for(watcher.take(), KEEP_ALIVE_S)
        except asyncio.TimeoutError:
            yield ": the station has nothing to say\n\n"
            continue
        if state is None:
            return
        yield _event("state", state)


class _Routes:
    """What each address answers. Plain methods run in the server's thread pool, where they may block."""

    def __init__(
        self, *, view: StationView, feed: Feed, pictures: FieldPictures, remote_control: bool
    ) -> None:
        self._view = view
        self._feed = feed
        self._pictures = pictures
        self._remote_control = remote_control

    def state(self, request: Request) -> Response:
        told = read_state(self._view, self._pictures).json(knows_ids=self._may_control(request))
        return Response(told, media_type="application/json")

    async def events(self, request: Request) -> Response:
        may_control = self._may_control(request)
        watcher = self._feed.join(knows_ids=may_control)
        try:
            now = await run_in_threadpool(read_state, self._view, self._pictures)
        except BaseException:  # whatever ends this request, a cancellation included, gives the place back
            self._feed.leave(watcher)
            raise
        hello = json.dumps({"may_control": may_control})
        first = [_event("hello", hello), _event("state", now.json(knows_ids=may_control))]
        return _EventStream(feed=self._feed, watcher=watcher, first=first)

    def _may_control(self, request: Request) -> bool:
        """Whoever may open slides by their accession ids may see these as well."""
        return self._remote_control or is_loopback(request.client.host if request.client else "")

    def field_picture(self, sequence: int) -> Response:
        picture = self._pictures.get(sequence)
        if picture is None:
            raise HTTPException(404, "The picture of this field is no longer kept; newer ones are.")
        return _jpeg(picture.jpeg, kept=False)

    def frame_picture(self, request: Request) -> Response:
        frame = self._view.frame_jpeg()
        if frame is None:
            raise HTTPException(404, "The camera has not given a frame yet.")
        tag = f'"{frame.sequence}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        response = _jpeg(frame.jpeg, kept=False)
        response.headers["ETag"] = tag
        return response

    def cell_picture(self, cell_id: CellId) -> Response:
        crop = self._view.cell_jpeg(cell_id)
        if crop is None:
            raise HTTPException(404, "The crop of this cell is no longer kept.")
        return _jpeg(crop, kept=True)

    def gallery(self) -> tuple[GalleryGroup, ...]:
        return self._view.gallery()

    def ground_map(self) -> GroundMap:
        return self._view.ground_map()

    def open_slide(self, order: SlideOrder) -> None:
        self._view.open_slide(order.slide, order.target_cells)

    def scan_slide(self, order: ScanOrder) -> ScanAnswer:
        return ScanAnswer(outcome=self._view.scan_slide(order.slide))

    def pause_slide(self) -> None:
        self._view.pause_slide()

    def resume_slide(self) -> None:
        self._view.resume_slide()

    def close_slide(self) -> None:
        self._view.close_slide()

    def judge_cell(self, cell_id: CellId, order: VerdictOrder) -> None:
        self._view.judge_cell(cell_id, order.verdict)

    def health(self) -> Response:
        now = self._view.snapshot().health
        broken = [] if self._feed.alive else ["The page's feed has stopped; restart the station."]
        body = {
            "status": "failing" if broken else "ok",
            "camera": now.camera,
            "problems": [*broken, *now.problems],
        }
        return JSONResponse(body, status_code=503 if broken else 200)


def create_app(*, view: StationView, feed: Feed, pictures: FieldPictures, remote_control: bool) -> FastAPI:
    """The routes over ``view``. FastAPI's documentation pages are off: they load from another host."""
    routes = _Routes(view=view, feed=feed, pictures=pictures, remote_control=remote_control)
    app = FastAPI(title="Leukoscope", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/api/state", routes.state)
    app.add_api_route("/api/events", routes.events)
    app.add_api_route("/api/field.jpg", routes.field_picture)
    app.add_api_route("/api/frame.jpg", routes.frame_picture)
    app.add_api_route("/api/cells/{cell_id}.jpg", routes.cell_picture)
    app.add_api_route("/api/gallery", routes.gallery)
    app.add_api_route("/api/ground", routes.ground_map)
    app.add_api_route("/api/health", routes.health)
    for order, obey in (
        ("/api/slide/open", routes.open_slide),
        ("/api/slide/pause", routes.pause_slide),
        ("/api/slide/resume", routes.resume_slide),
        ("/api/slide/close", routes.close_slide),
        ("/api/cells/{cell_id}/verdict", routes.judge_cell),
    ):
        app.add_api_route(order, obey, methods=["POST"], status_code=204)
    app.add_api_route("/api/slide/scan", routes.scan_slide, methods=["POST"])
    app.mount("/", StaticFiles(directory=_static_directory(), html=True))
    app.add_exception_handler(LeukoscopeError, _mendable)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


def _static_directory() -> Path:
    # The package is always unpacked on a station (onnxruntime beside it could not run from a zip).
    return Path(str(resources.files("edge.web"))) / "static"


def _jpeg(content: bytes, *, kept: bool) -> Response:
    # A cell's id is never given to another cell; a field's sequence begins anew when the station does.
    caching = "private, max-age=3600, immutable" if kept else "no-store"
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": caching})


def _mendable(_: Request, error: Exception) -> Response:
    if not isinstance(error, LeukoscopeError):
        raise error
    status = 503 if isinstance(error, TooManyWatchersError) else 409
    return JSONResponse({"fault": error.fault, "remedy": error.remedy}, status_code=status)


def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, StarletteHTTPException):
        raise error
    fault = "There is nothing at this address." if error.detail == "Not Found" else str(error.detail)
    return JSONResponse({"fault": fault, "remedy": ""}, status_code=error.status_code, headers=error.headers)


def _unexpected(_: Request, __: Exception) -> Response:
    # Starlette raises it again after this answer, so that it stands in the log with its trace.
    fault = "The station failed at this request; its log says why."
    return JSONResponse({"fault": fault, "remedy": "Try again, and report it if it stays."}, status_code=500)


def _malformed(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in error.errors()]
    fault = f"The request cannot be understood ({'; '.join(faults)})."
    remedy = "A slide's name is 1 to 64 printable characters; leave it out and the station gives one."
    return JSONResponse({"fault": fault, "remedy": remedy}, status_code=422)
