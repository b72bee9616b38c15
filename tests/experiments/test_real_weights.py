"""Chain-of-Steps on a public model's folder: a tiny pair of experts, two clips of a tree, every part."""

import json
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.chain_of_steps import real, real_page
from experiments.chain_of_steps import study as chain_of_steps
from tests.models import tiny_wan
from vrjax import flow, tasks
from vrjax.bench import vbvr as bench
from vrjax.data import mp4, vbvr
from vrjax.models import pipeline
from vrjax.reasoning.instruments.stepping import Stepper, spread, stack

SIZE, STEPS, FRAMES = (16, 16), 4, 5


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    for i in range(2):
        vbvr.write(
            tasks.get("maze").make(i, split="test"), vbvr.bench_folder(root / "data", "In-Domain_50", "G-1_maze", i)
        )
    return root, tiny_wan.build(root / "model", "i2v", experts=2)


@pytest.fixture(scope="module")
def stepper(place):
    pipe = pipeline.open(place[1], cache=place[0] / "cache")
    settings = pipe.settings(size=SIZE, frames=FRAMES, steps=STEPS, solver="euler")
    assert 1 <= settings.recipe.high_steps < STEPS  # both experts take steps
    return Stepper(pipe, settings)


@pytest.fixture(scope="module")
def inputs(place, stepper):
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in (40, 200)]
    return [stepper.pipe.prepare(text, stepper.settings, p) for text, p in zip(("a", "b c"), pictures, strict=True)]


def test_steps_are_the_runs(stepper, inputs, monkeypatch):
    """Step by step, expert after expert, the states and estimates are those of one compiled Euler run; a program is
    made once, not at every step."""
    made, program = [], Stepper._program
    monkeypatch.setattr(Stepper, "_program", lambda self, *of: made.append(of) or program(self, *of))
    noise = np.asarray(stepper.pipe.noise(stepper.settings, [3, 4]))
    run = stepper.pipe.program(stepper.settings, record=flow.Record())
    wanted = run(stepper.pipe.dits, inputs[0], jnp.asarray(noise), jnp.arange(2))
    x = noise
    for expert, first, last in stepper.stages:
        stepper.use(expert)
        for step in range(first, last):
            out = stepper.plain(x, inputs[0], step)
            np.testing.assert_allclose(out["x0"], wanted.x0[:, step], atol=2e-5)
            assert out["energy"].shape == (2, 2, stepper.frames) and (out["energy"] > 0).all()
            x = out["next"]
    np.testing.assert_allclose(x, wanted.final, atol=2e-5)
    assert len(made) == len(set(made))
    with pytest.raises(ValueError, match="step 0 is not one of the expert that is loaded"):
        stepper.plain(x, inputs[0], 0)


def test_swaps_and_couplings(stepper, inputs):
    """No block: nothing changes. The whole stream after the last block: the other run. Equal seeds: nothing changes."""
    noise = np.asarray(stepper.pipe.noise(stepper.settings, [3, 4]))
    stepper.use(0)
    plain = [stepper.plain(noise[:1], given, 0)["next"][0] for given in inputs]
    pair = stack(*inputs)
    for mode in real.MODES:
        none = stepper.swapped(noise[0], pair, 0, mode, -1)["next"]
        np.testing.assert_allclose(none, plain, atol=2e-5)
        one = stepper.swapped(noise[0], pair, 0, mode, 1)["next"]
        np.testing.assert_allclose(one[1], plain[1], atol=2e-5)  # the other run is never changed
        assert np.abs(one[0] - plain[0]).max() > 1e-3
        if mode == "stream":
            np.testing.assert_allclose(one[0], plain[1], atol=2e-5)
        else:
            assert np.abs(one[0] - plain[1]).max() > 1e-3
    alike = stepper.coupled(noise[[0, 0]], inputs[0], 0, (0,))["next"]
    np.testing.assert_allclose(alike, plain[0][None].repeat(2, 0), atol=2e-5)
    apart = stepper.coupled(noise, inputs[0], 0, (0,))["next"]
    assert np.abs(apart[0] - plain[0]).max() > 1e-3


