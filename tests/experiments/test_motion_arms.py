"""The arms of a seed: what is asked for, the bank of films, motions, clips and their tables; with tiny models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx
from safetensors.numpy import save_file

from experiments.vimogen import arms, film, films, lifter, measuring, names, recogniser, search, solved, training
from experiments.vimogen.config import Gate, ViMoGen
from vrjax.bench import mbench
from vrjax.files import kept, leaves
from vrjax.flow import grids
from vrjax.models import motion as motion_models
from vrjax.models import wan
from vrjax.models.embedded import captions, matcher, shipped
from vrjax.motion import program, smoothing
from vrjax.motion.program import verbs
from vrjax.study.tables import Bench

STUDY = ViMoGen(name="tiny", seeds=(0, 1), items=3, clips=9, group=4, steps=2, gate=Gate(jitter=0.03, cosine=0.5))
ROWS = films.ROWS


@pytest.fixture
def here(tmp_path):
    return Bench(tmp_path, group=STUDY.group)


@pytest.fixture(scope="module")
def judges():
    """Untrained, but for the matcher."""
    return measuring.Judges(recogniser.Recogniser(nnx.Rngs(0)), matcher.load(), "judges")


@pytest.fixture(scope="module")
def video():
    """A lifter that has learned nothing, and in the place of a model of films nothing."""
    return films.Video(None, None, lifter.Lifter(nnx.Rngs(0)), "video")  # type: ignore[arg-type]


def script_of(scripts, i):
    return program.Script(*(np.asarray(column[i]) for column in scripts))


# What is asked for ----------------------------------------------------------------------------------------------------


def test_prompts_are_of_c_and_of_the_distilled_verbs_of_v():
    study = dataclasses.replace(STUDY, clips=301)
    found, again = films.prompts(study), films.prompts(study)
    jax.tree.map(np.testing.assert_array_equal, found, again)
    scripts = [script_of(found.script, i) for i in range(301)]
    assert [program.set_of(one) for one in scripts] == ["C"] * 151 + ["V"] * 150
    lower = [verbs.LOWER[int(one.lower)].name for one in scripts[151:]]
    assert {*lower} == {"kick", "jumping_jack"}
    assert all(verbs.UPPER[int(one.upper)].name != "throw" for one in scripts)
    # pairs of actions are equally likely: of kicks those with seven uppers, of jumping jacks one
    pairs = [(int(one.lower), int(one.upper)) for one in scripts[151:]]
    assert len({*pairs}) == 8 and min(pairs.count(pair) for pair in pairs) > 5
    told = [{captions.rows(program.caption(one, p), *films.TEXT).tobytes() for p in range(3)} for one in scripts]
    assert all(row.tobytes() in some for row, some in zip(found.text, told, strict=True))
    kicks = films.prompts(dataclasses.replace(study, distilled=("throw",))).script
    assert {verbs.UPPER[int(row)].name for row in kicks.upper[151:]} == {"throw"}
    with pytest.raises(ValueError, match="tiny: distilled has 'walk', expected some of kick, jumping_jack, throw"):
        films.prompts(dataclasses.replace(study, distilled=("kick", "walk")))


def test_items_are_of_s_c_and_v_in_words_of_training(monkeypatch):
    monkeypatch.setattr(program, "perform", tiny.performance)
    found, other = films.items(STUDY, 0), films.items(STUDY, 1)
    sets = [program.set_of(script_of(found.script, i)) for i in range(9)]
    assert sets == ["S"] * 3 + ["C"] * 3 + ["V"] * 3
    said = [captions.rows(program.caption(script_of(found.script, i), i % 3), *films.TEXT) for i in range(9)]
    np.testing.assert_array_equal(found.text, said)
    assert found.joints.shape == (9, ROWS, 22, 3) and found.reference.shape == (9, ROWS, 138)
    assert np.abs(found.joints - other.joints).max() > 0.1
    alone = solved.items("C", 3, ROWS, films.TEXT, seed=STUDY.items_seed)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[3:6], b), found, alone)


# Films ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def imagined(monkeypatch):
    """Films are noise of their seed and place with the text's first numbers in them; which groups were made."""
    made = []

    def imagine(model, codec, text, *, steps, guidance, seed, frames):
        assert (model, codec, steps, guidance, frames, len(text)) == (None, None, 2, 2.0, 15, 4)
        made.append(seed)
        noise = np.random.default_rng(seed).normal(size=(4, frames, *lifter.SIZE))
        return (noise + np.asarray(text)[:, :1, :1, None, None]).astype(np.float32)

    monkeypatch.setattr(film, "imagine", imagine)
    return made


