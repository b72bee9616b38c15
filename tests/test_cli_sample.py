"""`vrjax sample --prompt`: the run folder of a tiny model, going on with a run, and misuse in one line."""

import contextlib
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.models import tiny_wan
from vrjax import cli
from vrjax.cli import common, memory, progress, sample, sample_films
from vrjax.data import mp4
from vrjax.files import pixels
from vrjax.models import pipeline, wan
from vrjax.models.pipeline import recorder
from vrjax.models.wan import folders
from vrjax.report import claims

PROMPT = "a maze seen from above"
SMALL = ["--size", "16x32", "--frames", 5, "--steps", 3]


def call(*argv):
    """Exit status of a command line."""
    try:
        cli.main(["sample", *map(str, argv)])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("t2v") / "model")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny_wan.build(tmp_path_factory.mktemp("pair") / "model", "i2v", experts=2)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VRJAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_run_and_more_of_it(model, tmp_path, capsys):
    out = tmp_path / "run"
    given = ["--model", model, "--prompt", PROMPT, *SMALL, "--guidance", 3, "--out", out]
    given += ["--record", "0,2", "--record-fields", "x0", "x", "v", "--seed", 5]
    assert call(*given, "--seeds", 2, "--together", 2) == 0
    said = capsys.readouterr().out
    assert "memory by account: " in said
    assert "2 videos of 5 frames, 16x32; 3 unipc steps on diffusers_unipc, shift 5; guidance 3" in said
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert names == {"config.json", "results.json", "report.html", "seed-5.mp4", "seed-6.mp4", "trajectory", "x0"}
    assert mp4.decode(out / "seed-5.mp4")[0].shape == (5, 16, 32, 3)
    assert {p.name for p in (out / "x0" / "seed-6").iterdir()} == {"step-000.mp4", "step-002.mp4"}

    # what was written is what the library returns
    pipe = pipeline.open(model)
    traj = pipe.sample(PROMPT, seeds=[5, 6], size=(16, 32), frames=5, steps=3, guidance=3)
    for row, seed in enumerate((5, 6)):
        kept = recorder.read(out / "trajectory" / f"seed-{seed}")
        np.testing.assert_allclose(kept["final"], traj.final[row], atol=1e-5)
        for name in ("x0", "x", "v"):
            np.testing.assert_allclose(kept[name], np.asarray(getattr(traj, name))[row][[0, 2]], atol=1e-5)
        shown = pixels.to_float(mp4.decode(out / f"seed-{seed}.mp4")[0])
        assert np.abs(shown - pipe.decode(traj.final[row])).mean() < 0.15  # mp4 is lossy
    config = json.loads((out / "config.json").read_text())
    assert config["config"]["negative"] == folders.NEGATIVE and config["config"]["seeds"] == [5, 6]
    assert config["versions"]["jax"] and claims.read_details(out)["kind"] == "sample"
    assert PROMPT in (out / "report.html").read_text()

    # the same command with a third seed computes that one alone
    before = (out / "seed-5.mp4").stat().st_mtime_ns
    (out / "trajectory" / ".seed-7.part").mkdir()  # left by a kill
    assert call(*given, "--seeds", 3) == 0
    assert "2 of 3 seeds are there" in capsys.readouterr().out
    assert (out / "seed-5.mp4").stat().st_mtime_ns == before and (out / "seed-7.mp4").exists()
    assert not list((out / "trajectory").glob(".*")) and "seed 7" in (out / "report.html").read_text()

    assert call(*given, "--shift", 4) == 2
    assert "holds a run with another config: shift (was 5.0, now 4.0)" in capsys.readouterr().err
    assert call(*given, "--shift", 4, "--fresh") == 0
    assert not (out / "seed-6.mp4").exists() and (out / "seed-5.mp4").stat().st_mtime_ns != before


LONGER = ["--size", "16x32", "--frames", 5, "--steps", 7, "--guidance", 2, "--record", "all"]
LONGER += ["--record-fields", "x0", "next"]


def made(out):
    """All that a run leaves of its numbers."""
    kept = {p.relative_to(out): p.read_bytes() for pattern in ("*.mp4", "*.npy") for p in out.rglob(pattern)}
    return {name: content for name, content in kept.items() if not name.name.startswith(".")}


class Cut(Exception):
    """What ends a run in the middle."""


