"""What a notebook shows: one line of text, HTML that carries no markup of the data's, and a bound on its size."""

import functools
import html.parser
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from report_samples import HOSTILE

from vrjax import flow, tasks
from vrjax.flow import Record, grids, sample, words
from vrjax.models import pipeline, shipped
from vrjax.plan.slices import Plan
from vrjax.report import guesses, notebook
from vrjax.report import html as pages
from vrjax.report.record import Claim

GRID = grids.shifted(5, shift=3.0)


def velocity(x, level):
    return flow.Prediction(-x, {"size": jnp.abs(x).mean()})


@functools.cache
def run(shape=(2, 4), **options):
    return sample(velocity, jnp.ones(shape), GRID, **options)


def claim(**changes):
    fields = {"statement": "It reasons.", "statistic": "share", "estimate": 0.3, "interval": (0.1, 0.5), "null": 0.0}
    return Claim(
        **(
            {"id": "a.b", "paper": "x", "seeds": 8, "instances": 64, "direction": "greater", "smallest": 0.05}
            | fields
            | changes
        )
    )


def records():
    """One of every kind that is shown, by the words that its line must hold."""
    plan = Plan("run", "training", "v5p:2x2x1", 4, {"data": 4}, 8, 2.0**34, 2.0**33, {"parameters": 1.0})
    return {
        "Trajectory(5 steps, euler; final (2, 4) ": run(),
        "edited, 2 kept": run(edit=lambda step, x, key: x, record=Record(steps=(0, 3), fields=("x0",))),
        "Record(every step: x, v, x0)": Record(),
        "Record(steps (0, 3): x0)": Record(steps=(0, 3), fields=("x0",)),
        "Grid(5 steps: sigma 1 to 0, time 1000 to 428.6)": GRID,
        "Solver(unipc, order 3)": flow.unipc(),
        "Solver(sde, order 1, stochastic)": flow.sde(),
        "Phase(stop=3, velocity=velocity)": flow.Phase(3, velocity),
        "Prediction(v=(2, 4) 1, taps={": flow.Prediction(jnp.ones((2, 4)), {"h": jnp.zeros(3)}),
        "Level(sigma=0.5, time=500.0)": flow.Level(np.float32(0.5), 500.0),
        "Clip(maze test 7: 'Draw": tasks.get("maze").make(7, "test"),
        "EmbeddedPipeline(worlds: 1 network, ": pipeline.open(shipped.path("worlds")),
        "6 blocks of width 64, 0.457 million parameters": shipped.load("worlds"),
        "Claim(a.b: ": claim(),
        "Plan(run: training on v5p:2x2x1, 8.00 of 16.00 GiB a chip, fits)": plan,
    }


def test_every_record_is_one_short_line():
    for wanted, record in records().items():
        told = repr(record)
        assert wanted in told and "\n" not in told and len(told) < 400, told


def test_a_line_never_touches_a_traced_array():
    lines = []

    @jax.jit
    def traced(x):
        made = sample(velocity, x, GRID, key=jax.random.key(0))
        lines.extend([repr(made), repr(flow.Prediction(x)), repr(flow.Level(x[0], 3.0))])
        return made

    jax.vmap(traced)(jnp.ones((3, 4)))
    assert lines[0] == "Trajectory(5 steps, euler; final (4,); x (6, 4); v (5, 4); x0 (5, 4); taps {size: (5,)})"
    assert repr(jax.eval_shape(traced, jnp.ones(4))) == lines[0]
    for leaf in (None, object(), 3, jax.sharding.PartitionSpec("seed")):  # what transformations put in arrays' places
        assert repr(jax.tree.map(lambda a, leaf=leaf: leaf, run())).startswith("Trajectory(")


def test_a_line_tells_what_is_not_finite_and_survives_donated_arrays():
    assert words.array(np.array([1.0, np.nan, 3.0])) == "(3,) with 1 of 3 not finite in 1 to 3"
    assert words.array(np.full(2, np.nan)) == "(2,) with 2 of 2 not finite"
    gone = jnp.ones(3)
    gone.delete()
    assert words.array(gone) == "(3,)" and words.array(np.zeros((0, 3))) == "(0, 3)"
    assert words.value(jax.random.key(0)) == "key<fry>"


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.inside, self.obeys = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside += [value for name, value in attributes if name == "srcdoc"]
        self.obeys += [name for name, value in attributes if name.startswith("on")]


