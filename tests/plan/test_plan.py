"""Plans: what needs no compiler, with fakes where one is called, and one real compilation for a TPU slice."""

import dataclasses
import json
import math
import sys

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vrjax import cli, parallel
from vrjax.models import wan
from vrjax.models.wan import WanConfig
from vrjax.plan import advice, hlo, jobs, shapes, topology
from vrjax.plan import slices as plans
from vrjax.plan.jobs.sampling import SampleConfig
from vrjax.train.config import Data, Lora, Optim, TrainConfig

GIB = 2**30
LATENT = (4, 64, 64, 16)  # 4096 tokens
MODEL = WanConfig(dim=64, heads=4, ffn_dim=128, layers=2, text_dim=16, text_len=8, freq_dim=32)


def training(**changes):
    values = dict(name="t", model=MODEL, steps=3, data=Data(batch=8), optim=Optim(kind="adamw"), mesh={"fsdp": 8})
    return TrainConfig(**{**values, **changes})


def a_plan(needed, hbm=16.0, **changes):
    values = dict(name="t", kind="k", topology="v5e:2x4", chips=8, mesh={"fsdp": 8}, tokens=64, hbm=hbm, needed=needed)
    return plans.Plan(**{**values, "memory": {"parameters": needed} if needed <= hbm else {}, **changes})


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (256.00G) "
            "exceeds available HBM (15.75G).",
            256.0,
        ),
        ("XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 17.21G of 15.75G hbm.", 17.21),
        ("Used 512.5M of 0.25G hbm", 512.5 / 1024),
        ("Ran out of memory in memory space vmem. Used 17.21M of 16.00M vmem", None),
        ("INTERNAL: Mosaic failed to compile", None),
    ],
)
def test_out_of_memory(message, gib):
    assert plans.out_of_memory(message) == (None if gib is None else gib * GIB)


def test_local_bytes():
    mesh = parallel.mesh({"fsdp": 4, "tensor": 2})
    put = lambda shape, spec, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
    key = jax.eval_shape(lambda: jax.random.key(0))
    tree = [put((8, 6), P("fsdp", "tensor")), put((5,), P()), put((16,), P("fsdp"), jnp.bfloat16)]
    assert shapes.local_bytes(tree) == 2 * 3 * 4 + 5 * 4 + 4 * 2
    assert shapes.local_bytes(jax.ShapeDtypeStruct((), key.dtype, sharding=NamedSharding(mesh, P()))) == 8


def test_attention_kernels_are_counted():
    """Two products forward, seven backward, whatever else the kernels are given."""
    array = lambda *shape, dtype="bf16": (hlo.Array(dtype, shape, False),)
    types = (array(1, 4, 4, dtype="s8"), array(3, 2, 512, 128), array(3, 2, 256, 128), array(3, 2, 256, 128))

    def count(label):
        op = hlo.Instruction("c", "custom-call", (), (), f'metadata={{op_name="jit(f)/{label}/pallas_call"}}', False)
        return plans.attention_flops(op, types)

    product = 2 * 3 * 2 * 512 * 256 * 128
    assert count("splash_mha_fwd_segmented_residuals") == 2 * product
    assert count("splash_mha_dq_segmented_no_residuals") + count("splash_mha_dkv_segmented") == 7 * product
    assert count("something_else") is None


