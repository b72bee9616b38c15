"""Learned roads: films that are kept, a pose read off frames, how far they stray; on the page beside the exact one."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.world_model import drive as shipped
from tests.world.world_toys import NETWORK
from vrjax import drive, world
from vrjax.models import family
from vrjax.train.config import Checkpoint, Data, Optim
from vrjax.world import exact, learned, play
from vrjax.world.exact import Exact
from vrjax.world.learned import distill, library, odometry, patches, strays, train

KEY = jax.random.key(3)
KEPT = library.Library(films=32, frames=7, held=16)
SPEC = learned.Spec(world="road", moving=(), still=())
CFG = dataclasses.replace(NETWORK, in_channels=24, out_channels=24, previous=True, predicts="change")


BICYCLE, MOVED = jax.jit(drive.bicycle), jax.jit(odometry.moved)


class Place(NamedTuple):
    ego: Any
    way: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Road(Exact):
    """A car that sees stripes of the way that it has come, and of where it heads."""

    dt: Any = 0.1

    inputs = {"action": world.Space((2,), -1.0, 1.0)}
    frame = (8, 8, 3)

    def make(self, key):
        return Place(jnp.append(jax.random.uniform(key, (3,)), jnp.array([6.0, 0.0])), jax.random.uniform(key))

    def _build(self, decoded):
        return Place(**decoded)

    def usual(self, state):
        return jnp.array([0.1, -0.2])

    def _step(self, state, inputs, key):
        pose = drive.bicycle(state.ego[:4], 4.0 * inputs[0], 0.6 * inputs[1], self.dt)
        way = state.way + (state.ego[3] + pose[3]) / 2 * self.dt
        return Place(jnp.append(pose, 0.6 * inputs[1]), way)

    def _render(self, state, camera):
        return picture(state.way, state.ego[2], jnp)

    def success(self, state):
        raise AssertionError("films ask for none")

    parse = _holds = success  # type: ignore[assignment]


def picture(way, yaw, of):
    """Eight places along the way, and eight directions."""
    across = of.arange(8) * of.ones((8, 1)) / 4
    return of.stack([of.sin(way + across.T), of.cos(way + across.T), of.sin(4 * yaw + across)], -1)


@pytest.fixture(scope="module", autouse=True)
def roads():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "get", lambda name, **options: Road())
        yield
    learned.world._home.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def films(folder):
    return library.drawn(SPEC, KEPT, 5, folder, 1)


@pytest.fixture(scope="module")
def taught(films):
    squares, _ = patches.fit(library.pixels(films.frames).reshape(-1, 8, 8, 3), 4, 24)
    return squares, library.taught(films, KEPT, squares)


def untrained(taught) -> Any:
    """Its head answers nothing yet: every frame is the one before."""
    odometer = odometry.init(KEY, 4, 24)
    return learned.assembled(family.of(CFG).init(CFG, KEY), taught[0], None, SPEC, odometer)


def test_films_show_what_was_done(films):
    assert films.frames.shape == (32, 7, 8, 8, 3) and films.frames.dtype == np.uint8
    assert (
        not films.actions[:, 0].any() and np.abs(np.diff(films.actions[..., 1], axis=1)).max() <= library.REACH + 1e-6
    )
    x, y, yaw, v = (films.poses[..., i].astype(np.float64) for i in range(4))
    pedal, wheel = (films.actions[..., i].astype(np.float64) for i in range(2))
    after = np.maximum(v[:, :-1] + 0.4 * pedal[:, 1:], 0)
    np.testing.assert_allclose(v[:, 1:], after, atol=1e-5)
    driven = 0.1 * (v[:, :-1] + after) / 2  # nobody has come to rest within seven steps
    assert after.min() > 0
    np.testing.assert_allclose(np.diff(yaw), driven * np.tan(0.6 * wheel[:, 1:]) / 2.7, atol=1e-5)
    # Each frame is that of its pose: what differs between films is where the way began, told by the first frame.
    begun = library.pixels(films.frames[:, 0].astype(np.float64))
    way = np.arctan2(begun[:, 0, 0, 0], begun[:, 0, 0, 1])[:, None] + np.concatenate(
        [np.zeros((32, 1)), np.cumsum(driven, 1)], 1
    )
    wanted = np.stack([[picture(a, b, np) for a, b in zip(*row, strict=True)] for row in zip(way, yaw, strict=True)])
    np.testing.assert_allclose(library.pixels(films.frames), wanted, atol=0.02)
    usual = np.all(np.abs(films.actions[:, 1:] - [0.1, -0.2]) < [0.9, 0.2], -1)
    assert 0.3 < usual.mean() < 0.95  # mostly the usual, with a hand that shakes; not always


def test_films_are_kept(films, folder, monkeypatch):
    (folder / "road-5-7-001.safetensors").unlink()
    again = library.drawn(SPEC, KEPT, 5, folder, 1)
    jax.tree.map(np.testing.assert_array_equal, again, films)
    monkeypatch.setattr(library, "film", None)  # now nothing is drawn
    jax.tree.map(np.testing.assert_array_equal, library.drawn(SPEC, KEPT, 5, folder, 1), films)
    with pytest.raises(ValueError, match="library: films=20, frames=64, held=32, expected a multiple of 16"):
        library.Library(films=20)


def test_stretches_are_cut_from_films_that_are_not_held(films, taught):
    squares, rows = taught
    assert rows.latents.shape == (16, 7, 2, 2, 24) and len(library.held(films, KEPT).frames) == 16
    wanted = patches.encode(squares, library.pixels(jnp.asarray(films.frames[3])))
    np.testing.assert_allclose(rows.latents[3], wanted, atol=1e-5)
    cut = jax.jit(jax.vmap(lambda rows, key: library.stretch(rows, 4, key), (None, 0)))
    seen, acted = cut(jax.tree.map(jnp.asarray, rows), jax.random.split(KEY, 200))
    whole = np.stack([rows.latents[:, i : i + 4] for i in range(4)], 1)
    at = np.array([np.argwhere((whole == one).all((2, 3, 4, 5)))[0] for one in np.asarray(seen)])
    acts = np.stack([rows.actions[:, i : i + 4] for i in range(4)], 1)
    np.testing.assert_array_equal(acted, acts[at[:, 0], at[:, 1]])
    assert set(at[:, 0]) == set(range(16)) and set(at[:, 1]) == set(range(4))
    assert 0.22 < np.mean(at[:, 1] == 0) < 0.45  # a tenth are beginnings, and a quarter of the others


def test_arcs_are_added_up():
    """From pose to pose along a bicycle's arc, turning past half a circle; who stands stays."""
    pose = np.array([1.0, -2.0, 3.1, 9.0], np.float32)
    poses = [pose]
    for accel, steer in ((2.0, 0.4), (0.0, 0.4), (-8.0, -0.5), (1.0, 0.0)):
        poses.append(np.asarray(BICYCLE(poses[-1], accel, steer, 0.1)))
    rows = np.stack(poses)
    wound = rows - 2 * np.pi * np.eye(4, dtype=np.float32)[2] * (np.arange(5) > 1)[:, None]
    found = np.asarray(jax.jit(odometry.ways)(wound))
    driven = 0.1 * (rows[1:, 3] + rows[:-1, 3]) / 2
    np.testing.assert_allclose(found[:, 0], driven, atol=1e-5)
    for way, wanted in zip(found, rows[1:], strict=True):
        pose = MOVED(pose, way, 0.1)
        np.testing.assert_allclose(pose[:3], wanted[:3], atol=1e-5)
        assert float(pose[3]) == pytest.approx(float(way[0]) / 0.1, rel=1e-4)
    stands = MOVED(pose, np.array([-0.1, 0.0], np.float32), 0.1)
    np.testing.assert_allclose(stands, [*pose[:3], 0.0], atol=1e-4)


