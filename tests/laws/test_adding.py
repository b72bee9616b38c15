"""A new solver, loss, task, benchmark, reasoner or world is one file: each is added here in a folder of its own, and
the laws of its kind are run on it. Nothing of the library is touched."""

import contextlib
import importlib
import sys
import textwrap

import numpy as np

from tests.laws import test_benchmarks, test_losses, test_reasoners, test_solvers, test_tasks, test_worlds


@contextlib.contextmanager
def added(package: str, name: str, text: str, folder):
    """The file `name` in a folder that a package of the library looks into too."""
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    path = importlib.import_module(package).__path__
    path.append(str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        path.remove(str(folder))
        sys.modules.pop(f"{package}.{name}", None)


SOLVER = '''
    """The implicit trapezoidal rule, by two rounds of its fixed point."""

    import functools

    import numpy as np
    from jax import lax

    from vrjax.flow.core import Info, Solver


    @functools.cache
    def picard():
        return Solver(plan=_plan, init=lambda x: (), step=_step, order=2)


    def _plan(grid):
        return {"dt": np.diff(grid.sigmas), "inside": grid.sigmas[1:] > 0}


    def _step(evaluate, x, state, row, key):
        first = evaluate(x)
        end = x + row["dt"] * first.v
        for _ in range(2):
            v = lax.cond(row["inside"], lambda end=end: evaluate(end, end=True).v, lambda: first.v)
            end = x + row["dt"] * (0.5 * (first.v + v))
        return end, state, Info(first)
'''
LOSS = '''
    """The exponential loss of boosting."""

    import jax.numpy as jnp

    from vrjax.align.losses._method import pairs


    def exponential(win_gap, lose_gap, *, beta):
        return jnp.exp(0.5 * jnp.asarray(beta) * (jnp.asarray(win_gap) - jnp.asarray(lose_gap)))


    METHOD = pairs(exponential)
'''
TASK = '''
    """Switch on the lamp whose neighbour on the left is lit."""

    import dataclasses

    import numpy as np

    from vrjax.tasks import core


    @dataclasses.dataclass(frozen=True)
    class Lamp(core.Task):
        """Five lamps, one of them to be lit."""

        name = "lamp"
        colours = ("floor", "wall", "yellow")

        def draw(self, rng, split):
            return {"frames": self.frames, "lamps": sorted(rng.sample(range(25), 5)), "right": rng.below(5)}

        def key(self, layout):
            return repr((layout["lamps"], layout["right"])).encode()

        def answers(self, layout):
            return [core.Answer(str(i), float(i == layout["right"]), lamp) for i, lamp in enumerate(layout["lamps"])]

        def film(self, layout, move):
            film = np.zeros((layout["frames"], 100), np.uint8)
            film[:, layout["lamps"]] = core.INDEX["wall"]
            if move is not None:
                film[2:, move] = core.INDEX["yellow"]
            return film.reshape(-1, 10, 10)

        def prompt(self, layout):
            return f"Switch on lamp number {layout['right']}."

        def describe(self, layout, raster):
            return {}

        def symbols(self, clip):
            return {}
'''
BENCHMARK = '''
    """A list of sums."""

    import pathlib
    from typing import NamedTuple


    class Item(NamedTuple):
        question: str
        answer: int


    def read(folder):
        lines = (pathlib.Path(folder) / "sums.txt").read_text().split()
        return [Item(line, sum(map(int, line.split("+")))) for line in lines]


    def evaluate(items, answers):
        return {item.question: float(item.answer == answer) for item, answer in zip(items, answers, strict=True)}


    def summary(scores):
        asked = {frozenset(dict(each)) for each in scores.values()}
        if len(asked) > 1 or any(len(dict(each)) != len(each) for each in scores.values()):
            raise ValueError("summary: rows of different items")
        return [{"row": row, "mean": sum(v for _, v in sorted(each)) / len(each)} for row, each in scores.items()]
'''
REASONER = '''
    """Says one thing, draws grey."""

    import numpy as np

    from vrjax.reasoning.thoughts.keyframes import FirstThought, NextThought


    class Grey:
        def first(self, prompt):
            return FirstThought("", "", "all grey", "all grey")

        def next(self, prompt, consequences, frames):
            return NextThought("still grey", len(frames) == 2)

        def generate(self, text):
            return np.full((4, 4, 3), 128, np.uint8)

        def edit(self, frames, instruction):
            return frames[-1]


    REASONER = IMAGER = Grey
'''

WORLD = '''
    """A bead on a wire: it is moved by a tenth of the action, the goal is the right end; it sticks now and then."""

    import dataclasses
    from typing import Any, NamedTuple

    import jax
    import jax.numpy as jnp

    from vrjax.world.exact._exact import ROWS, Exact, coded, parts, probability
    from vrjax.world.protocol import Space, kind


    class State(NamedTuple):
        place: Any
        told: Any


    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True, eq=False, repr=False)
    class Bead(Exact):
        slip: Any

        inputs = {
            "action": Space((1,), -1.0, 1.0),
            "trajectory": Space((1,), -1.0, 1.0),
            "instruction": Space((ROWS, 1), 0, 1, whole=True),
        }
        frame = (1, 64, 3)

        def make(self, key):
            return State(jax.random.uniform(key, (1,), minval=-0.2, maxval=0.2), jnp.int32(0))

        def _build(self, decoded):
            return State(**decoded)

        def success(self, state):
            return state.place[0] > 0.9

        def _step(self, state, inputs, key):
            told = kind(inputs) == "instruction"
            if told:
                aim = self._row(state, inputs).astype(jnp.float32)
            else:
                aim = (inputs.position - state.place) * 10 if kind(inputs) == "trajectory" else inputs
            move = jnp.where(jax.random.bernoulli(key, self.slip), 0.0, 0.1 * jnp.clip(aim, -1, 1))
            after = state._replace(place=jnp.clip(state.place + move, -1, 1))
            return self._advance(state, after, inputs) if told else after

        def _render(self, state, camera):
            near = jnp.exp(-((jnp.linspace(-1, 1, 64) - state.place) ** 2) / 0.01)
            return jnp.broadcast_to(2 * near[None, :, None] - 1, self.frame)

        def _holds(self, before, state, row):
            return (row[0] > 0) & self.success(state)

        def parse(self, text):
            for part in parts(self.name, text):
                if part != "go to the goal":
                    raise ValueError(f"{self.name}: cannot read {part!r}, expected 'go to the goal'")
            return coded([(1,)])


    def bead(*, slip=0.0):
        return Bead(probability("bead", "slip", slip))


    def example():
        return bead(slip=0.3)
'''


def test_a_solver(tmp_path):
    from vrjax.flow import solvers

    with added("vrjax.flow.solvers", "picard", SOLVER, tmp_path):
        assert "picard" in solvers.names()
        solver = solvers.get("picard")
        test_solvers.test_order_of_convergence(solver, 2)
        for law in (
            test_solvers.test_last_step_is_the_data_estimate,
            test_solvers.test_differentiable_from_sigma_1_to_sigma_0,
            test_solvers.test_a_network_that_is_not_finite_at_sigma_0_is_never_asked_there,
            test_solvers.test_affine_equivariance,
        ):
            law(solver)
    assert "picard" not in solvers.names()


def test_a_loss(tmp_path, monkeypatch):
    from vrjax.align import losses

    with added("vrjax.align.losses", "exponential", LOSS, tmp_path):
        monkeypatch.setattr(losses, "METHODS", losses.methods())  # as the next process finds it
        assert "exponential" in losses.METHODS
        test_losses.the_method("exponential")
        loss = importlib.import_module("vrjax.align.losses.exponential").exponential
        test_losses.obeys(lambda w, l: loss(w, l, beta=3.0), lambda w, l: np.exp(1.5 * (w - l)))


def test_a_task(tmp_path):
    from vrjax import tasks

    with added("vrjax.tasks", "lamp", TASK, tmp_path):
        assert "lamp" in tasks.names()
        task = tasks.get("lamp", frames=7)
        test_tasks.the_law(task)
        test_tasks.test_splits_are_disjoint(task)


def test_a_benchmark(tmp_path):
    from vrjax import bench

    def make(root):
        root.mkdir()
        (root / "sums.txt").write_text("1+2 2+2 9+4")
        return root

    def score(items):
        module = bench.get("sums")
        truth = list(module.evaluate(items, [3, 4, 13]).items())
        assert module.summary({"truth": truth}) == [{"row": "truth", "mean": 1.0}]
        return {"truth": truth, "mine": list(module.evaluate(items, [3, 4, 0]).items())}

    (tmp_path / "files").mkdir()
    with added("vrjax.bench", "sums", BENCHMARK, tmp_path / "files"):
        assert "sums" in bench.names()
        test_benchmarks.obeys(bench.get("sums"), make, score, tmp_path)


def test_a_reasoner(tmp_path):
    from vrjax.reasoning.thoughts import reasoners

    with added("vrjax.reasoning.thoughts.reasoners", "grey", REASONER, tmp_path):
        reasoner, imager = reasoners.get("grey")
        test_reasoners.obeys("anything", reasoner(), imager())


def test_a_world(tmp_path, monkeypatch):
    from vrjax.world import exact

    def stuck(w):
        state = w.make(test_worlds.KEY)
        return state, np.ones(1, np.float32), lambda after: after.place[0] == state.place[0]

    monkeypatch.setitem(test_worlds.COINS, "bead", ("slip", stuck))
    with added("vrjax.world.exact", "bead", WORLD, tmp_path):
        assert "bead" in exact.names()
        for law in (
            test_worlds.test_frames,
            test_worlds.test_equal_keys_give_equal_bits,
            test_worlds.test_a_step_is_traced_once_and_a_scan_is_a_loop,
            test_worlds.test_an_action_conditions_exactly_the_frame_that_follows_it,
            test_worlds.test_what_is_decoded_can_be_encoded,
            test_worlds.test_inputs_that_are_refused,
            test_worlds.test_every_kind_of_input_keeps_the_state_as_it_is,
            test_worlds.test_coins_fall_as_often_as_is_said,
        ):
            law("bead")
        test_worlds.test_cut_and_gone_on_with_is_as_if_in_one_go("bead", tmp_path)
