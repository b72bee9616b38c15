"""Control through a world, and what it comes to in the exact one: a goal (meso), goals one after the other (task).

A planner sees the exact world's frame, plans through the world under test, and acts in the exact one. The goal is read
off the frame in which it is first seen. At either end stand the same planner through the exact world, and one that is
shown another layout.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

from experiments.world_model import episodes, names, strays
from experiments.world_model.asking import Worlds
from experiments.world_model.config import Methods, Planning, Search, WorldModel
from vrjax import world
from vrjax.study.tables import Bench, Tables
from vrjax.world.learned.world import Learned

SCALES = (names.MESO, names.TASK)


def measure(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of a seed: `<arm> meso` (episode, 1) and `<arm> task` (episode, goal): which goals were reached."""

    def make() -> Tables:
        w = trained.world(names.PLAIN)
        arms = {names.EXACT: w, names.ELSEWHERE: w} | {arm: strays.arms(study, w, arm) for arm in study.planned}
        out = {}
        for arm, model in arms.items():
            out |= controlled(study, here, seed, model, arm, tasks=arm not in study.planned or arm == study.usual)
        return out

    of = {"seed": seed, "mark": trained.mark(names.PLAIN)}
    return here.part(names.part(seed, names.PLANNING), make, of=of)


def controlled(study: WorldModel, here: Bench, seed: int, w: Learned, arm: str, *, tasks: bool) -> Tables:
    """What is reached through one world, on the meso scale and, where it is asked for, in the task."""
    rows = {"key": episodes.keys(study, seed, names.PLANNING, study.planning.episodes)}
    through = arm if arm in (names.EXACT, names.ELSEWHERE) else None
    out = {}
    for scale in SCALES if tasks else SCALES[:1]:
        goals = 1 if scale == names.MESO else study.planning.goals
        found = here.over(program(study.planning, goals, through), w, rows, f"seed {seed}: {arm}, {scale}")
        out[f"{arm} {scale}"] = np.asarray(found, bool)
    return out


def program(spec: Planning, goals: int, through: str | None) -> Callable[[Learned, Any], Any]:
    """`(w, row) -> (goals,)`: whether each was reached in its time. One goal is the world's own; more are drawn.

    Args:
        spec: of the planning.
        goals: how many.
        through: `names.EXACT` or `names.ELSEWHERE`, which plan through the exact world; None: through w.
    """

    def one(w: Learned, row: Any) -> Any:
        layout, drawing, acting, elsewhere = jax.random.split(row["key"], 4)
        state = w.spec.home.make(layout)
        wanted = state.goal[None] if goals == 1 else episodes.goals(state.blocks[0], drawing, goals)
        other = w.spec.home.make(elsewhere) if through == names.ELSEWHERE else None

        def visit(state, at):
            goal, key = at
            state = state._replace(goal=goal)
            final, came = towards(w, state, spec.search, key, spec.steps, spec.act, through, other)
            return final, came.any()

        return lax.scan(visit, state, (wanted, jax.random.split(acting, goals)))[1]

    return one


def towards(
    w: Learned, state: Any, search: Search, key: Any, steps: int, act: int, through: str | None, other: Any = None
) -> tuple[Any, Any]:
    """Acts in the exact world towards the goal of `state`: the last State, and whether the block was there after each
    step (steps,). `other`: the State that is shown in the place of the true one."""
    home = w.spec.home
    how: dict[str, Any] = {"steps": steps, "act": act, **search.options}
    if through is None:
        goal = w.encode(home.render(state)).still["goal"]
        how |= {"model": w, "see": lambda now, key: w.encode(home.render(now))}
    else:
        goal = state.goal
        if other is not None:
            goal, how["see"] = other.goal, lambda now, key: other
    found = world.control(home, state, episodes.to, key, args=(goal,), **how)
    return found.final, jax.vmap(lambda now: episodes.reached(now, state.goal))(found.states)


def compared(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of two planners at equal model calls: `<world> <method> <pair>` (layout,), whether the goal was
    reached, and `calls` (pair, method) of one layout."""

    def make() -> Tables:
        w, spec = trained.world(names.PLAIN), study.methods
        out: Tables = {"calls": np.zeros((len(spec.pairs), 2), np.int64)}
        for through, count in ((names.EXACT, spec.exact), (names.PLAIN, spec.learned)):
            rows = {"key": episodes.keys(study, seed, names.METHODS, count)}
            for i, pair in enumerate(spec.pairs):
                for j, search in enumerate(pair):
                    run = single(search, spec.steps, spec.act, through if through == names.EXACT else None)
                    found = here.over(run, w, rows, f"seed {seed}: {through}, {search.method}")
                    out[f"{through} {search.method} {i}"] = np.asarray(found, bool)
                    out["calls"][i, j] = calls(search) * (spec.steps // spec.act)
        return out

    of = {"seed": seed, "mark": trained.mark(names.PLAIN)}
    return here.part(names.part(seed, names.METHODS), make, of=of)


def single(search: Search, steps: int, act: int, through: str | None) -> Callable[[Learned, Any], Any]:
    """`(w, row) -> ()`: whether a planner brings the block to its goal."""

    def one(w: Learned, row: Any) -> Any:
        layout, acting = jax.random.split(row["key"])
        return towards(w, w.spec.home.make(layout), search, acting, steps, act, through)[1].any()

    return one


def calls(search: Search) -> int:
    """Model calls of one plan: those that `world.plan` counts."""
    options = dict(search.options)
    method, horizon, iterations = (options.pop(name) for name in ("method", "horizon", "iterations"))
    return world.planning.get(method, **options).calls * iterations * horizon


def fairly(spec: Methods) -> None:
    """Raises ValueError where the planners of a pair differ by more than 2 % in their calls, CEM having fewer."""
    for pair in spec.pairs:
        first, second = (calls(search) for search in pair)
        if not second <= first <= 1.02 * second + 1:
            raise ValueError(f"world_model: {first} and {second} model calls, expected equal ones, CEM with no fewer")
