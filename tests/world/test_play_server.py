"""The page's server through real sockets: who is refused, what bad input is told, and that no input is dropped."""

import asyncio
import json
import socket
import urllib.error
import urllib.request

import play_toys as toys
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vrjax.world import play
from vrjax.world.play import recording, server, sides

NAMES = ("exact", "dream")


@pytest.fixture(autouse=True)
def toy_names(monkeypatch):
    monkeypatch.setattr(sides, "open_worlds", lambda names, **options: toys.sides())


def serving(tmp_path, script, **options):
    """Runs a coroutine function of a server that is ready, and returns what it returns and the run's folder."""
    session = toys.session()
    about = recording.config(session, NAMES, {"kind": None, "size": [4, 6], "dt": 0.1})

    async def run(on):
        ready: asyncio.Future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(on.serve(None, ready.set_result))
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        try:
            return await asyncio.wait_for(script(on), 60)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with play.Recording(tmp_path / "run", about) as kept:
        told: list[str] = []
        on = server.Server(session, kept, fps=60, say=told.append, **options)
        return asyncio.run(run(on)), tmp_path / "run"


def joined(on, origin=None):
    origin = f"http://127.0.0.1:{on.port}" if origin is None else origin
    return connect(f"ws://127.0.0.1:{on.port}/socket", origin=origin, compression=None, close_timeout=0.5)


async def until(driver, number):
    """Ticks until one has taken the event of that number."""
    out = []
    while not out or out[-1]["acked"] < number:
        told = json.loads(await driver.recv())
        assert told["type"] in ("hello", "tick"), told
        out += [told] if told["type"] == "tick" else []
    return out


def test_no_input_is_dropped_and_the_drive_replays(tmp_path):
    """Three hundred events in bursts: every one is taken, in order, and kept."""
    pairs = [(kind, command) for command in ("left", "forward", "brake") for kind in ("down", "up")] * 50

    async def script(on):
        async with joined(on) as driver:
            hello = json.loads(await driver.recv())
            for number, (kind, command) in enumerate(pairs, 1):
                await driver.send(json.dumps({"n": number, "kind": kind, "value": command}))
                if number % 37 == 0:
                    await asyncio.sleep(0.02)
            ticks = await until(driver, len(pairs))
            # two more that no tick has taken when the page goes away
            for i, kind in enumerate(("reset", "event"), 1):
                value = "rain" if kind == "event" else ""
                await driver.send(json.dumps({"n": len(pairs) + i, "kind": kind, "value": value}))
            await driver.close()
        for _ in range(200):
            if (on.recording.folder / "drive-001.json").exists():
                break
            await asyncio.sleep(0.02)
        return hello, ticks

    (hello, ticks), folder = serving(tmp_path, script)
    assert hello["type"] == "hello" and hello["cameras"] == ["front", "back"] and hello["events"] == ["rain"]
    assert [side["label"] for side in hello["sides"]] == ["exact", "learned"] and hello["drive"] == "drive-001.jsonl"
    assert [tick["number"] for tick in ticks] == list(range(1, len(ticks) + 1))
    acked = [tick["acked"] for tick in ticks]
    assert acked == sorted(acked) and acked[-1] == len(pairs)
    assert [side["size"] for side in ticks[-1]["sides"]] == [[4, 6], [2, 3]]
    assert ticks[-1]["sides"][0]["steps"] is None and len(ticks[-1]["sides"][1]["steps"]) == 3
    assert set(ticks[-1]["sides"][0]["ms"]) == {"step", "render"} and ticks[-1]["fps"] > 10
    rows = [json.loads(line) for line in (folder / "drive-001.jsonl").read_text().splitlines()]
    events = [tuple(event[1:]) for row in rows for event in row["events"]]
    assert events == [*pairs, ("reset", ""), ("event", "rain")]
    assert json.loads((folder / "drive-001.json").read_text())["inputs"] == len(pairs) + 2
    (found,) = play.replay(folder)
    assert found.difference is None and found.inputs == len(pairs) + 2 and found.ticks == len(rows)


def test_bad_input_gets_one_line_and_ends_the_drive(tmp_path):
    bad = ("nothing", '{"n": 2, "kind": "down", "value": "left"}', '{"n": 1, "kind": "camera", "value": "x"}', b"\x00")

    async def script(on):
        out = []
        for message in bad:
            async with joined(on) as driver:
                await driver.send(message)
                last = None
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        last = json.loads(await driver.recv())
                out.append((last, closed.value.rcvd.code, closed.value.rcvd.reason))
        return out

    found, folder = serving(tmp_path, script)
    lines = [
        "input must be JSON, found 'nothing'",
        "input must have number 1, found 2",
        "input: unknown camera 'x', expected one of front, back",
        "input must be text of at most 2000 characters",
    ]
    for (last, code, reason), line in zip(found, lines, strict=True):
        assert last == {"type": "error", "line": line} and code == 1008 and reason == line
    # what came before is kept, and replays
    assert all(drive.difference is None and drive.inputs == 0 for drive in play.replay(folder))


def test_who_is_refused(tmp_path):
    """Other sites, sites that say nothing, other names of this machine, other paths, a second driver."""

    def ask(on, path="/", host=None):
        request = urllib.request.Request(f"http://127.0.0.1:{on.port}{path}")
        if host is not None:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    async def script(on):
        for origin in ("http://example.org", f"https://127.0.0.1:{on.port}", "null", f"http://127.0.0.1:{on.port + 1}"):
            with pytest.raises(InvalidStatus) as refused:
                async with joined(on, origin):
                    pass
            assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{on.port}/socket"):
                pass
        async with joined(on) as driver, joined(on) as second:
            assert "somebody drives already" in json.loads(await second.recv())["line"]
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
            assert closed.value.rcvd.code == 1013
            await until(driver, 0)
        found = [await asyncio.to_thread(ask, on, *args) for args in ((), ("/etc/passwd",), ("/", "evil.example"))]
        return on.port, found

    hostile = "<script>alert(1)</script> & @SCRIPT@"
    (port, found), _ = serving(tmp_path, script, title=hostile, note=hostile)
    (status, headers, text), missing, elsewhere = found
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert hostile not in text and text.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; @SCRIPT@") == 3
    assert text.count("<script") == 1 and not any(word in text for word in ("src=", 'href="http', "url(", "@import"))
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and f"connect-src ws://127.0.0.1:{port}" in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in text and f'<style nonce="{nonce}">' in text
    assert missing[0] == 404 and elsewhere[0] == 403


def test_addresses_and_ports(tmp_path):
    for host in ("0.0.0.0", "192.168.0.1", "::", "example.org", "", "127.0.0.1.example.org"):
        with pytest.raises(ValueError, match="--host must be a loopback address such as 127.0.0.1, found"):
            server.loopback(host)
    assert [server.loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8")]

    async def script(on):
        raise AssertionError("it must not be ready")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port {port} is taken: choose another"):
            serving(tmp_path, script, port=port)
    with play.Recording(tmp_path / "none", {}) as kept:
        for options, line in (({"port": 70000}, "--port must be 0 to 65535"), ({"fps": 0}, "--fps must be 1 to 60")):
            with pytest.raises(ValueError, match=line):
                server.Server(toys.session(), kept, **({"fps": 12} | options))
