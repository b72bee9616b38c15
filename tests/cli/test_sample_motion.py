"""`vrjax sample motion`: a page, arrays and BVH files of a text; the numbers are those of a plain loop."""

import base64
import json
import re
import shutil

import jax
import numpy as np
import pytest

from vrjax import cli, motion
from vrjax.cli import sample_motion
from vrjax.data.motions import Motions
from vrjax.files import writing
from vrjax.flow import draws
from vrjax.models import motion as motion_models
from vrjax.models.embedded import captions, shipped
from vrjax.motion import files, program
from vrjax.motion.program import predicates, scale
from vrjax.train.config import Data, TrainConfig, Validate

FRAMES, STEPS = 12, 3
TEXT = "a person walks on a zeppelin"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model in the folder that a training exports."""
    small = motion_models.MotionConfig(
        mode="mixed", dim=24, ffn_dim=16, heads=4, layers=1, freq_dim=8, text_dim=12, text_len=24
    )
    data = Data(motions=Motions(rows=FRAMES), batch=4)
    config = TrainConfig(name="tiny", model=small, steps=1, data=data, validate=Validate(every=0, final_clips=0))
    folder = tmp_path_factory.mktemp("trained") / "model"
    folder.mkdir()
    motion_models.save_dit(motion_models.init(small, jax.random.key(0)), folder)
    writing.json(folder / "training.json", {"config": writing.to_dict(config)})
    return folder


def call(*argv):
    try:
        cli.main([str(a) for a in argv])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture(scope="module")
def sampled(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    assert call("sample", "motion", TEXT, "--model", model, "--noise", "0,5", "--steps", STEPS, "--out", out) == 0
    return out


def test_the_steps_are_those_of_a_plain_loop(model, sampled):
    dit, kept = motion_models.load_dit(model), np.load(sampled / "trajectory.npz")
    text = captions.rows(TEXT, 24, 12)
    call_dit = jax.jit(lambda x, time, text: dit(x, time, text, mode="text").v)
    sigmas = np.linspace(1, 0, STEPS + 1)
    shift = json.loads((model / "training.json").read_text())["config"]["objective"]["shift"]
    sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
    np.testing.assert_allclose(kept["sigma"], sigmas, atol=1e-6)
    x = np.asarray(draws.normal(draws.key(5), (FRAMES, 276)))
    for step in range(STEPS):
        told, untold = (np.asarray(call_dit(x, 1000 * sigmas[step], rows)) for rows in (text, 0 * text))
        v = untold + 2.0 * (told - untold)
        np.testing.assert_allclose(kept["x0"][1, step], x - sigmas[step] * v, atol=2e-4)
        x = x + (sigmas[step + 1] - sigmas[step]) * v
    assert kept["x"].shape == (2, STEPS + 1, FRAMES, 276) and np.isfinite(kept["x"]).all()


def test_the_files_are_the_last_guess_smoothed(sampled):
    kept, mean, std = np.load(sampled / "trajectory.npz"), *scale.load()
    for i, seed in enumerate((0, 5)):
        last = kept["x0"][i, -1]
        weights = np.exp(-0.5 * np.arange(-2, 3) ** 2)
        expected = last.copy()
        for frame in range(2, FRAMES - 2):
            expected[frame] = (weights / weights.sum()) @ last[frame - 2 : frame + 3]
        rows = files.read(sampled / f"seed-{seed}.npy").motion
        np.testing.assert_allclose(rows, expected * std + mean, atol=1e-4)
        found = motion.read_bvh(sampled / f"seed-{seed}.bvh")
        np.testing.assert_allclose(found.joints[:, 0], motion.from_276(rows, path="position").joints[:, 0], atol=1e-4)


def test_the_page_has_the_bodies(sampled):
    text = (sampled / "report.html").read_text()
    sent = json.loads(re.search(r'<script type="application/json" id="payload">(.*?)</script>', text, re.S)[1])
    (case,) = sent["scrubbers"][0]["cases"]
    assert case["prompt"] == TEXT and case["seeds"] == ["noise 0", "noise 5"] and case["steps"] == [0, 1, 2]
    numbers = np.frombuffer(base64.b64decode(case["joints"]), "<i2").reshape(2, STEPS, FRAMES, 22, 3)
    shown = np.asarray(case["middle"]) + case["unit"] * numbers
    read = lambda seed: motion.from_276(files.read(sampled / f"seed-{seed}.npy").motion, path="position").joints
    joints = read(5)
    np.testing.assert_allclose(shown[1, -1], joints, atol=case["unit"] + 1e-5)
    details = json.loads((sampled / "results.json").read_text())["details"]
    see = jax.jit(predicates.recognise)
    seen = [predicates.words(see(read(i))) for i in (0, 5)]
    assert details["text"] == TEXT and details["shows"] == case["outcomes"] == seen


def test_the_same_command_samples_nothing_again(model, sampled, capsys):
    before = (sampled / "trajectory.npz").read_bytes()
    assert call("sample", "motion", TEXT, "--model", model, "--noise", "0,5", "--steps", STEPS, "--out", sampled) == 0
    told = capsys.readouterr().out
    assert "noise seeds" not in told and "has not seen: zeppelin" in told and "report.html" in told
    assert (sampled / "trajectory.npz").read_bytes() == before


def test_another_path_reads_what_was_kept(model, sampled, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(sampled, out)
    asked = ["--model", model, "--noise", "0,5", "--steps", STEPS, "--out", out, "--path", "velocity"]
    assert call("sample", "motion", TEXT, *asked) == 0
    assert (out / "trajectory.npz").read_bytes() == (sampled / "trajectory.npz").read_bytes()
    assert json.loads((out / "results.json").read_text())["details"]["path"] == "velocity"
    rows = files.read(out / "seed-5.npy").motion
    by = {path: motion.from_276(rows, path=path).joints[:, 0] for path in ("velocity", "position")}
    assert np.abs(by["velocity"] - by["position"]).max() > 0.01  # of an untrained model they differ
    np.testing.assert_allclose(motion.read_bvh(out / "seed-5.bvh").joints[:, 0], by["velocity"], atol=1e-4)


def test_what_is_shown_is_told_where_it_changes():
    scripts = [
        program.script("walk"),
        program.script("walk", upper="wave", upper_side="right"),
        program.script("circle", side="right"),
        program.script("squat", count=2),
    ]
    play = lambda script: program.perform(jax.random.key(0), script, 41).motion.joints
    stacked = jax.tree.map(lambda *parts: np.stack(parts), *scripts)
    walks, waves, circle, squats = np.asarray(jax.jit(jax.vmap(play))(stacked))
    still = np.repeat(walks[:1], 41, 0)
    found = sample_motion.told(np.stack([[still, walks, waves, waves], [squats, squats, squats, circle]]))
    assert found == [["no known action", "walk", *["walk, wave right"] * 2], [*["squat (2)"] * 3, "circle right"]]
    events = [(event.seed, event.step, event.label) for event in sample_motion.changes(found)]
    assert events == [(0, 1, "shows walk"), (0, 2, "shows walk, wave right"), (1, 3, "shows circle right")]


def test_a_shipped_model_of_motions_needs_no_name(model, sampled, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert call("sample", "motion", TEXT) == 2
    assert capsys.readouterr().err.count("no model of motions is shipped yet") == 1
    (tmp_path / "bodies").symlink_to(model)
    assert shipped.of_motions() == "bodies" and shipped.taught() == ()
    asked = ["--noise", "5", "--steps", STEPS, "--out", tmp_path / "run"]
    assert call("sample", "motion", TEXT, *asked) == 0
    mine, before = (np.load(folder / "seed-5.npy") for folder in (tmp_path / "run", sampled))
    np.testing.assert_allclose(mine, before, atol=1e-6)  # the same whichever seeds stand beside it


@pytest.mark.parametrize(
    "argv, said",
    [
        (["motion"], "a text goes with motion"),
        (["maze", "a person walks"], "a text goes with motion"),
        (["motion", "walk", "--model", "worlds"], "expected a training on procedural motions"),
        (["motion", " ", "--model", "MODEL"], "the text of a motion is empty"),
        (["motion", "walk " * 30, "--model", "MODEL"], "30"),
        (["motion", "walk", "--model", "nowhere"], "no model nowhere"),
        (["motion", "walk", "--model", "MODEL", "--guidance", "2,3"], "--guidance: 2 numbers, expected one"),
        (["motion", "walk", "--model", "MODEL", "--split", "val"], "--split cannot be used with motion"),
        (["maze", "--path", "position"], "--path cannot be used with a world"),
        (["--prompt", "a cat", "--path", "position"], "--path cannot be used with --prompt"),
        (["motion", "walk", "--model", "."], "training.json: no such file; expected a model that vrjax train"),
    ],
)
def test_what_does_not_fit_is_one_line(argv, said, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("sample", *[model if one == "MODEL" else one for one in argv]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not (tmp_path / "runs").exists()
