"""The page and its socket. Loopback only, one driver at a time, and no other site may speak to the socket.

`GET /` answers the page, one document that asks for nothing else; `/socket` is a websocket. The page sends events, see
`controls.parse`, and gets a hello and then a JSON of every tick. Ticks come at equal distances; a tick that took too
long is followed by the next at once, so that none is left out and time does not run away.
"""

import asyncio
import base64
import concurrent.futures
import contextlib
import errno
import http
import ipaddress
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from vrjax.world.play import page
from vrjax.world.play.controls import Event, parse
from vrjax.world.play.recording import Recording
from vrjax.world.play.session import Session, Shown, Tick

WAITING = 1000
"""Events that may wait for a tick; more is no person's."""
RECENT = 120
"""Ticks over which the page's percentiles and rates are taken."""
MISSING = "play needs the package websockets: pip install 'vrjax[play]'"


def loopback(host: str) -> str:
    """The host, where it is this machine's loopback. Raises ValueError for any other address."""
    if host == "localhost":
        return host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    raise ValueError(f"--host must be a loopback address such as 127.0.0.1, found {host}: the page has no password")


class Server:
    """Serves a session.

    Args:
        session: the two worlds.
        recording: where drives are kept.
        host, port: a loopback address; port 0 takes a free one.
        fps: ticks a second.
        title: of the page.
        note: what a person should know, shown on the page.
        say: prints a line.

    Raises:
        ValueError: another address than loopback, fps out of its range. ImportError: websockets is missing.
    """

    def __init__(
        self,
        session: Session,
        recording: Recording,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        fps: float | int = 12.0,
        title: str = "drive",
        note: str = "",
        say: Callable[[str], Any] = print,
    ):
        try:
            import websockets.asyncio.server as library
        except ImportError:
            raise ImportError(MISSING) from None
        if not 1 <= fps <= 60:
            raise ValueError(f"--fps must be 1 to 60, found {fps:g}")
        if not 0 <= port <= 65535:
            raise ValueError(f"--port must be 0 to 65535, found {port}")
        self._library, self.session, self.recording = library, session, recording
        self.host, self.port, self.fps = loopback(host), port, fps
        self._title, self._note, self._say = title, note, say
        self._busy = False
        # All programs run in one thread, so that the socket answers while they do.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "drive")
        self.drives = 0

    @property
    def address(self) -> str:
        """What to open."""
        return f"http://{self._named(self.host)}:{self.port}/"

    @staticmethod
    def _named(host: str) -> str:
        return f"[{host}]" if ":" in host else host

    def _hosts(self) -> set[str]:
        names = {self._named(self.host), "127.0.0.1", "localhost", "[::1]"}
        return {f"{name}:{self.port}" for name in names}

    def warm(self) -> None:
        """Compiles everything, so that the first tick is as fast as the next."""
        moment = self.session.begin()
        for _ in range(3):
            moment, _ = self.session.tick(moment, [])

    async def serve(self, seconds: float | int | None = None, ready: Callable[["Server"], Any] | None = None) -> None:
        """Serves until it is cancelled, or for so many seconds.

        Args:
            seconds: None for ever.
            ready: is called when the page can be opened; `port` is known then.

        Raises:
            ValueError: the port is taken.
        """
        try:
            # Whoever asks from elsewhere is refused in `_answer`, before a connection is a websocket.
            served = await self._library.serve(
                self._drive, self.host, self.port, process_request=self._answer, max_size=4096, compression=None
            )
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is taken" if error.errno == errno.EADDRINUSE else "is not allowed"
            raise ValueError(f"--port {self.port} {why}: choose another, or 0 for any that is free") from None
        async with served:
            self.port = next(iter(served.sockets)).getsockname()[1]
            await self._run(self.warm)  # who comes before waits
            if ready is not None:
                ready(self)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(served.wait_closed(), seconds)
        self._thread.shutdown(wait=True)

    async def _run(self, fn: Callable, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, fn, *args)

    # --------------------------------------------------------------------------------------------------------- answers

    def _answer(self, connection: Any, request: Any) -> Any:
        """The page, or why not; None goes on to the websocket."""
        hosts = self._hosts()
        if request.headers.get_all("Host") not in [[host] for host in hosts]:
            return self._text(connection, http.HTTPStatus.FORBIDDEN, "this page is served to this machine only")
        path = request.path.partition("?")[0]
        if path == "/socket":
            if request.headers.get_all("Origin") not in [[f"http://{host}"] for host in hosts]:
                return self._text(connection, http.HTTPStatus.FORBIDDEN, "other sites may not drive")
            return None
        if path == "/":
            nonce = secrets.token_urlsafe(16)
            body = page.document(self._title, self._note, nonce)
            answer = connection.respond(http.HTTPStatus.OK, body)
            del answer.headers["Content-Type"]
            answer.headers["Content-Type"] = "text/html; charset=utf-8"
            answer.headers["Content-Security-Policy"] = page.policy(nonce, request.headers["Host"])
            answer.headers["X-Content-Type-Options"] = "nosniff"
            answer.headers["Cache-Control"] = "no-store"
            return answer
        return self._text(connection, http.HTTPStatus.NOT_FOUND, "nothing here but / and /socket")

    @staticmethod
    def _text(connection: Any, status: http.HTTPStatus, line: str) -> Any:
        return connection.respond(status, line + "\n")

    # ----------------------------------------------------------------------------------------------------------- drive

    async def _drive(self, connection: Any) -> None:
        for _ in range(20):  # a page that is loaded again comes before its last drive is put away
            if not self._busy:
                break
            await asyncio.sleep(0.05)
        if self._busy:
            await self._refuse(connection, 1013, "somebody drives already: close the other page")
            return
        self._busy = True
        try:
            await self._one(connection)
        finally:
            self._busy = False

    async def _refuse(self, connection: Any, code: int, line: str) -> None:
        with contextlib.suppress(Exception):
            await connection.send(json.dumps({"type": "error", "line": line}))
        await connection.close(code, line.encode()[:120].decode(errors="ignore"))

    async def _one(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        session, drive = self.session, self.recording.drive()
        self.drives += 1
        inbox: deque[Event] = deque()
        trouble: list[str] = []
        meter = Meter()
        moment = await self._run(session.begin)
        reader = None
        try:
            await connection.send(json.dumps(self._hello(drive.path.name)))
            reader = asyncio.create_task(self._read(connection, inbox, trouble))
            began = due = time.perf_counter()
            while not reader.done():
                events = [inbox.popleft() for _ in range(len(inbox))]
                moment, tick = await self._run(session.tick, moment, events)
                drive.add(tick)
                meter.add(tick, time.perf_counter())
                await connection.send(json.dumps(told(tick, moment.last, meter), allow_nan=False))
                # Late ticks are caught up with, by one second at most.
                due = max(due + 1 / self.fps, time.perf_counter() - 1.0)
                await asyncio.wait({reader}, timeout=max(due - time.perf_counter(), 0))
            if trouble:
                await self._refuse(connection, 1008, trouble[0])
        except ConnectionClosed:
            pass
        finally:
            if reader is not None:
                reader.cancel()
            # Events that came after the last tick are of the drive too.
            if inbox:
                moment, tick = await self._run(session.tick, moment, list(inbox))
                drive.add(tick)
            took = time.perf_counter() - began if moment.number else 0.0
            drive.close(seconds=round(took, 3), fps=round(moment.number / max(took, 1e-9), 3), refused=trouble)
            if moment.number:
                self._say(f"{drive.path}: {moment.number} ticks, {moment.last} inputs")

    async def _read(self, connection: Any, inbox: deque[Event], trouble: list[str]) -> None:
        """Events in order; ends where the connection does, or with the first message that is none."""
        from websockets.exceptions import ConnectionClosed

        last = 0
        try:
            async for message in connection:
                event = parse(message, last, self.session.cameras, self.session.events)
                last = event.number
                inbox.append(event)
                if len(inbox) > WAITING:
                    raise ValueError(f"input: more than {WAITING} events wait")
        except ConnectionClosed:
            pass
        except ValueError as error:
            trouble.append(str(error))

    def _hello(self, drive: str) -> dict[str, Any]:
        session = self.session
        return {
            "type": "hello",
            "sides": [{"label": side.label, "frame": list(side.world.frame[:2])} for side in session.sides],
            "cameras": list(session.cameras),
            "events": list(session.events),
            "fps": self.fps,
            "drive": drive,
        }


class Meter:
    """Rates and percentiles of the last ticks."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=RECENT)
        self._ms: deque[list[float]] = deque(maxlen=RECENT)

    def add(self, tick: Tick, now: float) -> None:
        """A tick that is ready now."""
        self._at.append(now)
        self._ms.append([ms for shown in tick.shown for ms in (shown.step_ms, shown.render_ms)])

    @property
    def fps(self) -> float:
        """Ticks a second."""
        return (len(self._at) - 1) / (self._at[-1] - self._at[0]) if len(self._at) > 1 else 0.0

    def percentiles(self, side: int) -> dict[str, list[float]]:
        """p50 and p95 in ms of a side's step and render."""
        found = np.percentile(np.array(self._ms), (50, 95), axis=0)[:, 2 * side : 2 * side + 2].T
        return {name: [round(float(ms), 2) for ms in row] for name, row in zip(("step", "render"), found, strict=True)}


def told(tick: Tick, last: int, meter: Meter) -> dict[str, Any]:
    """A tick as the page reads it; `acked` is the number of the last event that it took."""
    sides = [_side(shown) | {"ms": meter.percentiles(i)} for i, shown in enumerate(tick.shown)]
    return {
        "type": "tick", "number": tick.number, "time": tick.time, "acked": last, "sides": sides,
        "action": [round(float(value), 4) for value in tick.action], "apart": tick.apart, "fps": round(meter.fps, 2),
    }  # fmt: skip


def _side(shown: Shown) -> dict[str, Any]:
    return {
        "frame": _packed(shown.frame), "size": list(shown.frame.shape[:2]),
        "steps": None if shown.steps is None else [_packed(frame) for frame in shown.steps],
        "driven": shown.driven, "speed": shown.speed, "route": shown.route, "flags": list(shown.flags),
        "digest": shown.digest[0],
    }  # fmt: skip


def _packed(frame: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(frame).tobytes()).decode("ascii")
