"""`vrjax play drive`: what it refuses, in one line; a drive through its socket, and its replay."""

import json
import socket
import threading
import time

import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from vrjax import cli


def call(*argv):
    """Exit status of a command line."""
    try:
        cli.main(["play", "drive", *map(str, argv)])
    except SystemExit as end:
        return end.code or 0
    return 0


EXACT = "--worlds", "exact", "exact"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["--host", "0.0.0.0"],
            "--host must be a loopback address such as 127.0.0.1, found 0.0.0.0: the page has no password",
        ),
        (["--seconds", "-1"], "--seconds must be above 0, found -1"),
        (["--fps", "0"], "--fps must be 1 to 60, found 0"),
        (["--port", "99999"], "--port must be 0 to 65535, found 99999"),
        ([*EXACT, "--map", "loop"], "drive: unknown kind 'loop', expected one of straight, curve, t, crossing"),
        ([*EXACT, "--dt", "nan"], "drive: dt must be a finite number of seconds above 0, found nan"),
        (["--dt", "0.2"], "drive: its steps last 0.1 s, found dt 0.2; ask for --dt 0.1"),
        (
            ["--worlds", "exact", "nowhere"],
            "no world nowhere: expected 'exact', 'drive' or the folder of a learned world",
        ),
        (["--worlds", "a", "b"], "worlds: one of the two must be 'exact', which both begin from, found a, b"),
        (["--replay", "nowhere"], "nowhere: no config.json there, expected a folder that vrjax play drive wrote"),
        (["--replay", "nowhere", "--seed", "3"], "--replay takes all from the folder, found --seed too"),
    ],
)
def test_what_is_refused(argv, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*argv) == 2
    assert capsys.readouterr().err == f"vrjax: {line}\n"


def test_help_says_what_is_driven(capsys):
    assert call("--help") == 0
    shown = capsys.readouterr().out
    assert "the other is `drive` by default" in " ".join(shown.split()) and shown.count("vrjax play") >= 4


def test_a_drive_and_its_replay(tmp_path, capsys):
    """The whole command: one drives with a client of one's own, and the command ends by itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out, ticks = tmp_path / "run", []

    def drive():
        for _ in range(600):
            try:
                with connect(f"ws://127.0.0.1:{port}/socket", origin=f"http://127.0.0.1:{port}") as driver:
                    driver.send(json.dumps({"n": 1, "kind": "down", "value": "forward"}))
                    driver.send(json.dumps({"n": 2, "kind": "down", "value": "left"}))
                    while len(ticks) < 8:
                        told = json.loads(driver.recv())
                        ticks.extend([told] if told["type"] == "tick" else [])
                return
            except (OSError, InvalidHandshake):
                time.sleep(0.2)

    thread = threading.Thread(target=drive)
    thread.start()
    size = [*EXACT, "--size", "12x20", "--map", "straight", "--seed", 1, "--fps", 30]
    assert call("--port", port, "--out", out, "--seconds", 5, *size) == 0
    thread.join(60)
    shown = capsys.readouterr().out
    assert "no learned world was given" in shown and f"http://127.0.0.1:{port}/" in shown and "drives: 1;" in shown
    assert [tick["number"] for tick in ticks] == list(range(1, 9)) and ticks[-1]["acked"] == 2
    far = [tick["sides"][0]["driven"] for tick in ticks]
    assert far == sorted(far) and far[-1] > 3.0
    assert ticks[-1]["apart"]["metres"] == 0.0 and ticks[-1]["sides"][0]["frame"] == ticks[-1]["sides"][1]["frame"]

    assert call("--replay", out) == 0
    assert "2 inputs, equal bit for bit" in capsys.readouterr().out
    path = out / "drive-001.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    row = json.loads(rows[4])
    row["digests"][0][1] = "0" * 16
    path.write_text("".join([*rows[:4], json.dumps(row) + "\n", *rows[5:]]))
    assert call("--replay", out) == 1
    assert "DIFFERS at tick 5: another frame of exact 1" in capsys.readouterr().out
    assert call("--port", 0, "--out", out, "--seconds", 1, "--map", "curve", *EXACT) == 2
    assert "holds a run with another config" in capsys.readouterr().err