@pytest.fixture
def cut(monkeypatch):
    """cut(seed, step): the run ends as soon as that step has been told of; cut() lets it be."""
    step_done, at = progress.Progress.step, []

    def step(self, seed, step):
        step_done(self, seed, step)
        if at == [seed, step]:
            raise Cut

    monkeypatch.setattr(progress.Progress, "step", step)
    monkeypatch.setattr(recorder, "SHARE", 1e9)  # the state of every step is kept
    return lambda *where: at.__setitem__(slice(None), where)


def test_a_run_that_was_cut_off_goes_on(model, tmp_path, cut, monkeypatch, capsys):
    """At any step, any number of times, while seeds are computed together, and between sampling and decoding."""
    given = ["--model", model, "--prompt", PROMPT, *LONGER, "--seeds", 2, "--together", 2]
    assert call(*given, "--out", tmp_path / "whole") == 0
    assert not list((tmp_path / "whole" / "trajectory").glob(".*"))
    said = capsys.readouterr().out
    order = [
        "text encoder: ",
        "loading: ",
        "compiling: ",
        "sampling: ",
        "decoding seed 1: ",
        "decoding steps of seed 0",
    ]
    assert [said.index(phase) for phase in order] == sorted(said.index(phase) for phase in order)

    out = tmp_path / "cut"
    state = out / "trajectory" / recorder.STATE
    for seed, step, begins in [(0, 0, None), (1, 0, None), (0, 3, 1), (1, 3, 3), (1, 6, 4)]:
        cut(seed, step)
        with pytest.raises(Cut):
            call(*given, "--out", out)
        said = capsys.readouterr().out
        assert (f"seeds 0, 1: on from step {begins}" in said) if begins else ("on from" not in said)
        assert state.exists() == ((seed, step) != (0, 0)) and not (out / "seed-0.mp4").exists()
    cut()
    write = mp4.write
    monkeypatch.setattr(mp4, "write", lambda *_, **__: (_ for _ in ()).throw(Cut))
    with pytest.raises(Cut):  # nothing is left to sample, and what was sampled is kept
        call(*given, "--out", out)
    assert "on from step 7" in capsys.readouterr().out and not state.exists()
    monkeypatch.setattr(mp4, "write", write)
    monkeypatch.setattr(pipeline.Pipeline, "dits", property(lambda _: pytest.fail("loaded for decoding alone")))
    assert call(*given, "--out", out) == 0
    assert "seed 1: sampled already, not yet decoded" in capsys.readouterr().out
    assert len(made(out)) == 2 + 2 * 7 + 2 * 3 and made(out) == made(tmp_path / "whole")


def test_a_state_is_of_one_run(model, tmp_path, cut, capsys):
    """A kept state of another prompt, or one that is torn, is not gone on from."""
    given = ["--model", model, "--prompt", PROMPT, *LONGER]
    out = tmp_path / "cut"
    state = out / "trajectory" / recorder.STATE
    cut(0, 4)
    with pytest.raises(Cut):
        call(*given, "--prompt", "a red ball", "--out", out)
    other = state.read_bytes()
    cut(0, 1)
    with pytest.raises(Cut):
        call(*given, "--out", out, "--fresh")
    for found, said in ((other[:-9], "not used ("), (other, "not used (made with another config.prompt)")):
        state.write_bytes(found)
        cut(*((0, 1) if found != other else ()))
        with pytest.raises(Cut) if found != other else contextlib.nullcontext():
            call(*given, "--out", out)
        assert said in capsys.readouterr().out
    assert call(*given, "--out", tmp_path / "whole") == 0
    assert made(out) == made(tmp_path / "whole")


def test_a_killed_process_is_gone_on_with(model, tmp_path, capsys):
    given = ["--model", model, "--prompt", PROMPT, *LONGER, "--dtype", "bfloat16", "--solver", "dpmpp_2m"]
    given = [str(part) for part in given]
    script = """if True:
        import os, signal, sys
        from vrjax import cli
        from vrjax.cli import progress
        from vrjax.models.pipeline import recorder
        recorder.SHARE = 1e9
        progress.Progress.step = lambda self, seed, step: step == 4 and os.kill(os.getpid(), signal.SIGKILL)
        cli.main(sys.argv[1:])
    """
    argv = [sys.executable, "-c", script, "sample", *given, "--out", str(tmp_path / "cut")]
    assert subprocess.run(argv, env=os.environ | {"JAX_PLATFORMS": "cpu"}).returncode == -9
    assert (tmp_path / "cut" / "trajectory" / recorder.STATE).exists()
    for name in ("cut", "whole"):
        assert call(*given, "--out", tmp_path / name) == 0
        said = capsys.readouterr().out
        assert "on from step 5" in said if name == "cut" else "on from" not in said
    assert made(tmp_path / "cut") == made(tmp_path / "whole")


