"""The core of a drive, without a server: events, actions, ticks, resets; what is recorded, and that it replays."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import play_toys as toys
import pytest

from vrjax import world
from vrjax.world import play
from vrjax.world.play import controls, recording, sides
from vrjax.world.play.session import digest

DOWN, UP = (lambda command: ("down", command)), (lambda command: ("up", command))
SCRIPT = {
    1: [DOWN("forward")],
    4: [DOWN("left"), UP("forward")],
    9: [UP("left"), DOWN("brake")],
    12: [UP("brake")],
    14: [DOWN("right"), UP("right")],
    16: [("event", "rain"), ("camera", "back")],
    20: [("reset", "")],
}


def driven(session, script=None, ticks=24):
    """Ticks of a script: what happens before which of them."""
    script, moment, out = SCRIPT if script is None else script, session.begin(), []
    for t in range(1, ticks + 1):
        moment, tick = session.tick(moment, controls.numbered(script.get(t, []), moment.last))
        out.append(tick)
    return moment, out


def test_actions_are_held_until_a_key_changes_them():
    """By hand: the pedal at once, the wheel by 0.15 a tick to 0.6, back by 0.3."""
    _, ticks = driven(toys.session())
    pedal, wheel = np.stack([tick.action for tick in ticks]).T
    np.testing.assert_array_equal(pedal, np.float32([1.0] * 3 + [0.0] * 5 + [-1.0] * 3 + [0.0] * 13))
    turned = [0.0] * 3 + [0.15, 0.3, 0.45, 0.6, 0.6, 0.3, 0.0, 0.0, 0.0, 0.0, -0.15] + [0.0] * 10
    np.testing.assert_array_equal(wheel, np.float32(turned))
    # down and up within tick 14 was a tap, and not lost; forward, that went up in tick 4, was no tap

    def asked(*pairs):
        return controls.follow(play.Controls(), controls.numbered(pairs))[1][0]

    assert asked(DOWN("forward"), DOWN("back")) == -0.5 and asked(DOWN("brake"), DOWN("forward")) == -1.0
    assert asked(DOWN("left"), DOWN("right")) == 0.0 and asked(UP("left")) == 0.0


def test_a_tick_is_a_step_of_both_worlds():
    """The exact world against a rollout with the recorded actions, and both against floats of Python."""
    session = toys.session(shake=0.3, seed=7)
    moment, ticks = driven(session, {t: SCRIPT[t] for t in (1, 4, 9)}, 12)
    car = session.sides[0].world
    actions = np.stack([tick.action for tick in ticks])
    start = jax.jit(car.make)(jax.random.key(7))
    final, history = world.rollout(car, start, actions, jax.random.key(7), record=("frames",))
    np.testing.assert_allclose(moment.states[0].ego, final.ego, atol=1e-5)
    shown = np.stack([tick.shown[0].frame for tick in ticks])
    assert np.abs(shown - 127.5 * (np.asarray(history.frames) + 1)).max() <= 0.51

    calm = toys.session(grip=1.0)
    moment, ticks = driven(calm, ticks=15)
    ego, far = tuple(float(v) for v in calm.begin().states[0].ego), 0.0
    for tick in ticks:
        after = toys.heading(tick.action, ego)
        far += np.hypot(after[0] - ego[0], after[1] - ego[1])
        ego = after
        assert tick.shown[0].driven == pytest.approx(far, abs=1e-4)
        assert tick.shown[1].speed == pytest.approx(ego[3], abs=1e-5)
        assert tick.apart["metres"] == pytest.approx(0.0, abs=1e-5)  # of equal grip, the second world is the first
    np.testing.assert_allclose(moment.states[1], ego, atol=1e-4)


def test_worlds_come_apart():
    """Half the grip: the headings differ by half of what the exact one has turned, the places grow apart."""
    session = toys.session(grip=0.5)
    start = float(session.begin().states[0].ego[2])
    _, ticks = driven(session, {1: [DOWN("left")]}, 10)
    metres = [tick.apart["metres"] for tick in ticks]
    assert (np.diff(metres) > 0).all() and metres[-1] > 0.5
    ego = toys.heading(ticks[0].action, tuple(float(v) for v in session.begin().states[0].ego))
    for tick in ticks[1:]:
        ego = toys.heading(tick.action, ego)
    assert ticks[-1].apart["degrees"] == pytest.approx(np.degrees((ego[2] - start) / 2), abs=1e-3)
    assert ticks[-1].apart["speed"] == pytest.approx(0, abs=1e-6) and ticks[-1].apart["actors"] is None
    assert ticks[-1].apart["pixels"] is None  # pictures of two sizes
    twins = play.Session((toys.sides()[0], play.Side("shaken", toys.Car(jnp.float32(0.5)), {})))
    tick = driven(twins, ticks=6)[1][-1]
    one, two = (shown.frame.astype(float) for shown in tick.shown)
    assert tick.apart["pixels"] == pytest.approx(np.abs(one - two).mean()) and tick.apart["pixels"] > 0
    shown = ticks[0].shown
    assert shown[0].steps is None and shown[1].steps.shape == (3, 2, 3, 3)
    np.testing.assert_array_equal(shown[1].steps[2], shown[1].frame)
    assert shown[0].route is None and shown[0].flags == ()


def test_apart_by_hand():
    a = {"ego": np.array([0.0, 0.0, np.radians(179), 3.0, 0.1])}
    b = {"ego": np.array([3.0, 4.0, np.radians(-179), 1.0])}
    found = sides.apart(a, b)
    assert found["metres"] == pytest.approx(5.0) and found["speed"] == pytest.approx(2.0)
    assert found["degrees"] == pytest.approx(2.0)
    assert sides.apart(a, {"ego": np.array([np.nan, 0.0])})["metres"] is None
    assert set(sides.apart(None, b).values()) == {None}


def test_equal_events_give_equal_bits_and_a_reset_begins_again():
    one, two, other = toys.session(shake=0.2), toys.session(shake=0.2), toys.session(shake=0.2, seed=1)
    a, b, c = (driven(session)[1] for session in (one, two, other))
    bits = lambda ticks: [[shown.digest for shown in tick.shown] for tick in ticks]
    assert bits(a) == bits(b) and all(x != y for x, y in zip(bits(a), bits(c), strict=True))
    # after the reset of tick 20: as if it had just begun, with nothing pressed, seen by the camera asked for
    _, calm = driven(toys.session(shake=0.2), {1: [("camera", "back")]}, 5)
    assert bits(a)[19:] == bits(calm) and [tick.time for tick in a[19:]] == [1, 2, 3, 4, 5]
    assert [tick.number for tick in a] == list(range(1, 25))
    # rain and the camera are seen in frames, and only the rain is in the State
    quiet = driven(toys.session(shake=0.2), {t: SCRIPT[t] for t in SCRIPT if t < 16}, 17)[1]
    assert a[15].shown[0].digest[0] != quiet[15].shown[0].digest[0]
    assert a[15].shown[1].digest == quiet[15].shown[1].digest  # which knows no rain and has one camera


def test_nothing_is_traced_again_from_tick_to_tick():
    session = toys.session()
    driven(session, ticks=3)
    before = len(toys.TRACED)
    driven(session, ticks=24)
    driven(toys.session(seed=4, shake=0.9), ticks=4)
    assert len(toys.TRACED) == before


def test_digests_see_every_bit_and_place():
    values = {"a": jnp.arange(6.0), "b": jnp.array([True, False]), "c": jnp.arange(3, dtype=jnp.int8)}
    first = np.asarray(digest(values))
    np.testing.assert_array_equal(first, digest(jax.tree.map(np.asarray, values)))
    raw = np.arange(6, dtype=np.float32)
    for i in range(6):
        for bit in (0, 13, 31):
            words = raw.view(np.uint32).copy()
            words[i] ^= np.uint32(1 << bit)
            changed = values | {"a": jnp.asarray(words.view(np.float32))}
            assert (np.asarray(digest(changed)) != first).all()
    for changed in ({"b": values["b"][::-1]}, {"a": values["a"][::-1]}, {"c": values["c"] + jnp.int8(1)}):
        assert (np.asarray(digest(values | changed)) != first).all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "input must be JSON, found '{'"),
        (b"{}", "input must be text of at most"),
        ("x" * 3000, "input must be text of at most 2000 characters"),
        ("[1]", "input must be an object of n, kind and value"),
        ('{"n": 5, "kind": "down", "value": "left", "x": 1}', "input must be an object"),
        ('{"n": 6, "kind": "down", "value": "left"}', "input must have number 5, found 6"),
        ('{"n": true, "kind": "reset"}', "input must have number 5, found True"),
        ('{"n": 5.0, "kind": "reset"}', "input must have number 5, found 5.0"),
        ('{"n": 5, "kind": "jump"}', "input: unknown kind 'jump', expected one of down, up"),
        ('{"n": 5, "kind": []}', "input: unknown kind"),
        ('{"n": 5, "kind": "down", "value": "lef"}', "input: unknown command 'lef', did you mean 'left'"),
        ('{"n": 5, "kind": "down", "value": ["left"]}', "input: unknown command"),
        ('{"n": 5, "kind": "camera", "value": "moon"}', "input: unknown camera 'moon', expected one of front, back"),
        ('{"n": 5, "kind": "event", "value": "rain"}', "input: unknown event 'rain', expected one of none"),
        ("[" * 1999, "input must be JSON"),
    ],
)
def test_messages_that_are_refused(text, told):
    with pytest.raises(ValueError) as error:
        controls.parse(text, 4, ("front", "back"), ())
    assert told in str(error.value) and "\n" not in str(error.value)
    good = controls.parse('{"n": 5, "kind": "down", "value": "left"}', 4, (), ())
    assert good == (5, "down", "left")


def test_events_out_of_order_are_refused():
    session = toys.session()
    with pytest.raises(ValueError, match=r"events must have numbers \[1, 2\], found \[1, 3\]"):
        session.tick(session.begin(), [play.Event(1, "reset"), play.Event(3, "reset")])


# ------------------------------------------------------------------------------------------------------------ recorded


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder with a drive in two toys, which are what its names stand for."""
    asked = {}
    monkeypatch.setattr(sides, "open_worlds", lambda names, **options: (asked.update(options), toys.sides(0.2))[1])
    session = toys.session(seed=3, shake=0.2)
    about = recording.config(session, ("exact", "dream"), {"kind": None, "size": [4, 6], "dt": 0.1})
    with play.Recording(tmp_path / "run", about) as kept:
        drive = kept.drive()
        for tick in driven(session)[1]:
            drive.add(tick)
        drive.close(seconds=1.0)
        kept.drive().close()  # nothing happened in it: nothing stays
    return tmp_path / "run"


