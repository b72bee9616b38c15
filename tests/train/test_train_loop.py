"""The run folder, going on after a kill, and what stops a run. One tiny run, its programs compiled once per session."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tiny

from vrjax import tasks
from vrjax.data import worlds
from vrjax.files import records, writing
from vrjax.models import wan
from vrjax.models.embedded import conditions
from vrjax.report import claims
from vrjax.train import config as configs
from vrjax.train import evaluate, loggers, loop, page, telling


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The root of a finished tiny run, which had a page from its first validation on."""
    root, seen, save = tmp_path_factory.mktemp("runs"), {}, loop.Loop._save

    def seeing(self, step):
        here = self.folder / "report.html"
        seen[step] = here.read_text() if here.exists() else ""
        save(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Loop, "_save", seeing)
        loop.run(tiny.config(), root=root)
    assert not seen[2] and "running, step 4 of 8" in seen[4] and "Validation at step 8" in seen[8]
    return root


@pytest.fixture
def root(finished, tmp_path):
    return pathlib.Path(shutil.copytree(finished, tmp_path / "runs"))


def rows(root, name="metrics.jsonl"):
    return [json.loads(line) for line in (root / "tiny" / name).read_text().splitlines()]


def back_to(root, step):
    """The folder as a kill after the checkpoint of `step` leaves it."""
    run = root / "tiny"
    for path in (run / "checkpoints").iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)
    (run / "results.json").unlink()
    shutil.rmtree(run / "model")


def equal(a: pathlib.Path, b: pathlib.Path):
    for name in ("metrics.jsonl", "results.json", "config.json", "model/diffusion_pytorch_model.safetensors"):
        assert (a / "tiny" / name).read_bytes() == (b / "tiny" / name).read_bytes(), name
    last = [json.loads((r / "tiny/checkpoints/8/meta/metadata").read_text())["digests"] for r in (a, b)]
    assert last[0] == last[1] and None not in last[0].values()


def test_a_run_leaves_what_the_design_says(finished):
    run = finished / "tiny"
    assert {"config.json", "metrics.jsonl", "checkpoints", "results.json", "model"} <= {p.name for p in run.iterdir()}
    stored = json.loads((run / "config.json").read_text())
    assert records.from_dict(configs.TrainConfig, stored["config"]) == tiny.config()
    assert {"jax", "optax", "vrjax", "python"} <= set(stored["versions"])
    updates = [r for r in rows(finished) if "loss" in r]
    assert [r["step"] for r in updates] == list(range(1, 9))
    assert [r["step"] for r in rows(finished) if "validation" in r] == [4, 8]
    assert claims.read(run) == ()
    solved = claims.read_details(run)["solved"]["maze"]
    assert solved["n"] == 2 and 0 <= solved["low"] <= solved["solved"] <= solved["high"] <= 1
    dit = wan.load_dit(run / "model")
    assert dit.cfg == dataclasses.replace(tiny.MODEL, unroll=False, remat="none")


def test_the_page_shows_every_validation(finished):
    text = (finished / "tiny" / "report.html").read_text()
    assert "finished, step 8 of 8" in text and "Warning" not in text.split("<main")[1].split("<script")[0]
    made = page.page(page.read(finished / "tiny" / "metrics.jsonl"), tiny.config(), "finished")
    solved, loss = made.curves[:2]
    assert solved.series[0].x.tolist() == [4, 8] and solved.series[0].name == "maze"
    assert loss.title == "Loss" and loss.series[0].x.tolist() == list(range(1, 9))
    long = [{"step": i, "loss": float(i)} for i in range(1, 5001)]
    y, x = page.thinned(long, "loss")
    assert len(x) == page.POINTS and x == pytest.approx(y) and y[0] == 9 and y[-1] == 4992.5


