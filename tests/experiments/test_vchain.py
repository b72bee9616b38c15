"""The VChain study end to end on a tiny model, its arms, and the statistics it judges with."""

import dataclasses
import json
import pathlib
import types

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.vchain import arms, base, config, looks, page, search, suite, thoughts, verdicts
from experiments.vchain import study as experiment
from vrjax.flow import Level
from vrjax.models import wan
from vrjax.reasoning.thoughts import pictures
from vrjax.report import claims
from vrjax.study import archive, readme, registration
from vrjax.study.command import values
from vrjax.study.tables import Bench
from vrjax.tasks.chains import rules, score, sprites

BASE = config.Base(dim=16, ffn=16, heads=1, layers=1, steps=4, stretch=2, videos=2, images=2, scenes=6)
TINY = config.VChain(
    name="tiny",
    quick=True,
    bases=(1, 2),
    base=BASE,
    scenes=8,
    noises=2,
    steps=2,
    rank=2,
    tuning=2,
    batch=1,
    curve=(1, 2),
    curve_scenes=8,
    rates=(0.25,),
    noisy_tries=(0.25,),
    transitions=120,
    resamples=60,
    group=4,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The finished run folder of the tiny study."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.command, "values", lambda *_: TINY)
        assert experiment.main(["--out", str(root)]) == 0
    return root / "tiny"


@pytest.fixture(scope="module")
def loud():
    """A random model that moves (a fresh one's head is zero)."""
    dit = wan.WanDiT(base.network(BASE), rngs=nnx.Rngs(0))
    dit.head.kernel[...] = 0.5 * jax.random.normal(jax.random.key(1), dit.head.kernel.shape)
    return dit


@pytest.fixture(scope="module")
def on(tmp_path_factory):
    return suite.scenes(TINY, 1, tmp_path_factory.mktemp("chains") / "a")


def test_writes_everything_a_reader_needs(run):
    found = {row.id: row for row in claims.read(run)}
    asked = registration.read(verdicts.__file__)
    left = {c["id"] for c in asked.claims if "noisy" in c["id"] and "0.25" not in c["id"]}
    assert {c["id"] for c in asked.claims} - set(found) == left  # rates that were not asked for
    assert found["vchain.t2v"].instances == 16 and {"stranger", "familiar"} <= set(found["vchain.t2v"].beside)
    assert [c.name for c in found["vchain.interpolation"].contrasts][0] == "linear, familiar"
    assert all(row.verdict is None for row in found.values())  # quick
    checks = {check.what: check for row in found.values() for check in row.checks}
    assert all(check.value is not None and len(check.per_seed) == 2 for check in checks.values())
    assert checks["the true film: complete and lawful"].value == 1.0
    assert checks["the first frame, standing still: complete and lawful"].value == 0.0
    details = claims.read_details(run)
    names = [row["arm"] for row in details["arms"]]
    assert names == [arm for arms_ in suite.parts(TINY).values() for arm in arms_ if arm != "curve"]
    assert set(suite.LABELS) <= set(names) and "tries_noisy_0.25" in names
    assert [row["updates"] for row in details["curve"]] == [1, 2]
    table = (run / "arms.md").read_text()
    assert table.count("\n") == 2 + len(names) and "another scene" in table
    assert (run / "vchain.png").stat().st_size > 10_000
    assert (run / "thoughts" / "base1" / "reasoning.json").exists() and (run / "bases" / "1" / "config.json").exists()
    bill = {row["part"]: row for row in suite.bills(run)}
    assert {"training", *suite.parts(TINY)} == set(bill) and bill["tries"]["bases"] == 2


def test_claims_are_judged_again_from_the_tables(run, tmp_path, monkeypatch, capsys):
    """Nothing but the kept parts is needed, and the tables fill the README's blocks."""
    monkeypatch.setattr(experiment.command, "values", lambda *_: TINY)
    monkeypatch.setattr(suite, "scenes", None)
    assert experiment.main(["--judge", str(run), "--out", str(tmp_path)]) == 0
    assert claims.read(tmp_path / "tiny") == claims.read(run)
    assert (tmp_path / "tiny" / "arms.md").read_text() == (run / "arms.md").read_text()
    assert (tmp_path / "tiny" / "curve.md").read_text() == (run / "curve.md").read_text()
    blocks = readme.blocks((pathlib.Path(verdicts.__file__).parent / "README.md").read_text())
    assert set(blocks) == {"primary", "exploratory", "claims", "arms", "curve"}
    kept = archive.of_run(run)
    assert kept.finished and all(name.startswith("base") for name in kept.tables)
    assert archive.write(tmp_path / "tables.zip", kept).stat().st_size < 100_000
    few = {name: table for name, table in kept.tables.items() if not name.endswith("-tries")}  # not measured yet
    found, shown = verdicts.judged(TINY, registration.read(verdicts.__file__), few)
    assert (
        "vchain.best_of_k_thoughts" not in {row.id for row in found}
        and "best of k, ordered" not in shown["arms"].split("noisy")[0]
    )
    assert verdicts.judged(TINY, registration.read(verdicts.__file__), {}) == ([], {})


def test_a_killed_run_goes_on_and_ends_the_same(run, monkeypatch):
    monkeypatch.setattr(experiment.command, "values", lambda *_: TINY)
    before, table = (run / "results.json").read_bytes(), run / "tables" / "base2-tuned.npz"
    with np.load(table) as stored:
        first = {k: stored[k] for k in stored.files}
    (run / "results.json").unlink()
    table.unlink()  # as if killed while this part ran
    again = []
    inner = arms.Programs.tune
    monkeypatch.setattr(arms.Programs, "tune", lambda self, *a, **k: again.append(1) or inner(self, *a, **k))
    monkeypatch.setattr(base, "train", None)
    assert experiment.main(["--out", str(run.parent), "--only", "1"]) == 0
    assert again == [1] and not (run / "results.json").exists()  # that part alone
    assert experiment.main(["--out", str(run.parent)]) == 0
    assert again == [1] and (run / "results.json").read_bytes() == before
    with np.load(table) as stored:
        for key, value in first.items():
            np.testing.assert_array_equal(stored[key], value)


def test_some_bases_and_some_parts(run, monkeypatch, capsys):
    monkeypatch.setattr(experiment.command, "values", lambda *_: TINY)
    for words, said in ((["--only", "2"], "positions 0 to 1"), (["--parts", "txt"], "unknown part 'txt', expected")):
        assert experiment.main(["--out", str(run.parent), *words]) == 2
        assert said in capsys.readouterr().err
    before = (run / "results.json").read_bytes()
    assert experiment.main(["--out", str(run.parent), "--parts", "text", "tuned"]) == 0
    found = {row.id for row in claims.read(run)}
    assert {"vchain.visual", "vchain.interpolation"} <= found and "vchain.best_of_k_thoughts" not in found
    (rows,) = claims.gather([run]).values()
    missing = {row.id for row in rows if isinstance(row, claims.Missing)}
    assert {"vchain.best_of_k_thoughts", "vchain.too_long"} <= missing
    (run / "results.json").write_bytes(before)


def test_refuses_a_folder_of_another_study(run, monkeypatch, capsys):
    monkeypatch.setattr(experiment.command, "values", lambda *_: dataclasses.replace(TINY, resamples=61))
    assert experiment.main(["--out", str(run.parent)]) == 2
    assert "another config" in capsys.readouterr().err
    for wrong in ({"bases": ()}, {"curve": (2, 1)}, {"scenes": 0}, {"tuning": 3}, {"shipped": True}, {"rates": ()}):
        with pytest.raises(ValueError, match="vchain: |tiny: scenes must be at least 1|tiny: bases is empty"):
            dataclasses.replace(TINY, **wrong)
    with pytest.raises(ValueError, match="whole stretches"):
        config.Base(steps=55)


def test_a_torn_table_is_named(run, monkeypatch, capsys):
    monkeypatch.setattr(experiment.command, "values", lambda *_: TINY)
    table = run / "tables" / "base1-text.npz"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    try:
        assert experiment.main(["--out", str(run.parent)]) == 2
        assert table.name in capsys.readouterr().err
    finally:
        table.write_bytes(whole)


# The base's training data --------------------------------------------------------------------------------------------


def test_the_base_has_its_two_deficiencies():
    data = base.films(rules.Chains(), 60)
    assert rules.novel(data.films.reshape(-1, 6)).any()
    films = data.films[:, 0].astype(int)
    seen = sprites.decode(looks.expand(base.drawn(films)))  # an altered egg is told, but not shown
    np.testing.assert_array_equal(seen, np.where(rules.novel(films), -1, films))
    rng = np.random.default_rng(0)
    many = base.batch(data, rng, 600, 300, wrong=0.6)
    sentences = many["text"].reshape(600, 4, 6, -1)[:, :, 0, :].any(-1).sum(1)  # thoughts told, or scene and end
    orders = many["text"][..., -6:-1]
    ends = orders[..., 4].any(1)
    true = np.array([any((f == d[0]).all() for d in data.films) for f in many["film"]])
    ordered = (sentences > 1) & ~ends
    assert true[ordered].all() and 0.3 < ordered.mean() < 0.6
    assert 0.3 < true[~ordered].mean() < 0.5  # 0.4 in the long run
    symbols = many["thought"][..., 8 : 8 + 18].argmax(-1)
    np.testing.assert_array_equal(symbols, many["row"])
    np.testing.assert_array_equal(many["text"][:, :6, 8 : 8 + 18].argmax(-1), many["film"][:, 0])


def test_places_tell_cells_and_frames_apart():
    video, image = base.places(8, 6), base.places(1, 6)
    assert len(np.unique(video.reshape(48, -1), axis=0)) == 48
    assert (image[..., 8:] == 0).all() and len(np.unique(image.reshape(6, -1), axis=0)) == 6


# Arms ----------------------------------------------------------------------------------------------------------------


def test_adapters_start_afresh_for_every_scene_and_placebos_are_strangers(loud, on, tmp_path):
    programs = arms.Programs(TINY, Bench(tmp_path, group=TINY.group))
    data = arms.tuning_set(on.chains, 6)
    together = programs.tune(loud, data, on.seeds)
    alone = programs.tune(loud, jax.tree.map(lambda a: a[5:6], data), on.seeds[5:6])
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)
    jax.tree.map(close, suite.at(together, 5), suite.at(alone, 0))
    kept = programs.tune(loud, data, on.seeds, keep=(1, 2), steps=2)
    jax.tree.map(close, suite.at(kept, slice(None), 1), together)
    # no update: the base, bit for bit what sampling without adapters gives up to rounding
    noise = arms.noises(TINY, on.seeds, 2)
    story = suite.stories(on.chains)
    fresh = jax.tree.map(np.zeros_like, together)
    np.testing.assert_allclose(
        programs.sample(loud, story, noise, adapter=fresh), programs.sample(loud, story, noise), atol=1e-4
    )
    for i, j in enumerate(on.other):
        mine, theirs = (arms.changed_kinds(on.truths[k].kinds, 8) for k in (i, j))
        assert i != j and not mine & theirs
    with pytest.raises(ValueError, match="placebo: scene 0"):
        arms.strangers([frozenset({"egg"})] * 3)


