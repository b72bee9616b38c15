"""Mistakes of Python callers: each is one line that names the argument, what was found and what was expected."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import tiny

import vrjax
from vrjax import tasks
from vrjax.flow import Phase, Record, grids, sample, sde
from vrjax.models import pipeline, shipped, wan
from vrjax.parallel import over_seeds

GRID = grids.shifted(3, shift=3.0)
X = jnp.ones((2, 4))
KEY = jax.random.key(0)
DIT, TEXT = tiny.dit(), np.zeros((16, 8), np.float32)


@pytest.fixture(autouse=True)
def as_a_user_calls():
    """Without the checks at run time that all other tests have: they would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@functools.cache
def pipe():
    return pipeline.open(shipped.path("worlds"))


@functools.cache
def lab():
    return vrjax.load("worlds")


def plain(x, level):
    return -x


def run(**options):
    return sample(plain, X, GRID, **options)


def opened(**options):
    return pipeline.open(shipped.path("worlds"), **options)


def maze(**options):
    return pipe().sample(tasks.get("maze").make(7, "test"), **options)


def network(**sites):
    """The network itself, asked once."""
    return DIT(jnp.zeros(tiny.SHAPE), 500.0, TEXT, image=np.zeros((*tiny.SHAPE[:-1], 4), np.float32), **sites)


def together(h):
    return jax.lax.pmean(h, "seed")