def test_a_drive_replays_bit_for_bit(kept):
    told = []
    (found,) = play.replay(kept, told.append)
    assert found == ("drive-001", 24, 11, None) and told == [found]
    assert sorted(path.name for path in kept.iterdir() if path.name[0] != ".") == [
        "config.json",
        "drive-001.json",
        "drive-001.jsonl",
    ]
    summary = json.loads((kept / "drive-001.json").read_text())
    assert summary["ticks"] == 24 and summary["inputs"] == 11 and summary["seconds"] == 1.0
    assert set(summary["p95_ms"]) == {"step_0", "render_0", "step_1", "render_1"}


def _changed(kept, number, change):
    path = kept / "drive-001.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows[number - 1])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("number", "change", "told"),
    [
        (9, lambda row: row["events"][1].__setitem__(2, "forward"), "tick 9: another action"),
        (5, lambda row: row["action"].__setitem__(1, row["action"][1] + 1e-7), "tick 5: another action"),
        (17, lambda row: row["digests"][0].__setitem__(1, "0" * 16), "tick 17: another frame of exact"),
        (3, lambda row: row["digests"][1].__setitem__(0, "0" * 16), "tick 3: another state of learned"),
        (6, lambda row: row.__setitem__("step", 7), "tick 6: found a row of tick 7"),
    ],
)
def test_what_was_changed_is_found(kept, number, change, told):
    _changed(kept, number, change)
    (found,) = play.replay(kept)
    assert found.difference == told