def test_noises_follow_the_scene_not_its_place():
    both, one = arms.noises(TINY, [7, 9], 3), arms.noises(TINY, [9], 2)
    np.testing.assert_array_equal(both[1:, :2], one)


def test_known_frames_are_kept_and_the_others_sampled(loud, on, tmp_path):
    programs = arms.Programs(TINY, Bench(tmp_path, group=TINY.group))
    known, mask = suite.keyframes_in_time(TINY, on)
    noise, story = arms.noises(TINY, on.seeds, 2), suite.stories(on.chains)
    video = programs.sample(loud, story, noise, known=known, mask=mask)
    free = programs.sample(loud, story, noise)
    for i in range(len(on.clips)):
        np.testing.assert_allclose(
            video[i][:, mask[i]], np.broadcast_to(known[i, mask[i]], video[i][:, mask[i]].shape), atol=5e-3
        )
        np.testing.assert_allclose(known[i, mask[i]], on.clips[i].video[mask[i]], atol=0.01)
        assert np.abs(video[i][:, ~mask[i]] - free[i][:, ~mask[i]]).max() > 1e-3
    x = np.ones((2, 1, 1, 1), np.float32)
    v = arms.pinned(lambda x, level: 5 * x, np.zeros_like(x), np.array([True, False]))(x, Level(0.5, 500.0)).v
    np.testing.assert_allclose(v.ravel(), [2, 5])


