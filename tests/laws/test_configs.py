"""Every field of a run's config acts: it changes the traced update or what the host does, or it is refused."""

import dataclasses
import functools
import importlib
import inspect
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import vrjax.models
from vrjax import parallel
from vrjax.align import step as preference
from vrjax.align.config import AlignConfig
from vrjax.models import family
from vrjax.train import state as states
from vrjax.train import step as training
from vrjax.train.config import Lora, Optim, TrainConfig

vrjax.models.__path__.append(str(pathlib.Path(__file__).parent))
TOY = family.get("toy").Config()  # traced in no time; it has neither text nor image
LORA = Lora(rank=2)
# field: another value, and what else must be set for the field to have a meaning
PROGRAM: dict[str, tuple[Any, dict[str, Any]]] = {
    "steps": (9, {}),
    "data.batch": (16, {}),
    "objective.times": ("logit_normal", {}),
    "objective.shift": (2.0, {}),
    "objective.mean": (1.0, {"objective.times": "logit_normal"}),
    "objective.std": (2.0, {"objective.times": "logit_normal"}),
    "objective.low": (0.1, {}),
    "objective.high": (0.9, {}),
    "objective.drop": (0.3, {}),
    "objective.drop_others": (0.3, {}),
    "objective.channel_weights": (((1, 3.0),), {}),
    "objective.weighting": ("bsmntw", {}),
    "optim.kind": ("muon", {}),
    "optim.lr": (5e-3, {}),
    "optim.muon_scale": (3.0, {"optim.kind": "muon"}),
    "optim.muon_patterns": ((r"ffn_in\.kernel$",), {"optim.kind": "muon"}),
    "optim.momentum": (0.8, {"optim.kind": "muon"}),
    "optim.b1": (0.8, {}),
    "optim.b2": (0.8, {}),
    "optim.weight_decay": (0.2, {}),
    "optim.warmup": (3, {}),
    "optim.final": (0.5, {}),
    "optim.clip": (0.5, {}),
    "ema.decay": (0.9, {}),
    "ema.ramp": (False, {"ema.decay": 0.5, "ema.ramp": True}),
    "lora": (LORA, {"start": "a model"}),
    "lora.rank": (3, {"start": "a model", "lora": LORA}),
    "lora.alpha": (7.0, {"start": "a model", "lora": LORA}),
    "lora.patterns": ((r"ffn_in\.kernel$",), {"start": "a model", "lora": LORA}),
    "accumulate": (2, {}),
    "dtype": ("bfloat16", {}),
}
PREFERENCE: dict[str, tuple[Any, dict[str, Any]]] = {
    "preference.loss": ("ipo", {}),
    "preference.beta": (30.0, {}),
    "preference.weighting": ("squared", {}),
    "preference.anchor": (1.0, {"preference.loss": "dpop"}),
    "preference.flipped": (0.2, {"preference.loss": "smoothed"}),
    "preference.margin": (0.2, {"preference.loss": "reference_free", "reference.kind": "none"}),
    "preference.utility": ("loss_averse", {"preference.loss": "kto"}),
    "preference.boost": (0.5, {"preference.loss": "local_dpo"}),
    "preference.losers": (1, {}),
    "preference.shared_noise": (False, {}),
    "preference.low": (0.1, {}),
    "preference.high": (0.5, {}),
    "preference.bins": (3, {}),
    "reference.kind": ("ema", {}),
    "reference.decay": (0.5, {"reference.kind": "ema"}),
    "reference.every": (3, {"reference.kind": "ema"}),
    "reference.rate": (0.3, {"reference.kind": "sync"}),
    "reference.draws": (2, {}),
    "rollout.source": ("base", {"rollout.source": "policy", "pairs": None}),
    "rollout.steps": (3, {"rollout.source": "policy", "pairs": None}),
    "rollout.shift": (2.0, {"rollout.source": "policy", "pairs": None}),
    "rollout.guidance": (2.0, {"rollout.source": "policy", "pairs": None}),
    "rollout.candidates": (3, {"rollout.source": "policy", "pairs": None}),
    "rollout.closest": (0.1, {"rollout.source": "policy", "pairs": None}),
}
# field: the function on the host that reads it
HOST = {
    "name": "vrjax.train.loop:folder_of",
    "data.mix": "vrjax.train.loop:batches",
    "data.split": "vrjax.train.loop:batches",
    "data.codec_factor": "vrjax.train.loop:batches",
    "data.cache": "vrjax.train.loop:batches",
    "data.motions": "vrjax.train.loop:batches",
    "start": "vrjax.train.state:make",
    "validate.every": "vrjax.train.loop:Loop._train",
    "validate.clips": "vrjax.train.loop:Loop._train",
    "validate.final_clips": "vrjax.train.loop:Loop._finish",
    "validate.split": "vrjax.train.evaluate:solved_rates",
    "validate.steps": "vrjax.train.evaluate:solved_rates",
    "validate.shift": "vrjax.train.evaluate:solved_rates",
    "validate.group": "vrjax.train.evaluate:solved_rates",
    "checkpoint.every": "vrjax.train.loop:Loop._train",
    "checkpoint.keep": "vrjax.train.loop:Loop.__init__",
    "mesh": "vrjax.train.loop:Loop.__init__",
    "rules": "vrjax.train.state:rules",
    "seed": "vrjax.train.state:run_key",
    "log_every": "vrjax.train.telling:Telling.update",
    "diverged": "vrjax.train.loop:Loop._look",
    "pairs": "vrjax.align.data:pairs",
    "allow_separable": "vrjax.align.data:pairs",
}
ELSEWHERE = {"model"}  # a family's own: tests of its network


