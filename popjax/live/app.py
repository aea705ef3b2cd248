"""HTTP routes of a live page: the page, its events, one trial, changes, the report."""

import asyncio
import html
import json
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from popjax.core.text import short
from popjax.live.board import Board, Cursor
from popjax.live.details import details
from popjax.live.guard import LARGEST, PAGE, Asking, Guard
from popjax.live.requests import change_requested
from popjax.live.tabs import Tabs

DIGITS = 12  # of a trial's number
TICK = 0.25  # seconds between two messages
QUIET = 10.0  # seconds without news after which a tab receives a keep-alive
ANSWER, LOOK = 1.5, 0.02  # seconds to wait for the outcome of a change, and between two polls
TABS = 20
TOLD = 4  # event streams per machine: a browser has six connections to a server, and requests need some of them
FETCHES = 4.0  # seconds in which a tab may fetch the report
ASSETS = {
    "live.js": ("popjax.live", "live.js", "text/javascript"),
    "live.css": ("popjax.live", "live.css", "text/css"),
    "report.css": ("popjax.pages", "report.css", "text/css"),
    "uplot.js": ("popjax.live", "uplot/uplot.min.js", "text/javascript"),
    "uplot.css": ("popjax.live", "uplot/uplot.min.css", "text/css"),
}


def app(board: Board, guard: Guard, tabs: Tabs) -> Any:
    """The ASGI application of a server; it answers requests that the guard does not refuse."""
    routes = Routes(board, guard, tabs)
    inner = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/events", routes.events),
            Route("/trial/{number}", routes.trial),
            Route("/report", routes.report),
            Route("/change", routes.change, methods=["POST"]),
            *(Route(f"/{name}", routes.asset) for name in ASSETS),
        ]
    )

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        headers = {name: request.headers.getlist(name) for name in request.headers.keys()}  # noqa: SIM118
        token, (arrived, _) = request.query_params.get("token"), scope.get("server") or ("", 0)
        known = Asking(request.method, scope["path"], headers, token, request.cookies, arrived)
        refused = guard.refusal(known)
        answer = inner if refused is None else PlainTextResponse(refused[1] + "\n", refused[0], PAGE)
        await answer(scope, receive, send)

    return guarded


class Routes:
    """Handlers of the requests that the guard allows."""

    def __init__(self, board: Board, guard: Guard, tabs: Tabs) -> None:
        self.board = board
        self.guard = guard
        self.tabs = tabs

    async def page(self, request: Request) -> Response:
        """The page itself, and the cookie that authorizes its further requests."""
        text = (files("popjax.live") / "live.html").read_text(encoding="utf-8")
        about = self.board.about
        title = html.escape("popjax" if about is None else about.title)
        answer = HTMLResponse(text.replace("{{title}}", title), headers=PAGE)
        answer.set_cookie(self.guard.cookie, self.guard.secret, httponly=True, samesite="strict")
        return answer

    async def asset(self, request: Request) -> Response:
        """A static file of the page."""
        package, name, kind = ASSETS[request.scope["path"].removeprefix("/")]
        return Response((files(package) / name).read_bytes(), media_type=kind, headers=PAGE)

    async def trial(self, request: Request) -> Response:
        """One trial as JSON, with the hyperparameters that may be set; 404 for an unknown one."""
        named, metric = request.path_params["number"], request.query_params.get("curve")
        if not named.isdecimal() or len(named) > DIGITS:
            return self.wrong(f"there is no trial {short(named)}", 404)
        try:
            return JSONResponse(details(self.board, int(named), metric), headers=PAGE)
        except ValueError as error:
            return self.wrong(str(error), 404)

    async def report(self, request: Request) -> Response:
        """The report, 404 before the run is over; it contains its own content security policy."""
        if self.board.report is None:
            return self.wrong("there is no report yet", 404)
        return HTMLResponse(self.board.report, headers={"cache-control": "no-store"})

    async def change(self, request: Request) -> Response:
        """Request a change: 200 once it acts or is refused, 202 while it waits, 400 if invalid, 413 if too large.

        A refusal is 200 because a browser logs any other status than 2xx as an error.
        """
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST:
                return self.wrong(f"give at most {LARGEST} bytes", 413)
        about = self.board.about
        try:
            change = change_requested(body, () if about is None else about.verbs)
        except ValueError as error:
            return self.wrong(str(error), 400)
        try:
            outcome = await run_in_threadpool(self.board.ask, change)
            for _ in range(round(ANSWER / LOOK)):
                if outcome.done():
                    outcome.result()
                    return JSONResponse({}, headers=PAGE)
                await asyncio.sleep(LOOK)
        except ValueError as error:
            return JSONResponse({"refused": str(error)}, headers=PAGE)
        outcome.add_done_callback(lambda done: self.late(change.trial, done))
        return JSONResponse({"waits": True}, 202, headers=PAGE)

    def late(self, trial: int, outcome: Any) -> None:
        """Log why a waiting change was refused."""
        if (error := outcome.exception()) is not None:
            self.board.tell(f"refused: {error}", trial)

    async def events(self, request: Request) -> Response:
        """Updates of the page as server-sent events: a few a second, each below 100 kB; 404 or 503 if refused."""
        about = self.board.about
        metric = request.query_params.get("metric") or (about.metrics[0] if about else "")
        if about is None or metric not in about.metrics:
            return self.wrong("there is no such metric", 404)
        if self.tabs.open >= TABS:
            return self.wrong(f"{TABS} tabs are open; close one", 503)
        headers = PAGE | {"x-accel-buffering": "no"}
        machine = "" if request.client is None else request.client.host
        told = self.told(Cursor(metric), self.tabs.of(machine))
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    async def told(self, cursor: Cursor, beside: list[Cursor]) -> AsyncIterator[str]:
        """The messages to one tab, until the run is over, the tab is closed, or its machine has `TOLD` newer ones."""
        about = self.board.about
        assert about is not None
        beside.append(cursor)
        try:
            known = about._asdict() | {"metric": cursor.metric}
            del known["scales"]  # sent as the sliders of each trial
            yield event({"about": known})
            quiet = 0.0
            while True:
                if cursor not in beside[-TOLD:]:
                    yield event({"elsewhere": TOLD})
                    return
                over = self.board.over
                message = self.board.message(cursor)
                if over is not None and message is None:  # nothing is left to tell before it
                    yield event({"over": over, "report": self.board.report is not None})
                    await asyncio.sleep(FETCHES if self.board.report is not None else 0)
                    return
                quiet = 0.0 if message is not None else quiet + TICK
                if message is not None:
                    yield event(message)
                elif quiet >= QUIET:
                    quiet = 0.0
                    yield ": all is well\n\n"
                await asyncio.sleep(TICK if over is None else 0)
        finally:
            beside.remove(cursor)

    @staticmethod
    def wrong(what: str, status: int) -> Response:
        """A JSON response with a one-line error."""
        return JSONResponse({"error": what}, status, headers=PAGE)


def event(message: dict[str, Any]) -> str:
    """A message as a server-sent event."""
    return f"data: {json.dumps(message, ensure_ascii=False, separators=(',', ':'))}\n\n"
