"""The command from end to end on a tiny study: what it writes, what a kill leaves, what it refuses."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from configs.realdpo import full
from experiments.realdpo import arms, network, shipped, suite
from experiments.realdpo import study as realdpo
from vrjax.files import writing
from vrjax.flow import Level
from vrjax.report import claims
from vrjax.study import registration
from vrjax.tasks.discs import physics

STUDY = dataclasses.replace(
    tiny.realdpo(),
    quick=True,  # two bases are too few for any primary
    arms=("SFT", "RealDPO", "null: RealDPO, coin-flipped pairs", "RealDPO, frozen reference"),
)


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(realdpo.command, "values", lambda *_: STUDY)
    return STUDY


def tables(folder):
    found = {}
    for file in sorted((folder / "tables").glob("**/*.npz")):
        with np.load(file) as stored:
            found[file.name] = {k: stored[k] for k in stored.files}
    return found


def test_a_run_and_a_killed_run_end_alike(tmp_path, study, monkeypatch, capsys):
    assert realdpo.main(["--out", str(tmp_path / "a")]) == 0
    folder = tmp_path / "a" / "tiny"
    rows = claims.read(folder)
    assert {"realdpo.over_base", "realdpo.over_sft", "realdpo.labels"} <= {c.id for c in rows}
    assert all(c.seeds == 2 and c.instances == 2 * STUDY.conditions and len(c.per_seed) == 2 for c in rows)
    details = claims.read_details(folder)
    assert [row["arm"] for row in details["arms"]][:2] == ["base", "SFT"]
    assert any("realdpo.ema" in line for line in details["missing"])
    assert max(details["false_positives"].values()) <= 0.01
    for name in ("arms.md", "claims.md", "realdpo.png", "report.html"):
        assert (folder / name).stat().st_size > 200, name
    assert "RealDPO, frozen reference" in (folder / "arms.md").read_text()

    # Killed while an arm trains: its parts so far are kept, the rest is as if nothing had happened. The other base
    # comes first, as a process of its own would measure it.
    real, calls = suite.Suite.train, []

    def dies(self, arm, until):
        calls.append(arm.name)
        if arm.name.startswith("null") and not suite.Suite.died:
            suite.Suite.died = True
            raise KeyboardInterrupt
        return real(self, arm, until)

    monkeypatch.setattr(suite.Suite, "train", dies)
    monkeypatch.setattr(suite.Suite, "died", False, raising=False)
    assert realdpo.main(["--out", str(tmp_path / "b")]) == 130
    assert "goes on from here" in capsys.readouterr().err
    killed = tmp_path / "b" / "tiny"
    parts = lambda: sorted(file.stem for file in (killed / "tables").glob("**/*.npz"))
    assert parts() == ["arm-base-10", "arm-extra-10", "arm-realdpo-10", "arm-sft-10", "base-10"]
    packed = {"arm-base-10", "arm-realdpo-10", "arm-sft-10"}  # neither weights nor what the page alone shows
    assert {file.stem for file in (killed / "tables").glob("*.npz")} == packed
    assert realdpo.main(["--out", str(tmp_path / "b"), "--only", "2"]) == 2
    assert "--only 2: expected positions 0 to 1" in capsys.readouterr().err
    calls.clear()
    assert realdpo.main(["--out", str(tmp_path / "b"), "--only", "1"]) == 0
    # A run that has not come to its end is judged on the bases that are done.
    assert realdpo.main(["--judge", str(killed)]) == 0
    said = capsys.readouterr().out
    assert "not finished" in said and "1 seed, n=3" in said and "RealDPO, frozen reference" in said
    assert len(parts()) == 5 + 7 and not (killed / "results.json").exists()
    assert calls == list(STUDY.arms)
    calls.clear()
    assert realdpo.main(["--out", str(tmp_path / "b")]) == 0
    assert calls == ["null: RealDPO, coin-flipped pairs", "RealDPO, frozen reference"]
    first, second = tables(folder), tables(killed)
    assert first.keys() == second.keys()
    for name, table in first.items():
        for key, value in table.items():
            np.testing.assert_array_equal(value, second[name][key], err_msg=f"{name} {key}")
    assert (folder / "results.json").read_text() == (killed / "results.json").read_text()


def test_bases_differ_and_weights_are_checked(study):
    one, two = network.train_base(study, 0), network.train_base(study, 1)
    assert one["relative"].shape == (study.base_steps,) and np.isfinite(one["relative"]).all()
    names = [k for k in one if k.endswith("kernel")]
    assert names and all((one[k] != two[k]).any() for k in names if one[k].any())
    assert network.count(network.stack(study, [one, two])) > 1000
    with pytest.raises(ValueError, match="expected"):
        network.stack(dataclasses.replace(study, dim=32), [one, two])


def test_the_shipped_base_has_learned_to_move_discs():
    study = shipped.study()
    dit = network.Network(network.base_config(study, study.first), {}).build(
        jax.tree.map(lambda leaf: leaf[0], shipped.params()), {}
    )
    rows = network.rows(physics.make("bounce", 32, split="val", seed=study.first))
    noise = np.random.default_rng(0).standard_normal(rows["latent"].shape, np.float32)
    towards = noise - rows["latent"]

    def move(x, text, image):
        return dit.velocity(text, image)(x, Level(np.float32(0.5), np.float32(500))).v

    found = jax.jit(jax.vmap(move))((rows["latent"] + noise) / 2, rows["text"], rows["image"])
    assert np.square(found - towards).mean() < 0.2 * np.square(towards).mean()  # an untrained one: 1


def test_errors_are_one_line(tmp_path, study, capsys):
    folder = tmp_path / "tiny"
    writing.Run(folder, {"config": {}, "versions": {}}, kind="realdpo").close()
    assert realdpo.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "holds a run with another config" in said and "--fresh" in said and said.count("\n") == 1
    (folder / "config.json").write_text("{")
    assert realdpo.main(["--out", str(tmp_path)]) == 2
    assert "is not a run's config" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        realdpo.main(["--help"])
    assert done.value.code == 0 and "--full" in capsys.readouterr().out
    sizes = full.config()
    asked = registration.read(realdpo.__file__, seeds=sizes.bases)  # enough of them for the primaries
    assert sizes.bases >= 8 and sizes.conditions >= 200 and not set(sizes.seeds) & {0, 1, 2, 3, 4, 1000, 1001}
    per_base = [asked.bill[name] for name in ("training the base", *(arm.name for arm in arms.catalogue(sizes)))]
    assert sum(per_base) * sizes.bases < 60  # core minutes