def test_what_a_kill_tore_and_what_is_no_drive(kept, tmp_path, monkeypatch):
    path = kept / "drive-001.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert play.replay(kept)[0][1:] == (23, 11, None)
    for line in ("{}", "[]", "nothing", '{"step": 1, "events": [[1, 2, 3]], "action": [0, 0], "digests": [[], []]}'):
        path.write_text(line + "\n" + whole)
        with pytest.raises(ValueError, match="drive-001.jsonl: line 1 is not a row of a drive"):
            play.replay(kept)
    path.write_text(whole)
    monkeypatch.setattr(sides, "open_worlds", lambda names, **options: toys.sides(0.25))
    with pytest.raises(ValueError, match="the worlds are not those that were driven: about"):
        play.replay(kept)
    path.unlink()
    monkeypatch.setattr(sides, "open_worlds", lambda names, **options: toys.sides(0.2))
    with pytest.raises(ValueError, match="no drives there"):
        play.replay(kept)
    (kept / "config.json").write_text('{"kind": "play drive", "config": {}}')
    with pytest.raises(ValueError, match="config.json: not the config of drives"):
        play.replay(kept)
    with pytest.raises(ValueError, match="no config.json there"):
        play.replay(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="exists and is not a run"):
        play.Recording(tmp_path, {})


