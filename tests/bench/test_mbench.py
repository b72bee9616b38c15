"""MBench: the five metrics against loops in float64 and the public code's own numbers; lists, answers, tables."""

import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench import mbench_loops
from vrjax.bench import mbench

LENGTH = 48  # all clips here are of one program


def clip(seed, frames=LENGTH):
    """A rough, partly planted, partly hanging, partly held motion."""
    rng = np.random.default_rng(seed)
    width = int(rng.integers(1, 12))
    noise = rng.normal(size=(frames + width - 1, 22, 3))
    smooth = np.stack([noise[i : i + frames] for i in range(width)]).mean(0) * np.sqrt(width)
    pace = 10.0 ** rng.uniform(-4, -1.5)
    root = np.cumsum(rng.normal(size=(frames, 1, 3)) * pace + rng.normal(size=3) * pace, 0)
    out = smooth * 10.0 ** rng.uniform(-3.5, -0.8) + root + rng.normal(size=(22, 3)) * 0.3
    out[:, [10, 11], 2] = np.abs(out[:, [10, 11], 2]) * rng.uniform(0, 1) - rng.uniform(0, 0.03)
    first = int(rng.integers(0, frames - 12))
    if rng.random() < 0.5:  # a standing foot
        out[first : first + 10, 10] = out[first, 10]
    if rng.random() < 0.3:  # carried along
        out[first : first + 10, 11] = out[first : first + 10, 0] + (0.1, 0, -0.5)
    if rng.random() < 0.2:
        out[first : first + 5] = out[first]
    return out.astype(np.float32)


@pytest.fixture(scope="module")
def clips():
    return [clip(seed) for seed in range(64)]


@pytest.mark.parametrize("up", [2, 1])
def test_the_five_metrics_are_those_of_loops_in_float64(clips, up):
    found = mbench.batch(clips, up_axis=up)
    for column, axis, turn in (
        ("correct axis", up, lambda x: x),
        ("official path", 2, lambda x: mbench.official(x, up)),
    ):
        wanted = [mbench_loops.metrics(turn(x), axis) for x in clips]
        for name in mbench.NAMES:
            values = np.array([one[name] for one in wanted])
            np.testing.assert_allclose(found[column][name], values, rtol=0, atol=1e-12, err_msg=f"{column} {name}")
            assert len(np.unique(values)) > 10, f"{name} is hardly tested by these clips"


# The public code (repository at bf891de) run in float64 on two clips of tests/motion/fixtures, z-up and as its script
# turns them; values in the order of `mbench.NAMES`.
PUBLIC = {
    ("joints_floor", "correct axis"): (0.02109354491115737, 0.09184983604669748, 0.04506315890332027, 0.0, 1 / 12),
    ("joints_floor", "official path"): (
        *(0.02109354491115737, 0.09184983604669748, 0.050507348482271786, 0.4939487218856812, 0.2),
    ),
    ("noisy_joints", "correct axis"): (
        *(0.031002927730494557, 0.09387403580061802, 0.03414245372277787, 0.005239217542111874, 1 / 6),
    ),
    ("noisy_joints", "official path"): (
        *(0.031002927730494557, 0.09387403580061802, 0.05088555312332081, 0.5279281819860141, 0.1),
    ),
}


def test_the_public_code_says_the_same():
    with np.load(pathlib.Path(__file__).parents[1] / "motion/fixtures/clip_zup.npz", allow_pickle=False) as recorded:
        clips = {name: recorded[name] for name in ("joints_floor", "noisy_joints")}
        turned = recorded["mbench_joints_yup"]
    np.testing.assert_allclose(mbench.official(clips["joints_floor"]), turned, atol=1e-7)
    for (name, column), wanted in PUBLIC.items():
        found = mbench.columns(clips[name])[column]
        np.testing.assert_allclose([found[metric] for metric in mbench.NAMES], wanted, rtol=0, atol=1e-12)


def test_flights_that_shake_are_among_these_clips(clips):
    """They are the rarest: without them the port of `find_peaks` would go untested."""
    floating = lambda x, most: mbench_loops.metrics(x, most=most)["Foot_Floating"]
    assert sum(floating(x, 2) != floating(x, 10**9) for x in clips) > 5


def test_float32_inside_jit_and_vmap_agrees_with_float64(clips):
    found = jax.jit(jax.vmap(mbench.metrics))(jnp.asarray(np.stack(clips)))
    exact = mbench.batch(clips)["correct axis"]
    for name in mbench.NAMES:
        assert found[name].dtype == jnp.float32
        np.testing.assert_allclose(found[name], exact[name], atol=1e-5 if name != "Foot_Floating" else 1e-6)