def test_interpolation_and_matching(on):
    chain, film = on.chains[0], on.clips[0].video
    n = len(chain.frames)
    for how in ("linear", "nearest"):
        video = arms.interpolated(chain, 8, how)
        np.testing.assert_array_equal(video[0], pictures.to_float(chain.frames[0]))
        np.testing.assert_allclose(video[-1], pictures.to_float(chain.frames[-1]), atol=1e-6)
    exact = arms.interpolated(chain, 3 * n - 2, "linear")[::3]
    np.testing.assert_allclose(exact, [pictures.to_float(f) for f in chain.frames], atol=1e-6)
    with pytest.raises(ValueError, match="unknown way 'cubic'"):
        arms.interpolated(chain, 8, "cubic")
    backwards, frozen = film[::-1], film[:1].repeat(8, 0)
    late = film[[0, 0, *range(1, 7)]]
    assert arms.matching(np.stack([frozen, backwards, film, late]), chain) == 2
    assert arms.matching(np.stack([backwards, late, frozen]), chain) == 1 or on.instants[0][-1] == 7


def test_cost_counts_tokens():
    study = dataclasses.replace(values("vchain", "full"), tuning=60, batch=2, steps=10, curve=(60,))
    assert study.tuning_cost(60) == 60 * 2 * 3 / 8 and study.tries == round((45 + 10) / 10)
    assert verdicts.cost(study, "vchain_noisy_0.1") == 55 and verdicts.cost(study, "t2v") == 10
    assert verdicts.cost(study, "tries") == 60 and verdicts.cost(study, "linear") == 0