def test_a_kind_is_a_file(monkeypatch, tmp_path):
    """One file in the folder of kinds plans its configs; those of a derived type are not taken for their parent's."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(TrainConfig):
        pass

    other = Other(name="o", model=MODEL, steps=1)
    with pytest.raises(ValueError, match="no plan for a Other, only for .*SampleConfig, TrainConfig"):
        plans.make(other, "v5e:2x2")
    (tmp_path / "others.py").write_text(
        f"import {Other.__module__} as home\nConfig = home.Other\nlatent = lambda config: None\n"
        "from vrjax.plan.jobs.training import estimate, examples, wanting\n"
        "def job(config, mesh, latent): return 1 / 0\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "Other", Other, raising=False)
    monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(tmp_path)])
    monkeypatch.setattr(plans, "mesh_on", lambda *a: None)
    jobs.kinds.cache_clear()
    try:
        with pytest.raises(ZeroDivisionError):
            plans.make(other, "v5e:2x2")
    finally:
        jobs.kinds.cache_clear()
        sys.modules.pop(f"{jobs.__name__}.others", None)


def test_table_and_json():
    plan = a_plan(2 * GIB, 16 * GIB, flops={"formula": 1e12, "compiled": 2e12, "xla": 1e11}, seconds={"bound": 0.5})
    text = plan.table()
    assert "2.000  of 16.00: fits" in text and "of which useful 50%" in text
    assert json.loads(json.dumps(plan.to_dict()))["fits"] is True
    assert "DOES NOT FIT" in a_plan(20 * GIB, 16 * GIB).table() and not a_plan(20 * GIB, 16 * GIB).fits


# ----------------------------------------------------------------------------------------------------------- advice


@settings(max_examples=12, deadline=None)
@given(
    chips=st.sampled_from([4, 8, 16, 64]),
    batch=st.sampled_from([4, 8, 48]),
    accumulate=st.sampled_from([1, 2]),
    remat=st.sampled_from(advice.REMAT),
    lora=st.booleans(),
)
def test_options_are_runs_of_the_same_kind(chips, batch, accumulate, remat, lora):
    """Every option uses all chips, divides what it must divide, keeps no more than asked, and says all it changes."""
    more = dict(lora=Lora(rank=2), start="x") if lora else {}
    model = dataclasses.replace(MODEL, remat=remat)
    config = training(model=model, data=Data(batch=batch), accumulate=accumulate, mesh={"fsdp": -1}, **more)
    chip = topology.CHIPS["v5e"]
    found = advice.options(config, chip, chips, latent=LATENT, needed=20 * GIB)
    for option in found:
        new, mesh = option.config, option.config.mesh
        assert math.prod(mesh.values()) == chips and option.changes
        assert MODEL.heads % (mesh.get("context", 1) * mesh.get("tensor", 1)) == 0
        assert new.data == config.data and new.accumulate >= accumulate and batch % new.accumulate == 0
        assert "mesh" not in option.changes or batch // new.accumulate % mesh.get("fsdp", 1) == 0
        assert advice.REMAT.index(new.model.remat) >= advice.REMAT.index(remat)
        assert option.estimate.bytes <= advice.MARGIN * chip.hbm
        rest = dataclasses.replace(new, mesh=config.mesh, rules={}, accumulate=accumulate, model=model)
        assert rest == config
    ranks = [o.estimate.seconds * advice.EACH ** len(o.changes) for o in found]
    assert ranks == sorted(ranks)


def test_estimates_follow_what_is_changed():
    chip, mesh = topology.CHIPS["v5p"], {"fsdp": 4, "context": 2}
    guess = lambda **changes: jobs.of(training()).estimate(training(**{"mesh": mesh, **changes}), mesh, chip, LATENT)
    base = guess()
    full = guess(model=dataclasses.replace(MODEL, remat="full"))
    assert full.bytes < base.bytes and full.seconds > base.seconds
    assert guess(accumulate=2).bytes < base.bytes
    whole = guess(rules={"embed": ("fsdp", "context")})
    assert whole.bytes < base.bytes


def test_advise_compiles_the_best_and_learns():
    config, chip = training(mesh={"data": 8}), topology.CHIPS["v5e"]
    asked = []

    def compile(new, changes, sizes=(16.5, 12.0)):
        asked.append(new)
        size = sizes[len(asked) - 1]
        return a_plan(size * GIB, chip.hbm, changes=changes)

    best, tried = advice.advise(config, chip, 8, LATENT, 40 * GIB, compile)
    assert best is tried[-1] and len(tried) == 2 and best.changes and best.fits
    first = advice.options(config, chip, 8, LATENT, 40 * GIB)[0]
    assert asked[0] == first.config

    asked.clear()
    never = lambda new, changes: compile(new, changes, sizes=(17.0,) * 9)
    best, tried = advice.advise(config, chip, 8, LATENT, 40 * GIB, never, tries=2)
    assert best is None and len(tried) == 2

    def refuses(new, changes):
        raise ValueError("not with these heads")

    assert advice.advise(config, chip, 8, LATENT, 40 * GIB, refuses) == (None, [])


# --------------------------------------------------------------------------------------------------------- the command


def config_file(tmp_path, body):
    path = tmp_path / "pod.py"
    path.write_text(body)
    return path


SAMPLE = """
from vrjax.models import wan
from vrjax.models.wan import WanConfig
from vrjax.plan.jobs.sampling import SampleConfig
TOPOLOGY = "v5e:2x4"
LATENT = (2, 8, 8, 16)
def config():
    model = WanConfig(dim=64, heads=4, ffn_dim=128, layers=2, text_dim=16, text_len=8, freq_dim=32)
    return SampleConfig(name="s", model=model, latent=LATENT, seeds=2, mesh={"fsdp": 8})