def test_one_clip_alone_and_cut_by_its_length(clips):
    x = clips[3].copy()
    whole = mbench.metrics(x)
    assert all(isinstance(value, np.float64) for value in whole.values())
    np.testing.assert_allclose(list(whole.values()), list(mbench_loops.metrics(x).values()), atol=1e-12)
    constant = jax.jit(lambda: jnp.float32(mbench.metrics(x)["Jitter_Degree"]))
    assert float(constant()) == pytest.approx(whole["Jitter_Degree"], rel=1e-6)
    x[31:] = np.nan
    for name, value in mbench.metrics(x, length=31).items():
        np.testing.assert_allclose(value, mbench_loops.metrics(x[:31])[name], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=LENGTH, max_size=LENGTH))
def test_peaks_with_plateaus_are_those_of_scipy(levels):
    from scipy.signal import find_peaks

    from vrjax.bench.mbench import formulas

    ends = formulas._peaks(jnp.array(levels), jnp.zeros(LENGTH, int))[:, 0]
    assert int(ends.sum()) == len(find_peaks(levels[1:])[0])


def test_a_straight_flight_does_not_shake_in_float32():
    """Both feet in the air on straight lines: an arc cosine in float32 finds a peak wherever its last bit flickers."""
    times = np.linspace(0, 1, LENGTH)[:, None]
    x = np.zeros((LENGTH, 22, 3)) + (0, 0, 0.9)
    x += (times**2 * np.array([0.7, 1.9, 0.3]))[:, None]
    x[:, [10, 11]] += 0.5 * (times * np.array([0.7, 1.9, 0.3]))[:, None]
    found = jax.jit(mbench.metrics)(jnp.asarray(x, jnp.float32))
    assert float(found["Foot_Floating"]) == pytest.approx(mbench_loops.metrics(x)["Foot_Floating"], abs=1e-6)


def test_a_frozen_pose_is_exactly_zero_and_turns_do_not_matter(clips):
    assert set(mbench.metrics(mbench.frozen(np.abs(clips[0]))).values()) == {0.0}
    z_up = mbench.metrics(clips[1], up_axis=2)
    for name, value in mbench.metrics(mbench.official(clips[1]), up_axis=1).items():
        assert value == pytest.approx(z_up[name], abs=1e-12)
    both = mbench.columns(clips[1])
    assert both["official path"]["Jitter_Degree"] == pytest.approx(z_up["Jitter_Degree"], abs=1e-12)
    assert both["official path"]["Foot_Sliding"] != both["correct axis"]["Foot_Sliding"]


def test_gradients_are_finite_and_right(clips):
    smooth = np.float64(clips[5])
    slopes = jax.jit(jax.jacrev(lambda x: [mbench.metrics(x)[name] for name in mbench.NAMES]))
    found, held = slopes(jnp.asarray(clips[5])), slopes(jnp.zeros((LENGTH, 22, 3)))
    chex.assert_tree_all_finite((found, held))
    step = np.zeros(smooth.shape)
    step[7, 4, 1] = 1e-6
    after, before = mbench_loops.metrics(smooth + step), mbench_loops.metrics(smooth - step)
    for name, slope in zip(mbench.NAMES, found, strict=True):
        wanted = (after[name] - before[name]) / 2e-6
        assert float(slope[7, 4, 1]) == pytest.approx(wanted, rel=1e-3, abs=1e-6), name
    assert float(jnp.abs(found[2]).max()) > 1e-4 and float(jnp.abs(found[4]).max()) == 0.0


def test_clips_that_are_no_clips(clips):
    for wrong, message in (
        (np.zeros((9, 24, 3), np.float32), r"joints: expected \(t, 22, 3\) with at least 3 frames, found \(9, 24, 3\)"),
        (np.zeros((2, 22, 3), np.float32), r"at least 3 frames, found \(2, 22, 3\)"),
        (np.full((4, 22, 3), np.nan, np.float32), r"expected finite positions, found nan at \(0, 0, 0\)"),
    ):
        with pytest.raises(ValueError, match=message):
            mbench.metrics(wrong)
    with pytest.raises(ValueError, match="up_axis: expected 0, 1 or 2, found 3"):
        mbench.metrics(clips[0], up_axis=3)
    with pytest.raises(ValueError, match=f"length: expected 3 to {LENGTH} frames, found 99"):
        mbench.metrics(clips[0], length=99)
    with pytest.raises(ValueError, match="official path knows"):
        mbench.official(clips[0], 0)


