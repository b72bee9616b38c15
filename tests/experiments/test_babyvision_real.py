"""The benchmark from a user's folder: judged exactly or by a server, summed up, and gone on with after a kill."""

import base64
import contextlib
import http.server
import json
import threading

import numpy as np
import pytest

from experiments.babyvision import real
from vrjax.bench import babyvision
from vrjax.bench.babyvision import generated
from vrjax.files import pixels
from vrjax.tasks import puzzles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve items of three subtypes in the benchmark's layout, with the fields of both tracks."""
    names = ("Find the same", "Find the different", "Overlay Patterns")
    items = [puzzles.make(name, 4 * k + i) for k, name in enumerate(names) for i in range(4)]
    return babyvision.write(items, tmp_path_factory.mktemp("bench") / "data")


def lines(path, items, right):
    """What a model said: rightly of the first so many, of the last one nothing."""
    said = [f"It is \\boxed{{{item.answer if i < right else 'no idea'}}}." for i, item in enumerate(items)]
    rows = [{"taskId": item.task_id, "said": one} for item, one in zip(items[:-1], said, strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_answers_of_two_runs(folder, tmp_path, capsys):
    items = babyvision.read(folder)
    runs = [lines(tmp_path / f"{right}.jsonl", items, right) for right in (6, 9)]
    assert real.main(["answers", str(folder), *map(str, runs), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert text.startswith("2 runs; deviations over runs with ddof 0") and capsys.readouterr().out.count("Overlay") == 1
    cells = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:]] for row in text.splitlines()[2:]}
    assert cells["all"][:2] == ["12", "0.625 ± 0.125"]
    guess = np.mean([1 / len(item.options) if item.options else 0 for item in items])
    assert cells["all"][3] == f"{guess:.3f}" and cells["all"][4] == "0.625"
    assert cells["- Find the same"][:2] == ["4", "1.000 ± 0.000"] and cells["- Find the same"][3] == "0.250"
    # A result file in the public form is a run as well.
    again = [str(tmp_path / "out" / f"model_results_run_{n}.json") for n in (1, 2)]
    assert real.main(["answers", str(folder), *again, "--out", str(tmp_path / "more")]) == 0
    assert (tmp_path / "more" / "summary.md").read_text("utf-8") == text


class Server:
    """A chat model on this machine: `say(content, number of the question)`, None being an error of the server."""

    def __init__(self, say):
        self.asked, owner = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.asked.append(body)
                said = say(body["messages"][0]["content"], len(owner.asked))
                status, value = (500, {}) if said is None else (200, {"choices": [{"message": {"content": said}}]})
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@contextlib.contextmanager
def judging(say, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "a-key")
    one = Server(say)
    yield one, ["--judge", one.url, "--judge-model", "m", "--judge-key", "JUDGE_KEY"]
    one.server.shutdown()


def test_a_server_judges_once_and_the_command_goes_on(folder, tmp_path, monkeypatch, capsys):
    """It fails at the fifth question; the same command asks for the rest alone."""
    items, broken = babyvision.read(folder), [True]
    run = lines(tmp_path / "run.jsonl", items, 12)
    say = lambda content, count: None if count >= 5 and broken[0] else "True"
    asked = {(item.question, item.answer) for item in items[:-1]}  # of the last one nothing was said
    with judging(say, monkeypatch) as (server, words):
        command = ["answers", str(folder), str(run), "--out", str(tmp_path / "out"), *words]
        monkeypatch.setattr(real, "Endpoint", lambda **how: real_endpoint(**how, retries=0))
        assert real.main(command) == 2 and "status 500" in capsys.readouterr().err
        kept = len((tmp_path / "out" / real.KEPT).read_text().splitlines())
        broken[0] = False
        before = len(server.asked)
        assert kept == 4 and real.main(command) == 0
        assert len(server.asked) - before == len(asked) - kept
        assert real.main(command) == 0 and len(server.asked) - before == len(asked) - kept
    assert "| all | 12 | 0.917 ± 0.000 |" in (tmp_path / "out" / "summary.md").read_text("utf-8")


real_endpoint = real.Endpoint


def differs(content):
    """Whether the last picture that is shown has something red in it."""
    data = base64.b64decode(content[-1]["image_url"]["url"].partition(",")[2])
    shown = pixels.decode(data, "shown").astype(int)
    return bool(((shown[..., 0] > 200) & (shown[..., 1:] < 80).all(-1)).any())


def test_drawings_are_seen(folder, tmp_path, monkeypatch, capsys):
    """Three pictures are shown, the drawing last; a missing one is wrong and not asked about."""
    items = babyvision.read(folder)
    images = tmp_path / "generated" / "mine" / "round1" / "images"
    images.mkdir(parents=True)
    for item in items[:8]:
        shown = item.answer_image if item.task_id % 2 else item.image
        (images / generated.names(item)[0]).write_bytes(pixels.png(shown))
    with judging(lambda content, _: str(differs(content)), monkeypatch) as (server, words):
        command = ["drawings", str(folder), str(images.parents[1]), "--out", str(tmp_path / "out"), *words]
        assert real.main(command) == 0
        assert len(server.asked) == 8
    content = server.asked[0]["messages"][0]["content"]
    assert [one["type"] for one in content] == ["text", *["image_url"] * 3] and "Find the same" in content[0]["text"]
    found = json.loads((tmp_path / "out" / "results" / "summary.json").read_text())["models"]["mine"]
    right = sum(item.task_id % 2 for item in items[:8])
    assert found["mean_accuracy"] == pytest.approx(right / 12) and f"mine: {right / 12:.3f}" in capsys.readouterr().out
    assert real.main(command[:-6]) == 2 and "expected --judge URL" in capsys.readouterr().err


def test_what_it_refuses(folder, tmp_path, capsys):
    items = babyvision.read(folder)
    run = lines(tmp_path / "run.jsonl", items, 3)
    torn = tmp_path / "torn.jsonl"
    torn.write_text(run.read_text()[:-30])
    twice = tmp_path / "twice.jsonl"
    twice.write_text(run.read_text() + run.read_text())
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"taskId": 5, "said": "A"}))
    for words, said in (
        ([str(folder), str(torn)], "torn.jsonl, line 11: not JSON"),
        ([str(folder), str(twice)], "twice.jsonl, line 12: taskId"),
        ([str(folder), str(other)], "item 5, which is not among the 12 items"),
        ([str(tmp_path / "none"), str(run)], "no such folder"),
        ([str(folder), str(run), "--judge", "http://127.0.0.1:1"], "expected --judge-model"),
        ([str(folder), str(run), "--judge", "http://example.com", "--judge-model", "m"], "base_url must be https"),
    ):
        assert real.main(["answers", *words, "--out", str(tmp_path / "out")]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