def test_worlds_that_cannot_be_driven(tmp_path):
    for names, told in (
        (("exact",), "two are driven side by side, found 1"),
        (("a", "b"), "one of the two must be 'exact'"),
        (("exact", str(tmp_path / "moon")), "no world .*moon: expected 'exact'.* or the folder of a learned world"),
    ):
        with pytest.raises(ValueError, match=told):
            play.open_worlds(names)
    wrong = play.Side("bead", world.exact.example("push"), {})
    play.Session((wrong, wrong))  # pushes have two numbers in [-1, 1]: it can be driven

    class Long(toys.Car):
        inputs = {"action": world.Space((3,), -1.0, 1.0)}

    with pytest.raises(ValueError, match=r"long: a world to drive has actions of shape \(2,\) in \[-1, 1\], found"):
        play.Session((play.Side("long", Long(), {}),))


def test_an_exact_world_is_made_as_a_learned_one_needs_it(tmp_path, monkeypatch):
    """Its frames are as large and its steps as long, where the learned one says so."""
    dream = toys.Dream()
    monkeypatch.setattr(sides, "_learned", lambda name: dream)
    (tmp_path / "dream").write_text("weights")
    names = (str(tmp_path / "dream"), "exact")
    learned, real = play.open_worlds(names, kind="curve", actors=2)
    assert learned.world is dream and learned.label == names[0] and len(learned.about["fingerprint"]) >= 16
    assert real.world.frame == dream.frame and real.world.kind == "curve" and float(real.world.dt) == np.float32(0.1)
    assert play.open_worlds(names, size=(6, 8))[1].world.frame == (6, 8, 3)
    object.__setattr__(dream, "dt", 0.05)
    with pytest.raises(ValueError, match="dream: its steps last 0.05 s, found dt 0.1; ask for --dt 0.05"):
        play.open_worlds(names)
    assert float(play.open_worlds(names, dt=0.05)[1].world.dt) == np.float32(0.05)