def test_values_go_to_the_loggers_that_are_asked_for(tmp_path, monkeypatch):
    sent = []

    class Writer:
        def __init__(self, folder, purge_step):
            sent.append((pathlib.Path(folder).name, purge_step))

        def add_scalar(self, name, value, step):
            sent.append((name, value, step))

        def close(self):
            sent.append("closed")

    run = types.SimpleNamespace(log=lambda values, step: sent.append((values, step)), finish=lambda: sent.append("end"))
    begun = []
    modules = {
        "tensorboardX": types.SimpleNamespace(SummaryWriter=Writer),
        "wandb": types.SimpleNamespace(init=lambda **given: begun.append(given) or run),
    }
    for name, fake in modules.items():
        monkeypatch.setitem(sys.modules, name, fake)
    for _ in range(2):  # before a kill and after it
        told = telling.Telling(tiny.config(), tmp_path, 2, quiet=False, log=["tensorboard", "wandb", "wandb"])
        told.update(3, {"loss": 0.5}, {"rewards/accuracies": 1.0})
        told.close()
    assert sent[:4] == [("tensorboard", 3), ("loss", 0.5, 3), ("rewards/accuracies", 1.0, 3), sent[3]]
    assert sent[3] == ({"loss": 0.5, "rewards/accuracies": 1.0}, 3) and {"closed", "end"} <= set(map(str, sent))
    assert len(begun) == 2 and begun[0] == begun[1] and begun[0]["name"] == "tiny" and begun[0]["resume"] == "allow"
    with pytest.raises(ValueError, match="unknown 'mlflow', expected one of tensorboard, wandb"):
        loggers.opened(["mlflow"], tmp_path, tiny.config(), 0)
    for name, package in (("tensorboard", "tensorboardX"), ("wandb", "wandb")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"--log {name} needs {package}: pip install 'vrjax\[log\]'"):
            loggers.opened([name], tmp_path, tiny.config(), 0)


def test_a_finished_run_is_only_read(finished, capsys):
    before = {p: p.stat().st_mtime_ns for p in (finished / "tiny" / "model").iterdir()}
    assert loop.run(tiny.config(), root=finished) == claims.read_details(finished / "tiny")
    assert "is finished" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in (finished / "tiny" / "model").iterdir()}


def test_going_on_is_bitwise_and_mends_a_torn_line(finished, root, capsys):
    back_to(root, 4)
    with open(root / "tiny" / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "lo')
    loop.run(tiny.config(), root=root)
    assert "going on from step 4 of 8" in capsys.readouterr().out
    equal(finished, root)


def test_a_torn_checkpoint_costs_only_time(finished, root, capsys):
    back_to(root, 6)
    for path in (root / "tiny/checkpoints/6/params").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    loop.run(tiny.config(), root=root)
    assert "checkpoint 6 cannot be read" in capsys.readouterr().out
    equal(finished, root)


def test_killed_while_exporting(finished, root):
    run = root / "tiny"
    (run / "results.json").unlink()
    (run / "model").rename(run / ".model.part")
    (run / ".model.part" / "config.json").unlink()
    loop.run(tiny.config(), root=root)
    assert not (run / ".model.part").exists()
    equal(finished, root)


def test_a_changed_config_is_refused_and_named(root):
    changed = tiny.config(seed=1, model=dataclasses.replace(tiny.MODEL, ffn_dim=32))
    with pytest.raises(ValueError, match=r"another config: model\.ffn_dim \(was 16, now 32\), seed \(was 0, now 1\)"):
        loop.run(changed, root=root)
    assert (root / "tiny" / "results.json").exists()


def test_fresh_starts_over_and_leaves_other_files(root, monkeypatch):
    monkeypatch.setattr(loop.Loop, "__init__", lambda self, config, folder, prepare, log: None)
    monkeypatch.setattr(loop.Loop, "run", lambda self: {"started": True})
    (root / "tiny" / "notes.txt").write_text("mine")
    assert loop.run(tiny.config(seed=1), root=root, fresh=True) == {"started": True}
    assert {p.name for p in (root / "tiny").iterdir()} == {".lock", "config.json", "notes.txt"}


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="exists and is not a run"):
        loop.run(tiny.config(), root=tmp_path)


def test_one_process_at_a_time(tmp_path):
    opened = lambda: loop.folder_of(tiny.config(), tmp_path, False)
    with opened(), pytest.raises(BlockingIOError, match="in use by another process"):
        opened()
    opened().close()