def test_an_odometer_reads_how_far_one_has_come(films, taught):
    squares, rows = taught
    found = odometry.fit(KEY, rows.latents, rows.poses, updates=1500, batch=64)
    held = library.held(films, KEPT)
    latents = patches.encode(squares, library.pixels(jnp.asarray(held.frames)))
    read = jax.jit(jax.vmap(jax.vmap(functools.partial(odometry.read, found))))(latents[:, :-1], latents[:, 1:])
    truth, usual = odometry.ways(held.poses), odometry.ways(rows.poses).mean((0, 1))
    error, guess = (np.abs(truth - told).mean((0, 1)) for told in (read, usual))
    assert (error < 0.6 * guess).all(), (error, guess)


def test_how_far_a_road_strays(films, taught):
    """One that answers nothing shows what it was shown, and its car comes as far as is read off equal frames."""
    w, held = untrained(taught), library.held(films, KEPT)
    found = strays.measured(w, held, KEY, shown=2, steps=4)
    seen = library.pixels(held.frames.astype(np.float64))
    still = np.mean((seen[:, 1:2] - seen[:, 2:6]) ** 2, (0, 2, 3, 4))
    np.testing.assert_allclose(found.frozen_frames, still, atol=1e-5)
    np.testing.assert_allclose(found.frames, still, atol=5e-3)
    assert np.max(found.patches_frames) < 1e-3 < np.min(still)
    gone = held.poses[:, 2:6].astype(np.float64) - held.poses[:, 1:2]
    np.testing.assert_allclose(found.frozen_metres, np.hypot(gone[..., 0], gone[..., 1]).mean(0), atol=1e-4)
    np.testing.assert_allclose(found.frozen_degrees, np.degrees(np.abs(gone[..., 2])).mean(0), atol=1e-3)
    latent = patches.encode(w.patches, jnp.asarray(seen[0, 1], jnp.float32))
    pose = jnp.asarray(held.poses[0, 1])
    state = w.encode({"frames": seen[0, :2], "actions": held.actions[0, :2], "ego": pose})
    stepped = jax.jit(w.step)(state, held.actions[0, 2], KEY)
    way = odometry.read(w.odometer, latent, stepped.latent)
    np.testing.assert_allclose(stepped.pose, MOVED(pose, way, 0.1), atol=1e-4)
    np.testing.assert_array_equal(w.decode(stepped)["ego"], stepped.pose)


