"""What denoising steps settle: reading and drawing by hand, and numbers whose order is planted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.world.world_toys import untrained
from vrjax.world import settling
from vrjax.world.learned import patches, reader


@pytest.fixture(scope="module")
def w():
    return untrained()


def test_places_and_look_are_those_of_each_estimate(w):
    """By hand: decode, read, have the exact world draw what was read, compare; the goal is the State's, not the
    frame's."""
    home = w.spec.home
    state = jax.jit(home.make)(jax.random.key(1))
    show, read = jax.jit(home.render), jax.jit(reader.read)
    x0 = jax.random.normal(jax.random.key(2), (3, 4, 4, 6))
    told = jax.jit(settling.along)(w, x0, state)
    assert told.places.shape == (3, 2, 2) and told.frames.shape == (3, 16, 16, 3)
    for latent, places, look, frame in zip(x0, *(np.asarray(a) for a in told), strict=True):
        shown = np.clip(patches.decode(w.patches, latent), -1, 1)
        np.testing.assert_allclose(frame, shown, atol=1e-5)
        np.testing.assert_allclose(places, read(w.reader, jnp.asarray(shown))[:2], atol=1e-4)
        drawn = show(state._replace(agent=jnp.asarray(places[0]), blocks=jnp.asarray(places[1:])))
        assert look == pytest.approx(np.sqrt(np.mean((shown - drawn) ** 2)), abs=1e-5)
    with pytest.raises(ValueError, match="no reader"):
        settling.along(dataclasses.replace(w, reader=None), x0, state)


def test_what_is_left_and_which_comes_first():
    """Of two frames: the place goes 4, 1, 0 in the mean and the look 4, 3, 0, above floors of their own."""
    place = np.array([[7.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    look = np.array([[0.9, 0.7, 0.1], [0.9, 0.7, 0.1]])
    np.testing.assert_allclose(settling.left(place).mean(0), [1, 0.25, 0])
    np.testing.assert_allclose(settling.left(look).mean(0), [1, 0.75, 0])
    found = settling.lead(place, look)
    assert found.mean() == pytest.approx(0.5 / 3) and found[0] < found[1]
    assert settling.lead(look, place).mean() == pytest.approx(-0.5 / 3)
    np.testing.assert_allclose(settling.lead(10 * place + 3, look), found)  # whatever the unit
    with pytest.raises(ValueError, match="first step exceeds the last by 0 in the mean"):
        settling.left(np.ones((2, 3)))