def test_two_experts_a_picture_and_a_step_list(pair, tmp_path, capsys):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)).save(tmp_path / "a.png")
    given = ["--model", pair, "--prompt", PROMPT, "--image", tmp_path / "a.png", "--frames", 5, "--size", "16x32"]
    assert call(*given, "--preset", "lightx2v", "--record", "none", "--out", tmp_path / "few") == 0
    said = capsys.readouterr().out
    assert "4 euler steps on few_step, shift 5, 2 of them by the high-noise expert; guidance 1, 1" in said
    listed = ["--steps-list", "1000,750,500,250", "--shift", 5, "--guidance", 1, "--out", tmp_path / "list"]
    assert call(*given, *listed) == 0  # and it records x0: what is kept changes nothing
    finals = [recorder.read(tmp_path / name / "trajectory" / "seed-0")["final"] for name in ("few", "list")]
    np.testing.assert_array_equal(*finals)
    assert recorder.read(tmp_path / "few" / "trajectory" / "seed-0")["fields"] == []
    assert not (tmp_path / "few" / "x0").exists() and (tmp_path / "few" / "report.html").exists()


def test_without_loss(model, tmp_path, capsys):
    """Finished videos are the decoded latents, 8-bit, bit for bit; the file is another one, and the config says so."""
    given = ["--model", model, "--prompt", PROMPT, *SMALL, "--record", "none", "--out", tmp_path / "run"]
    assert call(*given, "--lossless") == 0
    final = recorder.read(tmp_path / "run" / "trajectory" / "seed-0")["final"]
    film = pixels.to_uint8(pipeline.open(model).decode(final))
    np.testing.assert_array_equal(mp4.decode(tmp_path / "run" / "seed-0.mp4")[0], film)
    assert call(*given) == 2 and "video (was 'lossless'" in capsys.readouterr().err