def test_nan_in_the_data_stops_with_its_place(root, monkeypatch):
    back_to(root, 4)
    pipeline = worlds.pipeline

    class Poisoned:
        def __init__(self, *args, **kwargs):
            self.inner, self.count = pipeline(*args, **kwargs), 0

        def __next__(self):
            batch = {k: np.array(v) for k, v in next(self.inner).items()}
            self.count += 1
            if self.count == 3:
                batch["latent"][1, 2, 3, 4, 0] = np.nan
            return batch

        def get_state(self):
            return self.inner.get_state()

        def set_state(self, where):
            self.inner.set_state(where)

    monkeypatch.setattr(loop.worlds, "pipeline", Poisoned)
    with pytest.raises(ValueError, match=r"training data: latent\[1, 2, 3, 4, 0\] is nan"):
        loop.run(tiny.config(), root=root)
    monkeypatch.undo()
    assert max(int(p.name) for p in (root / "tiny/checkpoints").iterdir()) >= 4


def test_divergence_stops_keeps_the_last_good_and_can_be_diagnosed(root):
    back_to(root, 4)
    wild = tiny.config()
    trainer = loop.Loop(wild, root / "tiny")
    trainer._restore()
    poison = lambda tree: {**tree, "head": {k: v * np.float32("nan") for k, v in tree["head"].items()}}
    trainer.state = dataclasses.replace(trainer.state, params=poison(trainer.state.params))
    trainer._restore = lambda: 4
    with pytest.raises(
        loop.Diverged, match=r"diverged at step 5: .*loss is nan.*last good checkpoint, step 4, is kept"
    ):
        trainer.run()
    assert max(r["step"] for r in rows(root)) == 4
    assert sorted(int(p.name) for p in (root / "tiny/checkpoints").iterdir())[-1] == 4


def test_an_exploding_loss_is_divergence(root):
    back_to(root, 4)
    (root / "tiny" / "config.json").unlink()
    shutil.rmtree(root / "tiny")
    with pytest.raises(loop.Diverged, match="times that of predicting zero; no checkpoint was saved before"):
        loop.run(tiny.config(diverged=0.1), root=root)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    log = writing.Rows(tmp_path / "metrics.jsonl", step=0)

    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_file", Full())
    with pytest.raises(OSError, match="metrics.jsonl not written: no space left on the disk"):
        log.add({"step": 1})


def test_a_perfect_model_solves_and_a_blind_one_does_not():
    """The evaluator with an oracle in the model's place: every world's own answer, from the noise it was given."""
    clips = [tasks.get("maze").make(i, split="val") for i in range(3)]
    judge = evaluate.Evaluator(lambda w: w, tiny.MODEL, steps=3, group=2)
    truth = {i: conditions.example(c, text_len=16, text_dim=8)["latent"] for i, c in enumerate(clips)}
    order = iter([[0, 1], [2, 2]])

    def run(weights, noise, given):
        return np.stack([[truth[i]] for i in next(order)]) if weights == "oracle" else noise * 0

    judge._run = run
    judge._clips[("maze", "val", 3)] = clips
    rate = judge.rates("oracle", ["maze"], "val", 3)["maze"]
    assert (rate["solved"], rate["score"], rate["n"], rate["high"]) == (1.0, 1.0, 3, 1.0)
    assert judge.rates("blind", ["maze"], "val", 3)["maze"]["solved"] == 0.0


def test_noise_belongs_to_the_clip():
    a, b = (tasks.get("maze").make(i, split="val") for i in (0, 1))
    same = conditions.clip_noise(a, (2, 3), 0)
    np.testing.assert_array_equal(same, conditions.clip_noise(a, (2, 3), 0))
    assert not np.array_equal(same, conditions.clip_noise(b, (2, 3), 0))
    assert not np.array_equal(same, conditions.clip_noise(a, (2, 3), 1))


def test_killed_runs_end_in_the_same_bits():
    """SIGKILL at random moments. `python tests/train/kill_study.py --kills 20` is the long form."""
    study = pathlib.Path(__file__).parent / "kill_study.py"
    command = [sys.executable, str(study), "--kills", "3", "--steps", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 kills ended bitwise equal" in done.stdout