def test_what_comes_from_data_is_never_markup():
    film = np.zeros((2, 3, 4, 8, 8, 3), np.float32)
    case = pages.Case(HOSTILE, HOSTILE, film, note=HOSTILE, world=HOSTILE)
    clip = tasks.get("maze").make(7, "test")._replace(prompt=HOSTILE, answer=HOSTILE)
    plan = Plan(HOSTILE, HOSTILE, "v5p", 4, {}, 8, 2.0, 1.0)
    for record, allowed in (
        (pages.Page(HOSTILE, scrubbers=[pages.Scrubber([case])]), {"iframe"}),
        (case, {"iframe"}),
        (clip, {"img", "div"}),
        ([claim(statement=HOSTILE)], {"table", "thead", "tbody", "tr", "th", "td"}),
        (plan, {"pre"}),
    ):
        found = Tags(notebook.shown(record))
        assert set(found.tags) <= allowed, found.tags
        for document in found.inside:  # the page itself, as the report's own tests have it
            inner = Tags(document)
            assert inner.tags.count("script") == 2 and not inner.obeys
            assert "Content-Security-Policy" in document


def test_a_run_of_pictures_shows_its_scrubber_and_others_their_fields():
    pictures = notebook.shown(run((4, 8, 8, 3)))
    assert pictures.startswith("<iframe") and 'sandbox="allow-scripts"' in pictures and "in part" not in pictures
    assert notebook.shown(run()).count("<tr>") == 1 + len(["sigma", "time", "final", "x", "v", "x0", "taps", *"gsre"])
    jax.jit(lambda x: notebook.shown(sample(velocity, x, GRID)) and x)(jnp.ones((4, 8, 8, 3)))
    with pytest.raises(TypeError, match="nothing shows a float"):
        notebook.shown(3.0)


@pytest.mark.parametrize("shape", [(9, 60, 5, 16, 16, 3), (2, 12, 30, 64, 96, 3), (1, 2, 3, 512, 768, 3)])
def test_a_big_run_is_shown_in_part_and_says_so(shape):
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, shape, np.uint8)  # noise: nothing of it compresses
    seeds, steps = shape[:2]
    case = pages.Case(
        "big", "", film, noisy=film, truth=film[0, 0], sigma=np.linspace(1, 0, steps),
        maps=[pages.LayerMap("energy", rng.random((seeds, steps, 2, 3)))],
        curves=[pages.Curve("ink", [pages.Series("run", rng.random((seeds, steps)))])],
        solved=[False] * seeds, guesses=[[guesses.Guess("other", str(k))] * steps for k in range(seeds)],
        events=[pages.Event(1, "turns", seed=seeds - 1)],
    )  # fmt: skip
    small, said = notebook.bounded(case)
    assert small.x0.size <= 3 * notebook.PIXELS * 2 and "Shown in part" in said
    assert small.steps[0] == 0 and small.steps[-1] == steps - 1 and small.seeds[-1] == f"seed {seeds - 1}"
    assert [row[0].words for row in small.guesses] == [name.split()[1] for name in small.seeds]
    assert [event.seed for event in small.events] == [len(small.seeds) - 1]
    told = notebook.shown(case)
    assert said in told and len(told) < 8e6
    assert notebook.bounded(small)[1] == ""


def test_importing_the_package_brings_nothing_and_lists_its_rooms():
    code = """
import sys
before = set(sys.modules)
import vrjax
brought = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(sorted(brought), set(vrjax.__all__) <= set(dir(vrjax)))
print(vrjax.report.figures.__name__, vrjax.reasoning.instruments.perturb.__name__, vrjax.models.settings.__name__)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out == ["['vrjax'] True", "vrjax.report.figures vrjax.reasoning.instruments.perturb vrjax.models.settings"]


def test_every_room_is_listed():
    import pathlib

    import vrjax

    rooms = {folder.name for folder in pathlib.Path(vrjax.__file__).parent.iterdir() if any(folder.glob("*.py"))}
    assert set(vrjax.__all__) == rooms - {"cli"} | {"load"}
    assert all(getattr(vrjax, name).__name__ == f"vrjax.{name}" for name in rooms - {"cli"})
    with pytest.raises(AttributeError, match="no attribute 'flwo'"):
        vrjax.flwo  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'figure'"):
        vrjax.report.figure  # noqa: B018


def test_ipython_shows_them():
    """What the kernel sends for the last line of a cell, with formatters bound to names only."""
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import vrjax
show = shell.display_formatter.format
clip = vrjax.tasks.get("maze").make(7, "test")
data, _ = show(clip)
print(data["text/html"].startswith("<img"), data["text/plain"].startswith("Clip(maze test 7"))
pipe = vrjax.models.pipeline.open(vrjax.models.shipped.path("worlds"))
data, _ = show(pipe)
print(data["text/html"].startswith("<table"), data["text/plain"].startswith("EmbeddedPipeline(worlds"))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["True True", "True True"]