def leaves(kind: Any, prefix: str = "") -> set[str]:
    """Dotted names of all fields, those of optional sections among them."""
    sections = {"data", "objective", "optim", "ema", "validate", "checkpoint", "preference", "reference", "rollout"}
    out = set()
    for field in dataclasses.fields(kind):
        if field.name in sections:
            out |= leaves(type(field.default), f"{field.name}.")
        elif field.name == "lora":
            out |= {"lora"} | leaves(Lora, "lora.")
        else:
            out.add(prefix + field.name)
    return out


def changed(config: Any, changes: dict[str, Any]) -> Any:
    """The config with other values by dotted name, those of one section together."""
    whole = {name: value for name, value in changes.items() if "." not in name}
    for section in {name.split(".")[0] for name in changes if "." in name}:
        inside = {name.split(".")[1]: value for name, value in changes.items() if name.startswith(f"{section}.")}
        whole[section] = dataclasses.replace(whole.get(section, getattr(config, section)), **inside)
    return dataclasses.replace(config, **whole)


def trace(config: Any) -> str:
    """The update of a config as text, constants included; only shapes are needed."""
    mesh, shape = parallel.run_mesh(config.mesh), getattr(config.model, "latent", tiny.SHAPE)
    if isinstance(config, AlignConfig):
        masked = config.preference.loss == "local_dpo"
        like = changed(config, {"preference.loss": "dpo"}) if masked else config
        _, (state, base, batch, key) = preference.abstract(like, mesh, shape)
        if masked:
            batch["masks"] = jax.ShapeDtypeStruct((config.data.batch, 1, *shape), "float32")
        body = preference.body(states.Network(config, base), mesh)
    else:
        _, (state, base, batch, key) = training.abstract(config, mesh, shape)
        body = training.body(states.Network(config, base))
    program = jax.make_jaxpr(body)(state, base, batch, key)
    text = f"{program}{[np.asarray(x).tolist() for x in program.consts if jnp.issubdtype(x.dtype, jnp.number)]}"
    return re.sub("0x[0-9a-f]+", "", text)  # addresses of functions


@functools.cache
def plain(kind: str, model: Any, context: tuple) -> str:
    return trace(changed(start(kind, model), dict(context)))


def start(kind: str, model: Any = TOY) -> Any:
    if kind == "align":
        return tiny.align(model=model)
    return tiny.config(model=model, optim=Optim(kind="adamw", warmup=2))


def acts(kind: str, field: str, value: Any, context: dict[str, Any]) -> bool:
    model = tiny.MODEL if "drop_" in field else TOY
    before = plain(kind, model, tuple(context.items()))
    try:
        return trace(changed(start(kind, model), context | {field: value})) != before
    except ValueError as error:
        return bool(str(error))  # refused, which is as good


def test_every_field_is_here():
    assert leaves(TrainConfig) <= set(PROGRAM) | set(HOST) | ELSEWHERE
    assert leaves(AlignConfig) == set(PROGRAM) | set(PREFERENCE) | set(HOST) | ELSEWHERE


def test_equal_configs_are_equal_programs():
    assert trace(start("train")) == trace(start("train")) and trace(start("align")) == trace(start("align"))


def test_fields_of_training_change_the_update():
    dead = [field for field, (value, context) in PROGRAM.items() if not acts("train", field, value, context)]
    assert not dead


@pytest.mark.parametrize("part", ["objective", "preference", "reference", "rollout"])
def test_fields_of_preferences_change_the_update(part):
    cases = {name: case for name, case in (PROGRAM | PREFERENCE).items() if name.startswith(part)}
    assert cases and not [
        field for field, (value, context) in cases.items() if not acts("align", field, value, context)
    ]


@pytest.mark.parametrize("field", HOST)
def test_fields_of_the_host_are_read(field):
    module, _, name = HOST[field].partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert f".{field.split('.')[-1]}" in inspect.getsource(found)