def test_the_study(place, capsys, monkeypatch, tmp_path):
    """Every part from the command line; each expert is loaded once; a second call measures nothing."""
    root, model = place
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loads: list[int] = []
    network = pipeline.Pipeline._network
    monkeypatch.setattr(pipeline.Pipeline, "_network", lambda self, i: loads.append(i) or network(self, i))
    command = ["--model", str(model), "--bench", str(root / "data"), "--out", str(tmp_path), "--size", "16x16"]
    command += ["--steps", str(STEPS), "--frames", str(FRAMES), "--sites", "2", "--blocks", "2", "--members", "2"]
    command += ["--decode", "2", "--name", "tiny"]
    assert chain_of_steps.main(command) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "one device, by account" in said and "experts one at a time" in said and loads == [0, 1]
    folder = tmp_path / "chain_of_steps-tiny"
    rows = sorted(p.name for p in (folder / "videos").iterdir())
    expected = [
        "clean",
        "ensemble",
        "single-1",
        "noise-step-000",
        "noise-step-003",
        "noise-frame-000",
        "noise-frame-001",
    ]
    expected += [f"swap-{mode}-{block:02d}" for mode in real.MODES for block in (0, 1)]
    assert rows == sorted(expected)
    names = [sample.file for sample in bench.read(root / "data")]
    for row in rows:
        assert (
            sorted(str(p.relative_to(folder / "videos" / row)) for p in (folder / "videos" / row).rglob("*.mp4"))
            == names
        )
    film, frames, _ = mp4.decode(folder / "videos" / "clean" / names[0])
    truth, _, _ = mp4.decode(next(iter(bench.read(root / "data"))).folder / "ground_truth.mp4", max_frames=1)
    assert frames == FRAMES and film.shape[1:3] == truth.shape[1:3] != SIZE  # the size that the rules measure in
    steps = folder / "steps" / names[0].removesuffix(".mp4")
    assert sorted(p.name for p in pathlib.Path(f"{steps}_steps").iterdir()) == ["step_000.mp4", "step_003.mp4"]

    results = json.loads((folder / "results.json").read_text())
    lines = {(line["clip"], line["run"]): line for line in results.get("details", results)["distances"]}
    assert len(lines) == 2 * (len(rows) - 1) and all(line["distance"] > 0 for line in lines.values())
    swapped = [line for (_, run), line in lines.items() if run.startswith("swap-")]
    assert len(swapped) == 12 and all(0 < line["towards the other"] < 1 for line in swapped)
    with np.load(folder / "arrays.npz") as arrays:
        label = names[0].removesuffix(".mp4")
        assert arrays[f"{label}/energy"].shape == (STEPS, 2, 2)
        assert arrays[f"{label}/noise-step-003"].shape == (1, 2) and arrays[f"{label}/noise-frame-001"].shape == (
            STEPS,
            2,
        )
    page = (folder / "report.html").read_text()
    assert "distance after noise" in page and "token energy" in page

    monkeypatch.setattr(Stepper, "_step", lambda *a: pytest.fail("a step was taken again"))
    monkeypatch.setattr(pipeline.Pipeline, "decode", lambda *a: pytest.fail("decoded again"))
    assert chain_of_steps.main(command) == 0


def test_a_killed_study_goes_on(place, capsys, monkeypatch, tmp_path):
    """Killed between two steps, it ends in the same numbers."""
    root, model = place
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [
        "--model",
        str(model),
        "--bench",
        str(root / "data"),
        "--size",
        "16x16",
        "--steps",
        str(STEPS),
        "--limit",
        "1",
    ]
    command += ["--frames", str(FRAMES), "--parts", "noise", "--sites", "1", "--decode", "1", "--name", "a"]
    step, left = Stepper._step, [5]

    def dying(*args):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(Stepper, "_step", dying)
    assert chain_of_steps.main([*command, "--out", str(tmp_path / "killed")]) == 130
    monkeypatch.setattr(Stepper, "_step", step)
    for name in ("killed", "whole"):
        assert chain_of_steps.main([*command, "--out", str(tmp_path / name)]) == 0
    found = [np.load(tmp_path / name / "chain_of_steps-a" / "arrays.npz") for name in ("killed", "whole")]
    assert set(found[0].files) == set(found[1].files)
    for key in found[0].files:
        np.testing.assert_array_equal(found[0][key], found[1][key])


def test_mistakes(place, capsys, tmp_path):
    root, model = place
    both = ["--model", str(model), "--bench", str(root / "data"), "--out", str(tmp_path)]
    for command, words in (
        (["--model", str(model)], "--model DIR and --bench DIR go together"),
        ([*both, "--full"], "without --full"),
        ([*both, "--parts", "magic"], "--parts: unknown magic"),
        ([*both, "--members", "0"], "--members 0: expected at least 1"),
        ([*both, "--tasks", "O-99"], "no task begins with O-99"),
    ):
        assert chain_of_steps.main(command) == 2 and words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert spread(3, 10) == [0, 4, 9] and spread(5, 2) == [0, 1] and spread(1, 7) == [0]
    assert jax.tree.structure(stack((jnp.zeros(2), None), (jnp.ones(2), None))) == jax.tree.structure((0, None))


def test_the_page_shows_the_estimates_as_they_were_decoded(tmp_path):
    """Floats in [-1, 1] were once cut to 8 bits as if they were 0 ... 255: all pictures were black."""
    sample = SimpleNamespace(split="In-Domain_50", task="G-1_maze", index=0, file="a/b/00000.mp4", folder=tmp_path)
    grid = SimpleNamespace(steps=2, sigmas=np.linspace(1, 0, 3))
    clip = SimpleNamespace(sample=sample, stepper=SimpleNamespace(grid=grid))
    (tmp_path / "prompt.txt").write_text("a maze")
    where = tmp_path / "steps" / "In-Domain_50" / "G-1_maze" / "00000_steps"
    for step in range(2):
        mp4.write(where / f"step_{step:03d}.mp4", np.full((5, 16, 16, 3), 0.5), fps=16)
    case = real_page._case(tmp_path, clip, np.zeros((2, 3, 2)), SimpleNamespace(decode=2))
    assert case.x0.shape == (1, 2, 5, 16, 16, 3) and np.abs(case.x0.astype(int) - 191).max() < 6
