"""Forward kinematics against NumPy and recorded joints; limbs of two bones against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.motion.motion_oracles import forward, random_rotations, recorded
from vrjax.motion import JOINTS, PARENTS, kinematics, rotations

TWO_BONE, AIM, FORWARD = map(jax.jit, (kinematics.two_bone, kinematics.aim, kinematics.forward))


def close(a, b, atol=2e-6):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_the_tree():
    z = recorded("clip_zup")
    np.testing.assert_array_equal(PARENTS, z["parents"])
    close(np.array(kinematics.REST_PELVIS), z["smplx_root"], 1e-8)
    assert len(JOINTS) == len(PARENTS) == 22
    assert all(
        JOINTS[p].split("_")[0] in ("pelvis", "neck", "left", "right") or "spine" in JOINTS[p] for p in PARENTS[1:]
    )
    sides = [n.split("_")[0] for n in JOINTS]
    assert all(sides[p] in (sides[i], JOINTS[p]) for i, p in enumerate(PARENTS) if p > 0)


def test_forward_equals_numpy_and_recorded_joints():
    z = recorded("clip_zup")
    root = rotations.matrix_from_axis_angle(z["global_orient"], first_order=True)
    body = rotations.matrix_from_axis_angle(z["body_pose"].reshape(-1, 21, 3), first_order=True)
    close(FORWARD(root, body, z["transl"], z["offsets"]), z["joints"], 1e-5)
    root, body = random_rotations(0, 1)[0], random_rotations(1, 21)
    rng = np.random.default_rng(2)
    transl, offsets, rest = rng.normal(size=3), rng.normal(size=(22, 3)), rng.normal(size=3)
    ours = FORWARD(root, body, transl, offsets, rest_pelvis=rest)
    close(ours, forward(root, body, transl, offsets, rest), 1e-5)


def test_local_and_global_rotations_are_inverses():
    root, body = random_rotations(3, 4), random_rotations(4, 4, 21)
    back = jax.jit(lambda *turns: kinematics.local_rotations(kinematics.global_rotations(*turns)))(root, body)
    close(back[0], root)
    close(back[1], body, 5e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_limb_of_two_bones(seed):
    """Bones keep their lengths; the end is the target where it can be, else the nearest point; the bend is to the pole.

    The definition holds for any number of limbs at once.
    """
    rng = np.random.default_rng(seed)
    start, target, pole = rng.normal(size=(3, 16, 3))
    first, second = rng.uniform(0.2, 1.5, 2)
    middle, end = map(np.asarray, TWO_BONE(start, target, first, second, pole))
    close(np.linalg.norm(middle - start, axis=1), first, 1e-5)
    close(np.linalg.norm(end - middle, axis=1), second, 1e-4 / second)
    away = np.linalg.norm(target - start, axis=1)
    reachable = np.clip(away, abs(first - second), first + second)
    close(np.linalg.norm(end - target, axis=1), np.abs(away - reachable), 1e-5)
    along = (target - start) / away[:, None]
    bend = (middle - start) - ((middle - start) * along).sum(1, keepdims=True) * along
    assert (np.sum(bend * pole, 1) > -1e-5).all()
    normal = np.cross(along, pole)
    close((bend * normal / np.linalg.norm(normal, axis=1, keepdims=True)).sum(1), 0, 1e-5)


def test_a_limb_has_gradients_at_full_stretch():
    def knee(target):
        return TWO_BONE(jnp.zeros(3), target, 0.4, 0.4, jnp.array([0.0, 1.0, 0.0]))[0].sum()

    targets = jnp.array([[0.0, 0, -0.8], [0.0, 0, -2.0], [0.0, 0, -0.5], [0.0, 0, 0]])
    assert np.isfinite(jax.jit(jax.vmap(jax.grad(knee)))(targets)).all()


def test_aim():
    bone, side, to_bone, to_side = np.random.default_rng(5).normal(size=(4, 8, 3))
    turn = AIM(bone, side, to_bone, to_side)
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
    close(np.einsum("nij,nj->ni", turn, unit(bone)), unit(to_bone))
    moved = np.einsum("nij,nj->ni", turn, side)
    close((np.cross(to_bone, to_side) * moved).sum(1), 0, 1e-5)
    rest_of_side = to_side - unit(to_bone) * (unit(to_bone) * to_side).sum(1, keepdims=True)
    assert (np.sum(moved * rest_of_side, 1) > 0).all()
    close(np.linalg.det(np.asarray(turn)), 1.0, 1e-5)