def test_memory_is_said_before_loading(model, pair, monkeypatch, capsys):
    """Weights as they will lie in memory, more for more seeds, frames and experts; one line where it is too much."""
    pipe = pipeline.open(model)
    needs = lambda pipe, frames=5, together=1, **more: memory.needs(
        pipe, pipe.settings(size=(16, 32), frames=frames, **more), together
    )
    one = needs(pipe)
    assert one["text encoder"] == sum(p.size * 4 for p in jax.tree.leaves(wan.load_text_encoder(model)))
    held = sum(p.nbytes for p in jax.tree.leaves(pipe.dits))
    assert held < one["sampling"] and held < one["decoding"] and needs(pipe, 9)["decoding"] > one["decoding"]
    assert needs(pipe, together=3)["sampling"] > one["sampling"] > needs(pipe, guidance=1)["sampling"]
    experts = needs(pipeline.open(pair), picture=(16, 32))
    assert experts["sampling"] > one["sampling"] + 0.8 * held
    settings = pipe.settings(size=(16, 32), frames=5)
    monkeypatch.setattr(memory, "machine", lambda: ("this machine", 1000))
    said = memory.lines(pipe, settings, 1)
    assert len(said) == 2 and said[0].startswith("memory by account: ") and "warning: " in said[1]
    monkeypatch.setattr(memory, "machine", lambda: ("this machine", 1e15))
    assert len(memory.lines(pipe, settings, 1)) == 1
    monkeypatch.undo()
    assert memory.machine()[1] > 2**28


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "give either --prompt (with --model) or the name of a world"),
        (["maze", "--prompt", "a"], "give either --prompt"),
        (["--prompt", "a"], "--prompt needs --model"),
        (["maze", "--seeds", "3", "--solver", "euler"], "--solver, --seeds cannot be used with a world"),
        (["--model", "MODEL", "--prompt", "a", "--noise", "3"], "--noise cannot be used with --prompt"),
        (["--model", "nowhere", "--prompt", "a"], "nowhere: no such folder"),
        (["--model", ".", "--prompt", "a"], "not a folder of Wan weights"),
        (["--model", "PAIR", "--prompt", "a"], "needs a picture to start from"),
        (["--model", "PAIR", "--prompt", "a", "--image", "gone.png"], "gone.png: no such picture"),
        (["--model", "MODEL", "--prompt", "a", "--image", "a.png"], "takes no picture"),
        (["--model", "MODEL", "--prompt", "a", "--frames", "8"], "frames: found 8, expected 4 n + 1"),
        (["--model", "MODEL", "--prompt", "a", "--size", "16x40"], "width 40, expected a multiple of 16"),
        (["--model", "MODEL", "--prompt", "a", "--lora-without-image"], "--lora-without-image: there is no --lora"),
        (["--model", "MODEL", "--prompt", "a", "--record", "none", "--record-fields", "x"], "give one of them"),
        (["--model", "MODEL", "--prompt", "a", "--guidance", "0"], "below 1 the video is drawn to the negative prompt"),
        (["--model", "MODEL", "--prompt", "a", "--solver", "magic"], "unknown solver 'magic'"),
        (["--model", "MODEL", "--prompt", "a", "--guidance", "4,3"], "expected 1 finite scales"),
        (["--model", "MODEL", "--prompt", "a", "--record", "0-50"], "step 50, the run has steps 0 to 49"),
        (["--model", "MODEL", "--prompt", "a", "--record", "many"], "--record: 'many': expected numbers"),
        (["--model", "MODEL", "--prompt", "a", "--record-fields", "y"], "--record-fields: unknown y"),
        (["--model", "MODEL", "--prompt", "a", "--preset", "causvid"], "unknown 'causvid', expected one of lightx2v"),
        (["--model", "MODEL", "--prompt", "a", "--lora", "gone.safetensors:0.5"], "gone.safetensors: no such LoRA"),
        (["--model", "MODEL", "--prompt", "a", "--lora", "high=a.png"], "has one network"),
        (["--model", "MODEL", "--prompt", "a", "--mesh", "fsdp"], "--mesh fsdp: expected axes and sizes"),
        (["--model", "MODEL", "--prompt", "a", "--seed", "-1"], "--seed: found -1"),
        (["--model", "MODEL", "--prompt", "a", "--dtype", "int8"], "dtype: found 'int8'"),
        (["--model", "MODEL", "--prompt", "a", "--out", "full"], "full exists and is not a run"),
    ],
)
def test_misuse_is_one_line(argv, said, model, pair, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 16)).save("a.png")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    argv = [{"MODEL": model, "PAIR": pair}.get(part, part) for part in argv]
    assert call(*argv) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and shown.err.startswith("vrjax: ")
    assert {p.name for p in tmp_path.iterdir()} <= {"a.png", "full"}


@pytest.mark.parametrize("flag", [["--size", "480"], ["--size", "0x16"], ["--guidance", "a,b"], ["--seeds", "0"]])
def test_wrong_usage(flag, model, capsys):
    assert call("--model", model, "--prompt", "a", *flag) == 2
    assert "usage: vrjax" in capsys.readouterr().err


def test_words_of_the_command_line():
    assert common.lora("a.safetensors") == ("a.safetensors", 1.0, None)
    assert common.lora("high=/x/a.safetensors:0.8") == ("/x/a.safetensors", 0.8, "high")
    assert common.lora("both=c:d.safetensors") == ("c:d.safetensors", 1.0, "both")
    assert common.lora("rank=32.safetensors:2") == ("rank=32.safetensors", 2.0, None)
    assert common.size("480x832") == (480, 832) and common.floats("4,3.5") == [4.0, 3.5]
    assert sample.recorded("all", 4) == (0, 1, 2, 3) and sample.recorded("none", 4) == ()
    assert sample.recorded("3,0-1", 4) == (0, 1, 3) and sample.recorded(None, 4) == (0, 1, 2, 3)
    spread = sample.recorded(None, 50)
    assert len(spread) == sample.RECORDED and (spread[0], spread[-1]) == (0, 49)
    assert sample.recorded(None, 1) == (0,)


def test_a_page_stays_small():
    frames = np.zeros((81, 480, 832, 3), np.uint8)
    assert sample_films.smaller(frames).shape == (25, 120, 208, 3)
    assert sample_films.smaller(frames[:5, :16, :32]).shape == (5, 16, 32, 3)
