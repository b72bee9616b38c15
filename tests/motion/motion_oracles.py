"""What the tests of motions share: recorded outputs of public code, motions of a random body, float64 restatements."""

import pathlib

import numpy as np
from scipy.spatial.transform import Rotation

from vrjax.motion import PARENTS

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def recorded(name: str) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file}


def random_rotations(seed: int, *shape: int) -> np.ndarray:
    """Uniform over all rotations, float64."""
    count = int(np.prod(shape))
    return Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix().reshape(*shape, 3, 3)


def axis_angle(matrix) -> np.ndarray:
    """Axis times angle by scipy."""
    matrix = np.asarray(matrix, np.float64)
    return Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_rotvec().reshape(*matrix.shape[:-1])


def angle_between(a, b) -> np.ndarray:
    """The angles of the turns from a to b, radians."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.linalg.norm(axis_angle(b @ np.swapaxes(a, -1, -2)), axis=-1)


def forward(root, body, transl, offsets, rest) -> np.ndarray:
    """Forward kinematics of one frame in NumPy, joint by joint."""
    rotations, joints = [np.asarray(root, np.float64)], [np.asarray(transl, np.float64) + rest]
    for joint in range(1, 22):
        parent = PARENTS[joint]
        joints.append(joints[parent] + rotations[parent] @ offsets[joint])
        rotations.append(rotations[parent] @ body[joint - 1])
    return np.stack(joints)