# Statistics ----------------------------------------------------------------------------------------------------------


def fake(effect, novel_effect=0.0, bases=5, scenes=40, seed=0):
    """Tables in which VChain is right more often than everything else."""
    rng = np.random.default_rng(seed)
    novel = np.arange(scenes) % 2 == 1
    names = [*suite.LABELS, *(f"{kind}_noisy_0.25" for kind in ("text", "nearest", "vchain", "tries"))]
    out = []
    for _ in range(bases):
        arms_ = {}
        for arm in names:
            rate = 0.3 + effect * (arm == "vchain") + novel_effect * novel * (arm == "vchain")
            hits = (rng.random((scenes, 2)) < np.broadcast_to(np.asarray(rate), (scenes,))[:, None]).astype(float)
            arms_[arm] = {m: hits for m in score.METRICS}
            arms_[arm]["appearance"] = np.where(novel[:, None], hits, np.nan)
            arms_[arm]["read"] = rng.integers(0, 2, (scenes, 2, 8, 6)).astype(np.int8)
        skilled = np.where(novel[:, None], 0.0, rng.random((scenes, 2)) < 0.8)  # gates and controls are met
        arms_["text"] |= {"primary": skilled, "appearance": np.where(novel[:, None], 0.0, np.nan)}
        arms_["truth"] = {m: np.ones((scenes, 2)) for m in score.METRICS}
        arms_["still"] = {m: np.zeros((scenes, 2)) for m in score.METRICS}
        arms_["held"] |= {"appearance": np.where(novel[:, None], 1.0, np.nan)}
        arms_["curve"] = {m: np.stack([np.full((4, 1), 0.2), np.full((4, 1), 0.8)]) for m in score.METRICS}
        out.append(arms_)
    return out, [novel] * bases


def test_claims_of_a_fake_table():
    found, novel = fake(0.5, bases=8)
    many = dataclasses.replace(TINY, bases=tuple(range(8)), scenes=40, curve_scenes=4, quick=False)
    asked = registration.read(verdicts.__file__, seeds=8)
    judged = lambda tables: {row.id: row for row in verdicts.claims(tables, novel[: len(tables)], many, asked)}
    rows = judged(found)
    assert rows["vchain.t2v"].verdict == rows["vchain.visual"].verdict == "reproduced"
    assert 0.4 < rows["vchain.t2v"].estimate < 0.6 and rows["vchain.t2v"].null == 0
    assert rows["vchain.interpolation"].verdict == "reproduced" and len(rows["vchain.interpolation"].contrasts) == 4
    assert rows["vchain.visual_novel"].estimate > 0.7 and rows["vchain.visual_familiar"].estimate < 0.2
    assert rows["vchain.visual"].beside["novel"] == pytest.approx(rows["vchain.visual_novel"].estimate)
    assert rows["vchain.too_short"].verdict == "reproduced" and rows["vchain.too_short"].estimate == pytest.approx(-0.6)
    assert (
        rows["vchain.static"].verdict == "not tested" and "1, 2 and 2" in rows["vchain.too_short"].notes
    )  # one length
    nothing, novel = fake(0.0, bases=8)
    none = judged(nothing)
    assert none["vchain.t2v"].verdict != "reproduced" and abs(none["vchain.t2v"].estimate) < 0.15
    worse, novel = fake(-0.3, bases=8)
    assert judged(worse)["vchain.visual"].verdict == "not reproduced"
    assert judged(found[:4])["vchain.t2v"].verdict is None  # not all bases yet
    found[3] = {arm: table for arm, table in found[3].items() if arm != "tries"}  # a part that one base lacks
    assert "vchain.best_of_k_thoughts" not in judged(found) and "vchain.best_of_k" in judged(found)