ROWS = {
    # velocities
    "a network": (lambda: sample(DIT, X, GRID), "found a WanDiT, close its conditions over"),
    "a network in a phase": (lambda: sample((Phase(3, DIT),), X, GRID), "found a WanDiT, close its conditions over"),
    "no velocity": (lambda: sample(jnp.ones(3), X, GRID), "velocity must be callable"),
    "velocity not called": (
        lambda: sample(DIT.velocity, X, GRID),
        "found WanDiT.velocity, call it with its conditions",
    ),
    "velocity of x alone": (lambda: sample(lambda x: -x, X, GRID), "is called as sample: velocity(x, level)"),
    "a maker of velocities": (lambda: sample(lambda x, level: plain, X, GRID), "returned a function; call it with"),
    # a run's arguments
    "steps for a grid": (lambda: sample(plain, X, 50), "grid must be a Grid"),
    "name for a solver": (lambda: run(solver="euler"), "solver must be a Solver"),
    "name for a record": (lambda: run(record="x0"), "record must be a Record"),
    "seed for a key": (lambda: run(solver=sde(), key=7), "key: expected one key, such as jax.random.key(0), found 7"),
    "keys for a key": (lambda: run(solver=sde(), key=jax.random.split(KEY, 2)), "key: expected one key"),
    "a step not there": (lambda: run(record=Record(steps=(3,))), "steps [3] are out of range"),
    # edits of the state
    "edit of another shape": (
        lambda: run(edit=lambda s, x, k: x[:1]),
        "edit must return the shape it is given, (2, 4), found shape (1, 4)",
    ),
    "edit without return": (lambda: run(edit=lambda s, x, k: None), "found nothing (is a `return` missing?)"),
    "edit of x alone": (lambda: run(edit=lambda x: x), "is called as sample: edit(step, x, key)"),
    "edit that is none": (lambda: run(edit=0.5), "edit: must be a function"),
    # sites
    "block edit's shape": (
        lambda: network(edits={"block.1.ffn": lambda h: h[:1]}),
        "the one at block.1.ffn must return",
    ),
    "every block's": (lambda: network(edits={"block.*": lambda h: h.mean()}), "the one at block.* must return"),
    "embed's": (lambda: network(edits={"embed": lambda h: None}), "the one at embed must return"),
    "site not there": (lambda: network(taps={"blocks.1": jnp.mean}), "unknown site 'blocks.1'"),
    "sites in a list": (lambda: network(taps=["block.1"]), "taps: expected a dict of functions by site"),
    "edit of h and block": (lambda: network(edits={"block.1": lambda h, block: h}), "is called as edits: block.1(h)"),
    "value for an edit": (lambda: network(edits={"block.1": 0.0}), "edits: block.1: must be a function"),
    # collectives
    "pmean in a network": (
        lambda: network(edits={"block.*": together}),
        "over 'seed', which nothing maps here",
    ),
    "pmean in an edit": (
        lambda: run(edit=lambda s, x, k: together(x)),
        "over 'seed', which nothing maps here",
    ),
    "pmean in a velocity": (lambda: sample(lambda x, level: together(x), X, GRID), "over_seeds(fn, keys)"),
    "another axis": (
        lambda: over_seeds(
            lambda key: run(edit=lambda s, x, k: jax.lax.pmean(x, "seeds")).final, jax.random.split(KEY, 2)
        ),
        "over 'seeds', which nothing maps here",
    ),
    # over_seeds
    "one key": (lambda: over_seeds(lambda key: X, KEY), "keys: found one key, expected one per seed"),
    "one raw key": (
        lambda: over_seeds(lambda key: X, jax.random.PRNGKey(0)),
        "keys: found one key, expected one per seed",
    ),
    "a number for keys": (lambda: over_seeds(lambda key: X, 4), "keys: found int"),
    "a list of keys": (lambda: over_seeds(lambda key: X, [KEY, KEY]), "keys: found list"),
    "keys first": (lambda: over_seeds(jax.random.split(KEY, 2), lambda key: X), "fn must be a function of one key"),
    "unknown how": (lambda: over_seeds(lambda key: X, jax.random.split(KEY, 2), "loop"), "how='loop'"),
    # pipelines
    "seed beyond 32 bits": (lambda: maze(seeds=[2**40]), "seeds: found 1099511627776, expected whole numbers from 0"),
    "negative seed": (lambda: maze(seeds=[-1]), "seeds: found -1"),
    "no seeds": (lambda: maze(seeds=()), "seeds: found (), expected at least one"),
    "zero seeds": (lambda: maze(seeds=0), "seeds: found 0, expected at least one"),
    "seeds in words": (lambda: maze(seeds="0-3"), "seeds: found '0-3', expected how many"),
    "seeds between": (lambda: maze(seeds=[0.5]), "seeds: found [0.5]"),
    "several prompts": (lambda: pipe().sample(["a", "b"]), "prompt: found a list, expected one text"),
    "misspelt steps": (lambda: maze(step=5), "unknown option 'step', did you mean 'steps'?"),
    "misspelt seeds": (lambda: maze(seed=5), "unknown option 'seed', did you mean 'seeds'?"),
    "size of one side": (lambda: maze(size=40), "size: found 40, expected (height, width)"),
    "no steps": (lambda: maze(steps=0), "steps"),
    "half a step": (lambda: maze(steps=2.5), "steps"),
    "a lora alone": (lambda: opened(loras="a.safetensors"), "expected a list of them"),
    "a lora not there": (lambda: opened(loras=["none.safetensors"]), "none.safetensors: no such LoRA file"),
    "a lora of nothing": (lambda: opened(loras=[3]), "loras: found 3, expected a file"),
    "a lora's weight first": (lambda: opened(loras=[(0.5, "a")]), "loras: found (0.5, 'a')"),
    "misspelt loras": (lambda: opened(lora=["a"]), "unknown option 'lora', did you mean 'loras'?"),
    # the lab
    "misspelt task": (lambda: lab().sample("mase"), "unknown task 'mase', did you mean 'maze'?"),
    "misspelt model": (lambda: vrjax.load("wrlds"), "did you mean 'worlds'?"),
    "misspelt split": (lambda: lab().sample("maze", split="tset"), "unknown split 'tset', did you mean 'test'?"),
    "misspelt option": (lambda: lab().sample("maze", step=5), "unknown option 'step', did you mean 'steps'?"),
    "misspelt task option": (lambda: tasks.get("maze", sise=6), "unknown option 'sise', did you mean 'size'?"),
    "clip in words": (lambda: lab().sample("maze", clip="7"), "seed is '7', expected an integer"),
    "a folder of nothing": (lambda: wan.load_dit("/nowhere"), "/nowhere"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_mistake_is_one_line(name):
    call, wanted = ROWS[name]
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as caught:
        call()
    told = str(caught.value)
    assert wanted in told and "\n" not in told and len(told) < 500, told


def test_a_number_of_seeds_is_those_from_nought_everywhere(monkeypatch):
    given = {}
    monkeypatch.setattr(pipeline.Pipeline, "noise", lambda self, settings, seeds: given.setdefault("seeds", seeds))
    for seeds in (3, (0, 1, 2), np.arange(3), jnp.arange(3)):
        with pytest.raises(AttributeError):  # a tuple is no noise
            maze(seeds=seeds)
        assert given.pop("seeds") == (0, 1, 2)
    with pytest.raises(AttributeError):
        lab().sample("maze", seeds=3)
    assert given.pop("seeds") == (0, 1, 2)