"""


def test_load(tmp_path):
    config, where, latent = plans.load(config_file(tmp_path, SAMPLE))
    assert isinstance(config, SampleConfig) and where == "v5e:2x4" and latent == (2, 8, 8, 16)
    config, where, latent = plans.load("configs/chain_of_steps/smoke.py")
    assert isinstance(config, TrainConfig) and where is latent is None
    with pytest.raises(ValueError, match="no config"):
        plans.load(config_file(tmp_path, "x = 1"))
    with pytest.raises(ValueError, match="line 1"):
        plans.load(config_file(tmp_path, "def"))
    with pytest.raises(FileNotFoundError):
        plans.load(tmp_path / "none.py")


def test_command(tmp_path, monkeypatch, capsys):
    """Exit status, table, JSON, overrides and the suggestion, with the compiler replaced."""
    calls = []

    def make(config, where, *, latent=None, changes=None, phase=None):
        calls.append((config, where, latent))
        size = 12.0 if changes else 8.0 if config.steps == 7 else 17.0
        return a_plan(size * GIB, 15.75 * GIB, changes=changes or {}, flops=dict(formula=1, compiled=1, xla=1))

    monkeypatch.setattr(plans, "make", make)
    file, out = str(config_file(tmp_path, SAMPLE)), tmp_path / "plan.json"
    cli.main(["plan", file, "--steps", "7", "--json", str(out), "--latent", "3x8x8x16"])
    assert calls[0][0].steps == 7 and calls[0][1:] == ("v5e:2x4", (3, 8, 8, 16))
    written = json.loads(out.read_text())["details"]
    assert (written["kind"], written["run"], written["fits"]) == ("plan", "k", True)
    assert written["suggestion"] is None
    assert "fits" in capsys.readouterr().out

    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", file, "--topology", "v5e:2x2", "--json", str(out)])
    text = capsys.readouterr().out
    assert stop.value.code == 1 and "DOES NOT FIT" in text and "it fits with these fields" in text
    written = json.loads(out.read_text())["details"]
    assert not written["fits"] and written["suggestion"]["fits"] and written["suggestion"]["changes"]

    calls.clear()
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", file, "--tries", "0"])
    assert stop.value.code == 1 and len(calls) == 1

    for bad in (["plan", "configs/chain_of_steps/smoke.py"], ["plan", file, "--steps", "0"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(bad)
        assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", file, "--latent", "3x8"])
    assert stop.value.code == 2


# ------------------------------------------------------------------------------------------------------- for a slice


@pytest.mark.plan
def test_a_real_plan():
    """A tiny update compiled for four chips: arguments by hand, operations near the formula, collectives of FSDP."""
    model = WanConfig(dim=32, heads=2, ffn_dim=64, layers=3, text_dim=16, text_len=8, freq_dim=32, remat="full")
    config = training(model=model, data=Data(batch=4), mesh={"fsdp": 4})
    plan = plans.make(config, "v5e:2x2", latent=(2, 8, 8, 16))
    assert plan.fits and plan.chips == 4 and plan.hbm == 15.75 * GIB and plan.tokens == 32
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(wan.abstract(model))) * 4
    assert parameters / 4 <= plan.memory["parameters"] < parameters / 2
    assert plan.memory["moving average"] == plan.memory["parameters"]
    assert plan.memory["optimiser"] == pytest.approx(2 * plan.memory["parameters"], rel=1e-3)
    assert 1.0 < plan.flops["compiled"] / plan.flops["formula"] < 1.7  # full remat: 4 / 3
    assert plan.flops["xla"] < plan.flops["compiled"]
    assert plan.collectives["all-gather"][1] > 0 and plan.seconds["bound"] > 0
    assert "loops of unknown" not in " ".join(plan.notes)


@pytest.mark.plan
def test_meshes_and_slices():
    with pytest.raises(ValueError, match=r"v5e:2x2 has 4 chips.*takes 8 devices, found 4"):
        plans.mesh_on({"fsdp": 8}, "v5e:2x2")
    assert plans.mesh_on({"fsdp": -1, "context": 4}, "v5p:4x4x4").shape["fsdp"] == 16
    with pytest.raises(ValueError, match="does not lie on the torus of v5p:4x4x4"):
        plans.mesh_on({"fsdp": 32, "context": 2}, "v5p:4x4x4")
    assert plans.mesh_on({}, "v6e:1x1").size == 1
    with pytest.raises(ValueError, match="libtpu does not know this slice"):
        topology.devices("v5e:3x5")