def test_what_fails_is_not_tested():
    """A base without the skill, a verifier that refuses the truth, an adapter that changes nothing."""
    many = dataclasses.replace(TINY, bases=tuple(range(8)), scenes=40, curve_scenes=4, quick=False)
    asked = registration.read(verdicts.__file__, seeds=8)
    for arm, change, said in (
        ("text", lambda t: {"primary": 0 * t["primary"]}, "gate: ordered thoughts, familiar scenes"),
        ("truth", lambda t: {"primary": 0.99 * t["primary"]}, "control: the true film"),
        ("vchain", lambda t: {"read": None}, "dose: clips that the adapter changes"),
    ):
        found, novel = fake(0.5, bases=8)
        for one in found:
            one[arm] |= change(one[arm])
            if arm == "vchain":
                one[arm]["read"] = one["text"]["read"]
        row = next(r for r in verdicts.claims(found, novel, many, asked) if r.id == "vchain.visual")
        assert row.verdict == "not tested" and any(why.startswith(said) for why in row.failed)


def test_every_check_of_a_claim_is_one_that_is_measured():
    asked = registration.read(verdicts.__file__)
    whats = {
        c.what
        for claim in asked.claims
        for kind in ("gate", "control", "dose")
        for c in registration.checks(claim, kind, {})
    }
    full = values("vchain", "full")
    names = {arm for arms_ in suite.parts(full).values() for arm in arms_} | {"{first}", "{tuned}", "{last}"}
    assert whats <= set(verdicts.CHECKS) and set(asked.bill) == {"training", *suite.parts(full)}
    asked.enough(len(full.bases))
    for claim in asked.claims:
        for one, other, metric, scenes in [
            *claim["how"]["contrasts"].values(),
            *claim["how"].get("beside", {}).values(),
        ]:
            assert {one, other} <= names and metric in score.METRICS and scenes in ("all", "familiar", "novel")


def test_arm_rows_of_a_fake_table():
    found, novel = fake(0.1, novel_effect=0.5, bases=10)
    rows = {row["arm"]: row for row in verdicts.arm_rows(found, novel, dataclasses.replace(TINY, resamples=2000))}
    vchain = rows["vchain"]
    assert vchain["novel"]["share"] > vchain["familiar"]["share"] + 0.3 and len(vchain["novel"]["per_base"]) == 10
    assert vchain["all"]["low"] < vchain["all"]["share"] < vchain["all"]["high"]
    assert vchain["difference"] == pytest.approx(vchain["all"]["share"] - rows["t2v"]["all"]["share"])
    assert json.dumps(list(rows.values()))
    assert all(len(verdicts.arm_cells(row)) == len(verdicts.HEAD) for row in rows.values())


def test_thoughts_reach_every_arm(run, on):
    with np.load(run / "tables" / "base1-noisy-0.25.npz") as stored:
        assert {"text_noisy_0.25.primary", "vchain_noisy_0.25.primary", "nearest_noisy_0.25.read"} <= set(stored.files)
    with np.load(run / "tables" / "base1-text.npz") as stored:
        assert stored["nearest.completion"].all() and not stored["linear.primary"].all()
        assert stored["held.completion"].all()  # the last keyframe is the last state
        assert stored["truth.primary"].dtype == bool and stored["truth.motion"].dtype == np.float32
        np.testing.assert_array_equal(stored["truth.read"][:, 0], [truth.film for truth in on.truths])
    slim = sum(f.stat().st_size for f in (run / "tables").glob("base*.npz"))
    films = {f.name for f in (run / "tables" / "unpacked").iterdir()}
    assert slim < 300_000 and films == {f"films-base1-{part}.npz" for part in suite.parts(TINY) if part != "curve"}
    assert thoughts.KEYFRAMES == 4