# -------------------------------------------------------------------------------------------- lists, answers and tables


def small_list(folder):
    """A list like the public one: two motions under the five metrics, one choice, one question of yes or no."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"prompt": f"a person <b>walks</b> {number}", "dimension": name, "id": number, "category": "Motion_Quality",
         "motion_duration": 40 + number}
        for number in (0, 1) for name in mbench.NAMES
    ]  # fmt: skip
    extra = [f"juggling {n}" for n in range(9)]
    kinds = ("Motion_Condition_Consistency", "Motion_Generalizability", "Body_Penetration")
    for number, kind in enumerate(kinds, start=250):
        rows.append(
            {"prompt": "waving a hand", "dimension": kind, "id": number, "category": kind, "motion_duration": 80}
        )
    rows[10]["auxiliary_info"] = extra
    (folder / "MBench_eval_info.json").write_text(json.dumps(rows), "utf-8")
    return folder


ANSWERS = {
    "Motion_Condition_Consistency": {250: "An arm goes up.\n\nThe closest match is: Waving a hand."},
    "Motion_Generalizability": lambda item: "The arm hangs. Answer: no",
    "Body_Penetration": {252: 1.25},
}


@pytest.fixture
def scored(tmp_path, clips):
    items = mbench.read(small_list(tmp_path))
    for number in (0, 1):
        np.save(tmp_path / f"{number}.npy", clips[number][: 40 + number])
    return items, mbench.evaluate(items, tmp_path, up_axis=2, answers=ANSWERS)


def test_scores_are_those_of_the_single_clips(scored, clips):
    items, scores = scored
    assert [score.item for score in scores] == items
    for score in scores[:10]:
        wanted = mbench.columns(clips[score.item.id][: 40 + score.item.id])
        name = score.item.dimension
        assert score.value == pytest.approx(wanted["correct axis"][name], abs=1e-12)
        assert score.official == pytest.approx(wanted["official path"][name], abs=1e-12)
        assert score.file.endswith(f"{score.item.id}.npy")
    assert [score.value for score in scores[10:]] == [1.0, 0.0, 1.25]


def test_what_is_missing_is_said(scored, tmp_path, clips):
    items, _ = scored
    five = mbench.read(tmp_path, dimensions=mbench.NAMES)
    assert five == items[:10]
    with pytest.raises(ValueError, match="answers: Body_Penetration, Motion_Condition_Consistency, .* missing"):
        mbench.evaluate(items, tmp_path, up_axis=2)
    with pytest.raises(FileNotFoundError, match="1.npy"):
        (tmp_path / "1.npy").unlink()
        mbench.evaluate(five, tmp_path, up_axis=2)
    with pytest.raises(FileNotFoundError, match="expected one for id 1"):
        mbench.evaluate(five, {0: clips[0]}, up_axis=2)
    with pytest.raises(ValueError, match="expected a finite number for motion 252, found nan"):
        mbench.evaluate(items[-1:], {}, up_axis=2, answers={"Body_Penetration": {252: float("nan")}})
    with pytest.raises(ValueError, match="expected an answer for motion 252"):
        mbench.evaluate(items[-1:], {}, up_axis=2, answers={"Body_Penetration": {}})


def test_another_frame_rate_is_resampled_first(tmp_path):
    still = np.linspace(0, 1, 61)[:, None, None] * np.array([1.0, 0, 0]) + np.zeros((61, 22, 3)) + (0, 0, 1)
    items = mbench.read(small_list(tmp_path), dimensions=("Dynamic_Degree",))
    slow, fast = {n: still[::3] for n in (0, 1)}, {n: still for n in (0, 1)}
    a = mbench.evaluate(items, slow, up_axis=2)
    b = mbench.evaluate(items, fast, up_axis=2, fps=60)
    assert [s.value for s in a] == pytest.approx([s.value for s in b], abs=1e-6)


def test_lists_that_are_no_lists(tmp_path):
    path = small_list(tmp_path) / "MBench_eval_info.json"
    rows = json.loads(path.read_text())
    for change, message in (
        (rows + rows[:1], "Jitter_Degree of motion 0 stands there twice"),
        ([rows[0] | {"dimension": "Beauty"}], "expected one of Jitter_Degree, .*, found 'Beauty'"),
    ):
        path.write_text(json.dumps(change))
        with pytest.raises(ValueError, match=f"MBench_eval_info.json: {message}"):
            mbench.read(path)
    with pytest.raises(ValueError, match="dimensions: expected some of .*, found 'Beauty'"):
        mbench.read(path, dimensions=("Beauty",))


def test_choices_keep_their_order_and_answers_are_read_as_in_public(scored):
    items, _ = scored
    choice, question = items[10], items[11]
    order = mbench.choices(choice)
    assert set(order) == {*choice.auxiliary_info, "waving a hand"} and order == mbench.choices(choice)
    assert order != mbench.choices(choice._replace(id=251)) and ", ".join(order) in mbench.question(choice)
    for said, right in (
        ("WAVING A HAND!", True),
        ("It is: waving a hand", True),
        ("It is: this: waving a hand", False),  # only the first colon counts
        ("waving a hand, surely", False),
        ("Legs: they stand.\n\nChoice: waving a hand'", True),
    ):
        assert mbench.correct(choice, said) is right, said
    for said, right in (("Answer: Yes.", True), ("yes it does. Answer: no", False), ("yes", True), ("", False)):
        assert mbench.correct(question, said) is right, said
    with pytest.raises(ValueError, match="answers in words belong to"):
        mbench.correct(items[0], "yes")


def test_result_files_are_those_of_the_public_code(scored, tmp_path):
    items, scores = scored
    paths = mbench.write_results(tmp_path / "results", "mine", scores, column="official path")
    found = {kind: json.loads(path.read_text("utf-8")) for kind, path in paths.items()}
    jitter = found["eval_results"]["Jitter_Degree"]
    values = [score.official for score in scores if score.item.dimension == "Jitter_Degree"]
    assert jitter["aggregate"] == pytest.approx({"mean": np.mean(values), "std": np.std(values), "num_samples": 2})
    assert jitter["per_motion"][1].keys() == {"id", "prompt", "value", "evaluation_file", "motion_duration"}
    assert found["per_motion_results"]["evaluation_name"] == "mine"
    assert [motion["id"] for motion in found["per_motion_results"]["motions"]] == [0, 1, 250, 251, 252]
    assert set(found["per_motion_results"]["motions"][0]["dimensions"]) == set(mbench.NAMES)
    (choice,) = [entry for entry in found["full_info"] if entry["dimension"] == "Motion_Condition_Consistency"]
    assert choice["auxiliary_info"] == list(items[10].auxiliary_info) and choice["id"] == 250
    again = mbench.read_results(paths["eval_results"], items)
    assert {(s.item, s.value) for s in again} == {(s.item, s.official) for s in scores}
    paths["eval_results"].write_text('{"Jitter_Degree": {"error": "no GPU"}}')
    with pytest.raises(ValueError, match="eval_results.json: not results of MBench .*failed: 'no GPU'"):
        mbench.read_results(paths["eval_results"], items)


def test_the_table_always_has_its_control_rows(scored, clips):
    items, scores = scored
    five = [item for item in items if item.dimension in mbench.NAMES]
    motions = {number: clips[number] for number in (0, 1)}
    made = mbench.controls(five, motions, ["she jumps", "someone <b>walks</b> to 1"], [clips[2], clips[3]])
    assert made["nearest-neighbour"][1] is clips[3]
    rows = {"mine": scores} | {row: mbench.evaluate(five, each, up_axis=2) for row, each in made.items()}
    lines = mbench.summary(rows)
    assert [line["row"] for line in lines] == ["mine", "frozen-pose", "nearest-neighbour", "ground-truth"]
    assert lines[1]["correct axis"]["Jitter_Degree"] == {"mean": 0.0, "std": 0.0, "num_samples": 2}
    assert lines[3]["official path"] == {} and "Body_Penetration" not in lines[1]["correct axis"]
    head, body = mbench.cells(lines)
    assert len(body) == 8 and all(len(row) == len(head) for row in body) and body[-1][2:] == ["-"] * (len(head) - 2)
    with pytest.raises(ValueError, match="mine has other items of Jitter_Degree"):
        mbench.summary({"mine": scores[1:], "other": scores})
    with pytest.raises(ValueError, match="expected scores of at least one row"):
        mbench.summary({})


def test_the_nearest_caption_is_the_nearest_in_rare_words():
    captions = ["a person walks", "a person jumps and waves", "a dog walks"]
    assert mbench.nearest(["the person jumps", "DOG!", "someone walks"], captions) == [1, 2, 0]
    with pytest.raises(ValueError, match="captions: expected at least one"):
        mbench.nearest(["x"], [])