def test_a_bank_is_what_is_lifted_of_films(here, video, imagined):
    text = np.random.default_rng(0).normal(size=(9, *films.TEXT)).astype(np.float32)
    found = films.bank(STUDY, here, video, 1, text)
    assert found.reference.shape == (9, ROWS, 138) and found.height.shape == (9, ROWS)
    assert found.reference.dtype == found.height.dtype == np.float16
    assert imagined == [20001000, 20001001, 20001002]  # one seed of noises a group, and no other of another seed
    lift = jax.jit(lambda pictures: video.lift(pictures))
    for i in range(9):
        pictures = np.random.default_rng(20001000 + i // 4).normal(size=(4, 15, *lifter.SIZE))[i % 4] + text[i, 0, 0]
        alone = lift(pictures.astype(np.float32))
        np.testing.assert_allclose(found.reference[i], alone.reference, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.height[i], alone.height, atol=1e-3)


def test_films_are_kept_group_by_group(here, video, imagined):
    text = np.zeros((9, *films.TEXT), np.float32)
    first = films.bank(STUDY, here, video, 0, text, "some")
    (here.folder / "tables" / "unpacked" / "films-some-01.npz").unlink()
    again = films.bank(STUDY, here, video, 0, text, "some", back=True)
    assert imagined == [20000000, 20000001, 20000002, 20000001]
    jax.tree.map(np.testing.assert_array_equal, first, again)
    films.bank(STUDY, here, video._replace(of="another"), 0, text, "some", back=True)
    assert imagined[4:] == [20000002, 20000001, 20000000]
    changed = text.copy()
    changed[8] = 1
    films.bank(STUDY, here, video._replace(of="another"), 0, changed, "some")
    assert imagined[7:] == [20000002] and not here.used


def test_two_processes_begin_at_both_ends(here, video, monkeypatch):
    asked = []
    monkeypatch.setattr(films, "bank", lambda *given, back: asked.append((*given[3:5], given[5], back)))
    study = dataclasses.replace(STUDY, seeds=(3, 4, 5))
    for seed in (3, 4, 5, 1000):
        prompts, _ = films.distillation(study, here, video, seed)
    assert [row[-1] for row in asked] == [False, False, True, False]
    assert {(row[0], row[2]) for row in asked} == {(films.PROMPTS, "prompts")}
    np.testing.assert_array_equal(asked[0][1], prompts.text)


def test_true_films_are_of_s_and_c(here, video, monkeypatch):
    asked = []

    def take(numbers, seed, spec, text):
        asked.append((numbers.tolist(), seed, spec.sets, spec.paraphrases, text))
        shown = np.broadcast_to(numbers[:, None, None, None, None] / 10.0, (4, 15, *lifter.SIZE))
        return {"film": shown.astype(np.float32), "text": np.ones((4, *text), np.float32) * numbers[:, None, None]}

    monkeypatch.setattr(film, "take", take)
    found = films.wild(STUDY, here, video)
    assert [row[0] for row in asked] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert {row[1:] for row in asked} == {(films.WILD, ("S", "C"), 3, films.TEXT)}
    assert found.text[:, 0, 0].tolist() == list(range(9))
    alone = jax.jit(lambda pictures: video.lift(pictures))(np.full((15, *lifter.SIZE), 0.7, np.float32))
    np.testing.assert_allclose(found.reference[7], alone.reference, atol=5e-3)
    np.testing.assert_allclose(found.height[7], alone.height, atol=1e-3)
    assert films.wild(STUDY, here, video).text.shape == (9, *films.TEXT) and len(asked) == 3


def test_a_video_model_and_a_lifter_of_a_folder(tmp_path, video):
    with pytest.raises(FileNotFoundError, match="film"):
        films.opened(tmp_path)
    file = tmp_path / "lifter-SCV.safetensors"
    leaves.write(file, video.lift)
    wan.save_dit(tiny.dit(), tmp_path / "trained")
    save_file(
        {"mean": np.ones((2, 5)), "basis": np.ones((2, 5, 3)), "scale": np.ones(())}, tmp_path / "codec.safetensors"
    )
    films.pack(tmp_path / "trained", tmp_path, file, tmp_path / "base")
    tmp_path /= "base"
    found = films.opened(tmp_path)
    assert found.codec.basis.shape == (2, 5, 3)
    for a, b in zip(jax.tree.leaves(found.model), jax.tree.leaves(tiny.dit()), strict=True):
        assert a.dtype == b.dtype == jnp.float32
        np.testing.assert_array_equal(a, np.asarray(b, np.float16))
    weights = lambda lift: jax.tree.leaves(nnx.split(lift)[1])
    for a, b in zip(weights(found.lift), weights(video.lift), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_array_equal(a, np.asarray(b, np.float16))
    (tmp_path / "README.md").write_text("of no matter")
    assert films.opened(tmp_path).of == found.of
    leaves.write(tmp_path / films.LIFTER, video.lift)
    assert films.opened(tmp_path).of != found.of
    save_file({"0": np.zeros((3, 4), np.float32)}, tmp_path / films.LIFTER)
    with pytest.raises(ValueError, match=r"lifter.safetensors: .* expected .* of Lifter"):
        films.opened(tmp_path)


# Measures -------------------------------------------------------------------------------------------------------------


def test_a_table_is_what_each_judge_says(here, judges):
    """Of true motions, judged a group at a time in one program, beside each judge alone."""
    items = solved.items("S", 8, 24, (24, 12), paraphrase=None)  # also test_motion_solved's
    said = [program.caption(script_of(items.script, i)) for i in range(8)]
    text = np.stack([captions.rows(one, *films.TEXT) for one in said])
    joints = np.array(items.joints)
    joints[5:7] = joints[5:7, :1]  # two stand still
    found = measuring.table(here, judges, items.script, text, joints, "some")
    rules = np.asarray(solved.RULES(items.script, joints))
    np.testing.assert_array_equal(found["rules"], rules)
    parts = recogniser.agrees(items.script, solved.SEEN(judges.recogniser, joints))
    np.testing.assert_array_equal(found["parts"], np.stack(parts, 1))
    np.testing.assert_array_equal(found["recogniser"], np.asarray(parts.all))
    on_floor = joints - joints[..., 2].min((1, 2))[:, None, None, None] * np.array([0.0, 0.0, 1.0])
    assert (joints[..., 2].min((1, 2)) < -0.5).all()  # as rows have it
    exact = [mbench.metrics(clip, 2) for clip in on_floor]  # in float64
    np.testing.assert_allclose(found["metrics"], [list(clip.values()) for clip in exact], atol=2e-5)
    assert (found["metrics"][5:7] == 0).all() and (found["metrics"][:5, 0] > 1e-3).all()
    words, motions = judges.matcher.texts(said), judges.matcher.motions(joints)
    np.testing.assert_allclose(found["match"], (words * motions).sum(1), atol=1e-5)
    np.testing.assert_allclose(found["features"], motions, atol=1e-3)
    assert 0 < rules.sum() and {name: value.dtype for name, value in found.items()} == {
        name: np.dtype(kind) for name, kind in measuring.TYPES.items() if name != "text features"
    }
    whole = measuring.read(here, judges, items.script, text, joints, "again")
    np.testing.assert_allclose(whole["text features"], words, atol=1e-3)
    assert len(here._programs) == 1
    assert names.METRICS == mbench.NAMES == tuple(exact[0]) and len(recogniser.Parts._fields) == 5


def test_judges_are_known_by_their_weights(tmp_path, judges, monkeypatch):
    monkeypatch.setattr(recogniser, "train", lambda: judges.recogniser)
    found = measuring.judges(tmp_path)
    file = tmp_path / "recogniser.safetensors"
    parts = {"recogniser": kept.fingerprint(file), "matcher": kept.fingerprint(matcher.FOLDER / matcher.FILE)}
    assert found.of == kept.key(**parts) and isinstance(found.matcher, matcher.Matcher)


# Motions --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    cfg = motion_models.MotionConfig(
        mode="mixed", dim=24, ffn_dim=16, heads=4, layers=1, freq_dim=8, text_dim=96, text_len=24, predicts="clean",
        gate_init=1.0,
    )  # fmt: skip
    return motion_models.init(cfg, jax.random.key(0))


@pytest.mark.parametrize("branch", [solved.TEXT, solved.MOTION])
def test_a_motion_is_sampled_step_by_step(here, model, branch):
    """The sampler restated as a loop: guidance 2 away from the empty text, two Euler steps of shift 5."""
    study, rng = dataclasses.replace(STUDY, guidance=2.0), np.random.default_rng(0)
    shape = films.TEXT if branch == solved.TEXT else (ROWS, 138)
    given, noise = rng.normal(size=(5, *shape)).astype(np.float32), arms.noises(study, 0, 0, 5)
    found = arms.drawn(study, here, model, branch, noise, given, "some")
    call = jax.jit(lambda x, time, given: model(x, time, given, mode="text").v)
    if branch == solved.MOTION:
        call = jax.jit(lambda x, time, given: model(x, time, reference=given, mode="motion").v)
    level = np.linspace(1, 0, 3)
    level = 5 * level / (1 + 4 * level)
    np.testing.assert_allclose(grids.vimogen(2, 5.0).sigmas, level)
    x = noise[4]
    for high, low in zip(level, level[1:], strict=False):
        v = call(x, 1000 * high, given[4])
        if branch == solved.TEXT:
            empty = call(x, 1000 * high, np.zeros_like(given[4]))
            v = empty + 2 * (v - empty)
        x = x + (low - high) * v
    rows = smoothing.smooth(x)
    np.testing.assert_allclose(found.rows[4], rows, atol=2e-4)
    np.testing.assert_allclose(found.joints[4], solved.joints_of(rows, arms.PATH), atol=2e-4)
    other = arms.drawn(study, here, model, branch, noise[4:], given[4:], "alone")
    np.testing.assert_allclose(other.rows[0], found.rows[4], atol=1e-4)
    assert len(here._programs) == 1


def test_noises_are_of_the_seed_the_stream_and_the_place():
    five = arms.noises(STUDY, 0, arms.OF_ITEMS, 5)
    assert five.shape == (5, ROWS, 276) and abs(five.std() - 1) < 0.01
    np.testing.assert_array_equal(five[:3], arms.noises(STUDY, 0, arms.OF_ITEMS, 3))
    others = [arms.noises(STUDY, 1, arms.OF_ITEMS, 5), arms.noises(STUDY, 0, arms.OF_CLIPS, 5)]
    others.append(arms.noises(dataclasses.replace(STUDY, seed=1), 0, arms.OF_ITEMS, 5))
    for other in [*others, five[::-1]]:
        assert abs(np.corrcoef(five[:2].ravel(), other[:2].ravel())[0, 1]) < 0.02


@pytest.fixture
def seed(here, video, judges, monkeypatch):
    """A seed whose models are numbers, and whose motions are made of what they were given."""
    rng = np.random.default_rng(0)
    random = lambda *shape: rng.normal(size=shape).astype(np.float32)
    script = program.Script(*np.array([program.script("walk")] * 9).T)
    shapes = films.TEXT, (ROWS, 22, 3), (ROWS, 138)
    items = solved.Items(script, *(random(9, *shape) for shape in shapes))  # type: ignore[arg-type]
    bank = films.Bank(random(9, ROWS, 138).astype(np.float16), random(9, ROWS).astype(np.float16))
    monkeypatch.setattr(films, "items", lambda study, number: items)
    monkeypatch.setattr(films, "bank", lambda *given, **how: bank)
    asked = []

    def weights(self, name):
        asked.append(name)
        return {"w": np.full(3, len(name), np.float32)}

    def drawn(study, here, model, branch, noise, given, label):
        one = noise[:, :1, :22, None] + model["w"] + (0.0 if branch == solved.TEXT else 100.0)
        joints = one + np.asarray(given, np.float32)[:, :1, :1, None]
        return arms.Made(noise + given[:, :1, :1], np.repeat(joints, ROWS, 1))

    def read(here, judges, scripts, text, joints, label):
        """Jitter is the first number of a motion, match the second one, and solved is what lies above 0."""
        first, second = joints[:, 0, 0, 0], joints[:, 0, 1, 0]
        metrics = np.zeros((len(joints), 5), np.float32)
        metrics[:, 0] = first
        told = {"rules": first > 0, "recogniser": second > 0, "metrics": metrics, "match": second.astype(np.float32)}
        return told | {"text features": np.asarray(text)[:, 0, :32]}

    monkeypatch.setattr(arms, "drawn", drawn)
    monkeypatch.setattr(measuring, "read", read)
    monkeypatch.setattr(arms.Seed, "weights", weights)
    made = arms.Seed(STUDY, here, video, judges, 1)
    return made, items, bank, asked


def test_every_arm_is_made_of_its_weights_and_conditions(seed, monkeypatch):
    one, items, bank, asked = seed
    monkeypatch.setattr(solved, "nearest", lambda spec, number, text: 7.0 * (number == 1) * items.joints)
    noise = arms.noises(STUDY, 1, arms.OF_ITEMS, 9)[:, 0, :22, None]
    of_text, of_film, of_truth = (
        np.asarray(x, np.float32)[:, :1, 0, None] for x in (items.text, bank.reference, items.reference)
    )
    wanted = {arm: noise + len(arm) + of_text for arm in (names.UNTRAINED, names.CONTROL, names.STUDENT)}
    wanted |= {arm: noise + len(arm) + of_text for arm in (names.LIFTED, names.SYNTHETIC)}
    wanted |= {names.T2M: noise + 7 + of_text, names.M2M: noise + 107 + of_film, names.TRUE: noise + 107 + of_truth}
    for arm, joints in wanted.items():
        np.testing.assert_allclose(one.joints(arm)[:, 5], np.broadcast_to(joints, (9, 22, 3)), rtol=1e-5, err_msg=arm)
    assert sorted(asked) == sorted([*arms.TOLD.values(), "teacher", "teacher"])
    np.testing.assert_array_equal(one.joints(names.TRUTH), items.joints)
    np.testing.assert_array_equal(one.joints(names.FROZEN), items.joints[:, :1].repeat(ROWS, 1))
    np.testing.assert_array_equal(one.joints(names.NEAREST), 7.0 * items.joints)
    body = jax.jit(lifter.placed)(lifter.Lifted(*(jnp.asarray(x[8], jnp.float32) for x in bank)))
    np.testing.assert_allclose(one.joints(names.VIDEO)[8], body, atol=1e-5)
    assert one.joints(names.T2M) is one.joints(names.T2M)
    assert {*wanted, names.TRUTH, names.FROZEN, names.NEAREST, names.VIDEO} == {*names.ARMS}
    with pytest.raises(ValueError, match="unknown arm 'adaptive gate', expected one of ground truth"):
        one.joints(names.ADAPTIVE)


def test_a_table_is_measured_again_with_other_weights(seed):
    one, _, _, asked = seed
    made = one.measure(names.STUDENT)
    assert "text features" not in made
    np.testing.assert_array_equal(made["rules"], one.joints(names.STUDENT)[:, 0, 0, 0] > 0)
    again = arms.Seed(STUDY, one.here, one.video, one.judges, 1)
    again._make = lambda arm: pytest.fail(f"made again: {arm}")
    jax.tree.map(np.testing.assert_array_equal, again.measure(names.STUDENT), made)
    again.weights = lambda name: pytest.fail(f"asked for the weights of {name}")
    jax.tree.map(np.testing.assert_array_equal, again.measure(names.STUDENT), made)  # they may be gone
    (one.here.folder / "tables" / "seed1-weights_of_student.npz").unlink()
    again.weights = lambda name: {"w": np.ones(3, np.float32)}
    with pytest.raises(pytest.fail.Exception, match="made again: student"):
        again.measure(names.STUDENT)
    del again.weights
    again.judges = one.judges._replace(of="others")
    with pytest.raises(pytest.fail.Exception, match="made again: student"):
        again.measure(names.STUDENT)
    assert one.here.used == {"seed1-student", "seed1-weights_of_student"}
    assert "video" not in one._of(names.T2M) and "video" in one._of(names.M2M) and len(one._of(names.TRUTH)) == 1


def test_what_the_gate_sees(seed):
    one, items, *_ = seed
    found = one.told()
    body = one.joints(names.VIDEO)[:, 0]
    np.testing.assert_array_equal(found["jitter"], body[:, 0, 0])
    np.testing.assert_array_equal(found["cosine"], body[:, 1, 0])
    np.testing.assert_array_equal(found["text features"], items.text[:, 0, :32])
    np.testing.assert_array_equal(found["script"][2], np.array(program.script("walk")))
    assert found["script"].shape == (9, 6) and found["script"].dtype == np.int8
    # student and control are numbers of equal length here: nothing is between them
    assert found["far student control"].tolist() == [0] * 9
    one._joints[names.STUDENT] = one.joints(names.CONTROL) + np.array([0.3, 0.0, -0.4], np.float32)
    (one.here.folder / "tables" / "seed1-items.npz").unlink()
    np.testing.assert_allclose(one.told()["far student control"], 0.5, rtol=1e-4)
    assert "far student control" not in one.told((names.T2M, names.STUDENT))


def test_what_the_page_shows(seed, monkeypatch):
    one, *_ = seed
    monkeypatch.setattr(arms, "KEPT", 2)
    found = one.shown((names.TRUTH, names.T2M))
    assert found["items"].tolist() == [0, 1, 3, 4, 6, 7] and {*found} == {"items", names.TRUTH, names.T2M}
    np.testing.assert_array_equal(found[names.T2M], one.joints(names.T2M)[found["items"]])
    assert one.here.used == {"seed1-weights_of_teacher"}


def test_clips_are_of_the_branch_that_the_gate_chooses(seed, monkeypatch):
    one, _, bank, asked = seed
    prompts = films.prompts(STUDY)
    body = np.zeros((9, ROWS, 22, 3), np.float32)
    body[:, 0, 0, 0] = [0.01, 0.01, 0.05, 0.01, 0.02, 0.04, 0.01, 0.029, 0.03]
    body[:, 0, 1, 0] = [0.9, 0.4, 0.9, 0.6, 0.5, 0.1, 0.51, 0.8, 0.8]
    monkeypatch.setattr(arms, "bodies", lambda here, found, label: body if found is bank else None)
    chosen = np.array([1, 0, 0, 1, 0, 0, 1, 1, 0], bool)
    found = arms.clips(STUDY, one.here, 1, one.weights("teacher"), one.video, one.judges)
    shown = [0, 1, 2, 3, 4, 6, 6, 7, 7]  # 5 and 8 are of verbs that mocap lacks
    np.testing.assert_array_equal(found.chosen, chosen[shown])
    np.testing.assert_array_equal(found.text, prompts.text[shown])
    noise = arms.noises(STUDY, 1, arms.OF_CLIPS, 9)
    given = np.where(chosen, bank.reference[:, 0, 0], prompts.text[:, 0, 0])[:, None, None]
    assert found.latent.dtype == np.float16
    np.testing.assert_allclose(found.latent, (noise + given)[shown], atol=5e-3)
    told = one.clips()
    assert {*told} == {"rules", "recogniser", "chosen", "script"}
    np.testing.assert_array_equal(told["chosen"], chosen)
    np.testing.assert_array_equal(told["script"], np.stack(prompts.script, 1))
    start = noise[:, 0, 0] + 7 + given[:, 0, 0] + 100 * chosen
    np.testing.assert_array_equal(told["rules"], start > 0)
    assert one.here.used == {"seed1-clips", "seed1-weights_of_teacher"} and asked.count("teacher") == 3
    assert one.clips()["rules"].shape == (9,) and asked.count("teacher") == 3  # kept ones ask for no weights
    never = dataclasses.replace(STUDY, gate=Gate(jitter=0.001, cosine=0.5))
    bench = Bench(one.here.folder / "other", group=4)
    text_alone = arms.clips(never, bench, 1, one.weights("teacher"), one.video, one.judges)
    assert not text_alone.chosen.any()
    np.testing.assert_array_equal(text_alone.latent[[1, 2, 4]], found.latent[[1, 2, 4]])
    np.testing.assert_array_equal(text_alone.latent[5:], text_alone.latent[:4])  # of what mocap knows


def test_every_training_has_its_material(here, video, judges, monkeypatch):
    """A student learns whole clips, of lifted films only the joints' own rotations count."""
    rng = np.random.default_rng(1)
    random = lambda *shape: rng.normal(size=shape).astype(np.float32)
    one, calls = arms.Seed(STUDY, here, video, judges, 1), []
    made = arms.Clips(random(9, ROWS, 276).astype(np.float16), random(9, *films.TEXT), np.ones(9, bool))
    wild = films.Wild(random(9, ROWS, 138).astype(np.float16), random(9, ROWS).astype(np.float16), made.text + 1)
    asked, bank = films.Prompts(program.script("kick"), made.text + 2), films.Bank(*wild[:2])
    monkeypatch.setattr(
        arms, "clips", lambda study, here, seed, teacher, *_: made if teacher == "the teacher" else None
    )
    monkeypatch.setattr(films, "wild", lambda *_: wild)
    monkeypatch.setattr(films, "distillation", lambda study, here, found, seed: (asked, bank))
    monkeypatch.setattr(arms, "learnable", lambda here, found, label: whole if found is wild or found is bank else None)
    monkeypatch.setattr(training, "more_mocap", lambda seed, count: ("mocap", seed, count))
    monkeypatch.setattr(training, "teacher", lambda study, here, seed: {"w": 1, "curve.text": np.ones(2)})
    monkeypatch.setattr(training, "weights", lambda left: left["w"])
    monkeypatch.setattr(training, "model", lambda w: "the teacher" if w == 1 else w)
    monkeypatch.setattr(training, "further", lambda study, here, *given: calls.append(given) or {"w": given[1]})
    whole = random(9, ROWS, 276)
    assert [one.weights(name) for name in (names.CONTROL, names.STUDENT, names.LIFTED, names.SYNTHETIC)] == [
        "control", "student", "lifted", "synthetic",
    ]  # fmt: skip
    assert one.weights(names.STUDENT) == "student" and len(calls) == 4  # once
    assert all(start["w"] == 1 and seed == 1 for seed, _, start, _ in calls)
    mocap, student, lifted, synthetic = (call[-1] for call in calls)
    assert mocap == ("mocap", 1, 9)
    np.testing.assert_array_equal(student.latent, made.latent.astype(np.float32))
    np.testing.assert_array_equal(student.text, made.text)
    assert student.latent.dtype == jnp.float32 and (student.alone == 1).all()
    np.testing.assert_array_equal(lifted.latent, whole)
    np.testing.assert_array_equal(lifted.text, wild.text)
    assert (lifted.alone[:, :126] == 1).all() and (lifted.alone[:, 126:] == 0).all()
    for part, first, second in zip(synthetic, lifted, (whole, asked.text, lifted.alone), strict=True):
        np.testing.assert_array_equal(part, np.concatenate([first[:5], second[1::2]]))  # nine of both together
    with pytest.raises(ValueError, match="unknown training 'T2M', expected one of teacher, control, student"):
        one.material(names.T2M)
    found = one.curves(("teacher",))
    assert {*found} == {"teacher text"} and here.used == {"seed1-training", "seed1-weights_of_teacher"}


def test_lifted_bodies_as_rows(here):
    rng = np.random.default_rng(2)
    bank = films.Bank(0.3 * rng.normal(size=(3, ROWS, 138)), 0.9 + 0.1 * rng.normal(size=(3, ROWS)))
    half = films.Bank(*(x.astype(np.float16) for x in bank))
    found = arms.learnable(here, half, "some")
    one = lifter.Lifted(*(jnp.asarray(x[2], jnp.float32) for x in half))
    np.testing.assert_allclose(found[2], jax.jit(lifter.rows)(one), atol=1e-4)
    assert found.shape == (3, ROWS, 276)


def test_the_shipped_model_may_be_the_teacher(here, video, judges):
    """Its weights have the names of a training's, and it is the model that they make."""
    study = dataclasses.replace(STUDY, seeds=(0,), shipped=True)
    one = arms.Seed(study, here, video, judges, 0)
    found = nnx.split(one.weights("teacher"))[1]
    expected = nnx.split(shipped.load(shipped.of_motions()))[1]
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(found), nnx.to_pure_dict(expected))
    start = training.weights(one.trained("teacher"))
    assert jax.tree.structure(start) == jax.tree.structure(jax.eval_shape(training.fresh, np.uint32(0)))