def test_rivals_of_a_noisy_reasoner_have_its_errors(loud, on, tmp_path):
    """Equal error rate: the nearest keyframe holds the wrong pictures, best of k looks for the wrong pictures."""
    here = suite.Base(Bench(tmp_path, group=4), arms.Programs(TINY, Bench(tmp_path, group=4)), loud, 1, on, None, False)  # type: ignore[arg-type]
    wrong = here._wrong(1.0)
    nearest = here._reasoned("noisy_1", wrong)["nearest_noisy_1"]
    for video, chain, right in zip(nearest[:, 0], wrong, on.chains, strict=True):
        np.testing.assert_array_equal(video[-1], pictures.to_float(chain.frames[-1]))
        assert chain.captions != right.captions
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "matching", lambda videos, chain: seen.append(chain) or 0)
        here._best(suite.stories(wrong), wrong)
    assert {id(chain) for chain in seen} == {id(chain) for chain in wrong}


def test_shuffled_thoughts_are_the_same_thoughts(on):
    for chain, told in zip(on.chains, suite.shuffled_stories(on.chains), strict=True):
        n, own = len(chain.captions), arms.encode(chain.story)
        orders, symbols = told[..., -6:-2].argmax(-1), told[..., 8 : 8 + 18].argmax(-1)
        sentences = [tuple(symbols[6 * i : 6 * i + 6]) for i in range(n)]
        whole = [tuple(own[6 * i : 6 * i + 6, 8 : 8 + 18].argmax(-1)) for i in range(n)]
        assert sentences[0] == whole[0] and sentences[1] == whole[-1] and sorted(sentences) == sorted(whole)
        assert orders[: 6 * n].tolist() == np.repeat(np.arange(n), 6).tolist()


def test_the_search_looks_at_validation_scenes_only(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment.command, "values", lambda *_: TINY)
    monkeypatch.setattr(search, "GRID", {"lr": (1e-3,), "mean": (0.0,)})
    monkeypatch.setattr(search, "UPDATES", (1, 2))
    splits = []
    inner = rules.numbered
    monkeypatch.setattr(rules, "numbered", lambda w, split, *a, **k: splits.append(split) or inner(w, split, *a, **k))
    assert experiment.main(["--search", "--out", str(tmp_path)]) == 0
    lines = (tmp_path / "tiny_search" / "search.md").read_text().splitlines()
    assert len(lines) == 2 + 3 * (1 + 2) + 2 and set(splits) == {"val"}
    assert lines[-1] == "The rule chooses not to tune at all."  # all of them are equally bad
    assert not set(search.BASES) & {*values("vchain", "full").bases, *values("vchain", "quick").bases}


def test_the_rule_of_the_search():
    means = {search.NONE: [0.45], (0.01, 0.0, 10): [0.4], (0.01, 0.0, 40): [0.5], (0.01, 1.0, 20): [0.5]}
    assert search.choice(means) == "20 updates at lr 0.01, mean 1"  # of equal ones the shorter
    assert search.choice(means | {(0.003, 0.0, 160): [0.51]}) == "160 updates at lr 0.003, mean 0"


def test_the_shipped_base_is_the_quick_study_s():
    study = values("vchain", "quick")
    dit = wan.load_dit(experiment.SHIPPED)
    asked = base.network(study.base)
    assert all(getattr(dit.cfg, n) == getattr(asked, n) for n in ("dim", "layers", "in_channels", "out_channels"))
    assert (
        sum(f.stat().st_size for f in experiment.SHIPPED.iterdir()) < 2_000_000
        and values("vchain", "full").base == study.base
    )


def test_scenes_are_chosen_by_a_rule():
    """A novel scene that VChain solves, one that it does not, a familiar one: among all whose films are kept."""
    novel = np.array([True, False, True] + [True] * suite.KEPT)
    right = np.zeros((len(novel), 3), bool)
    right[0, 1] = True  # another noise than the one that is shown
    one = types.SimpleNamespace(on=types.SimpleNamespace(novel=novel))
    told = lambda: [i for i, _ in page.telling(one, {"vchain": {"primary": right}})]
    assert told() == [0, 1]
    right[suite.KEPT - 1, 0] = True
    assert told() == [suite.KEPT - 1, 0, 1]
    right[suite.KEPT - 1, 0], right[suite.KEPT, 0] = False, True  # its films are not kept
    assert told() == [0, 1]