def test_a_run_ends_in_a_road_that_one_drives_beside_the_exact_one(tmp_path):
    config = train.WorldConfig(
        name="tiny", model=CFG, spec=SPEC, films=KEPT, steps=3, frames=3, reading=2, measured=0, counts="frame",
        data=Data(batch=2), optim=Optim(lr=1e-2, warmup=1), checkpoint=Checkpoint(every=2), dtype="float32",
    )  # fmt: skip
    w: Any = train.run(config, root=tmp_path)
    again: Any = learned.load(tmp_path / "tiny" / "world")
    assert int(again.mark) == int(w.mark) and again.odometer is not None and w.reader is None
    np.testing.assert_array_equal(again.odometer.mixed, w.odometer.mixed)
    assert len(list((tmp_path / "films").glob("road-0-7-*.safetensors"))) == 2
    learned.halve(tmp_path / "tiny" / "world", tmp_path / "half")
    half: Any = learned.load(tmp_path / "half")
    assert half.network.head.kernel.dtype == half.odometer.mixed.dtype == "float32" and int(half.mark) != int(w.mark)
    for here, there in zip(jax.tree.leaves(half), jax.tree.leaves(w), strict=True):
        if here.dtype == "float32":  # all but the mark
            np.testing.assert_array_equal(here, np.asarray(there).astype(np.float16).astype(np.float32))
    weigh = lambda folder: sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert weigh(tmp_path / "half") < 0.7 * weigh(tmp_path / "tiny" / "world")
    sides = play.open_worlds((str(tmp_path / "tiny" / "world"), "exact"))
    session = play.Session(sides, 1)
    moment = session.begin()
    np.testing.assert_allclose(moment.told[0]["ego"], moment.told[1]["ego"][:4])  # both begin at one place
    for _ in range(3):
        moment, tick = session.tick(moment, [])
    assert tick.apart["metres"] is not None and tick.apart["degrees"] is not None and tick.apart["speed"] is not None
    assert tick.apart["metres"] > 0 and tick.shown[0].driven is not None
    steps = tick.shown[0].steps
    assert steps is not None and steps.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(steps[-1].astype(int), tick.shown[0].frame, atol=1)
    with pytest.raises(ValueError, match="expected them as long as a stretch, and no places in spec"):
        dataclasses.replace(config, frames=8)
    few = distill.DistillConfig(
        name="few", model=CFG, world=str(tmp_path / "tiny" / "world"), films=KEPT, steps=1, frames=3, critic_steps=1,
        measured=0, data=Data(batch=2), dtype="float32",
    )  # fmt: skip
    student: Any = distill.run(few, root=tmp_path)  # of the same films, and it still knows how far it has come
    assert len(list((tmp_path / "films").glob("road-*"))) == 2 and student.spec.solver == "renoise"
    np.testing.assert_array_equal(student.odometer.mixed, w.odometer.mixed)
    with pytest.raises(ValueError, match="films=None, expected what the world was trained on"):
        distill.run(dataclasses.replace(few, name="other", films=None), root=tmp_path)


def test_the_shipped_road_says_how_far_it_strays():
    """What `world.json` says, the README says; it is nearer than what is held still, and small."""
    folder = learned.place("drive")
    told, own = learned.files.about("drive"), (folder / "README.md").read_text()
    count = sum(
        math.prod(found.shape)
        for found in jax.tree.leaves(family.of(shipped.config().model).abstract(shipped.config().model))
    )
    assert told["spec"]["steps"] >= 2 and shipped.config().model.window >= 8 and count >= 1e6
    assert f"{count:,} weights" in own and "vrjax learn configs/world_model/drive.py" in own
    found = {name: np.array(rows) for name, rows in told["about"]["strays"].items()}
    for step in (1, 5, 10, 20):
        row = {name: rows[step - 1] for name, rows in found.items()}
        frames = "{frames:.4f} | {frozen_frames:.4f} | {patches_frames:.4f}".format(**row)
        metres = "{metres:.2f} | {frozen_metres:.2f} | {read_metres:.2f}".format(**row)
        degrees = "{degrees:.1f} | {frozen_degrees:.1f} | {read_degrees:.1f}".format(**row)
        assert f"| {step} | {frames} | {metres} | {degrees} |" in own
    for name in ("frames", "metres", "degrees"):
        assert (found[name][[0, 4, 9]] < found[f"frozen_{name}"][[0, 4, 9]]).all()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4e6