def test_a_hash_of_weights(model):
    first = arms.fingerprint(model)
    assert first == arms.fingerprint(jax.tree.map(lambda x: x + 0, model))
    changed = jax.tree.map(lambda x: x.at[(0,) * x.ndim].add(1e-3), model)
    assert first != arms.fingerprint(changed)
    assert arms.fingerprint({"a": np.zeros(2)}) != arms.fingerprint({"b": np.zeros(2)})
    assert arms.fingerprint({"a": np.zeros((2, 1))}) != arms.fingerprint({"a": np.zeros((1, 2))})


def test_pilots_have_items_of_their_own():
    study = search.study(STUDY)
    numbers = [study.items_seed + seed for seed in (*range(8), *study.seeds)]
    assert len({*numbers}) == 10


def test_the_command_of_the_search(tmp_path, video, judges, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(search.command, "values", lambda paper, size: STUDY)
    monkeypatch.setattr(films, "opened", lambda folder: asked.append(folder) or video)
    monkeypatch.setattr(measuring, "judges", lambda folder: judges)
    monkeypatch.setattr(search, "measured", lambda seeds: asked.append([one.number for one in seeds]))
    monkeypatch.setattr(search, "run", lambda seeds, folder: asked.append([s.number for s in seeds]) or folder / "a.md")
    search.main(["--out", str(tmp_path)])
    search.main(["--out", str(tmp_path), "--only", "1001", "--base", "there"])
    assert asked[0] == films.HOME and asked[1] == [1000, 1001] and asked[2].name == "there" and asked[3] == [1001]
    assert "a.md" in "".join(capsys.readouterr().out.split())
    monkeypatch.setattr(films, "opened", lambda folder: (_ for _ in ()).throw(FileNotFoundError("no such base")))
    with pytest.raises(SystemExit, match="2"):
        search.main(["--out", str(tmp_path)])
    assert capsys.readouterr().err == "python -m experiments.vimogen.search: no such base\n"
