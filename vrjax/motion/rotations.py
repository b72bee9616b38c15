"""Rotations in the forms that motion files use: matrices, 6-D, quaternions, axis-angle; and the way between two.

Matrices act on column vectors, `world = R @ local`. Every function takes any number of leading axes, works under jit,
vmap and grad, and has finite gradients at the identity and at half turns.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Real = Array | np.ndarray
"""What functions of this room take: arrays of JAX or NumPy."""


def compose(a: Float[Real, "*n 3 3"], b: Float[Real, "*m 3 3"]) -> Float[Array, "*k 3 3"]:
    """The product `a @ b`, first b and then a; leading axes broadcast."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    # Sums of three fuse with what is around them, where a batched product of so small matrices would not; and they are
    # exact to float32 on accelerators whose products are coarser by default.
    terms = [a[..., :, i, None] * b[..., None, i, :] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def rotate(matrix: Float[Real, "*n 3 3"], points: Float[Real, "*m 3"]) -> Float[Array, "*k 3"]:
    """`matrix @ point` for every point; leading axes broadcast."""
    matrix, points = jnp.asarray(matrix), jnp.asarray(points)
    terms = [matrix[..., :, i] * points[..., i, None] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def inverse(matrix: Float[Real, "*n 3 3"]) -> Float[Array, "*n 3 3"]:
    """The transpose, which undoes a rotation."""
    return jnp.swapaxes(jnp.asarray(matrix), -1, -2)


def rot6d(matrix: Float[Real, "*n 3 3"]) -> Float[Array, "*n 6"]:
    """The first two columns, flattened row by row: (r00, r01, r10, r11, r20, r21), as in ViMoGen's 276 columns.

    Zhou et al. 2019 (arXiv 1812.07035) define the form, but files order it in three ways: HumanML3D writes one column
    after the other, PyTorch3D the first two rows.
    """
    matrix = jnp.asarray(matrix)
    return matrix[..., :2].reshape(*matrix.shape[:-2], 6)


def matrix(rot6d: Float[Real, "*n 6"]) -> Float[Array, "*n 3 3"]:
    """The rotation of a 6-D form, by Gram-Schmidt on its two columns; the inverse of `rot6d`.

    Args:
        rot6d: any six numbers whose two columns (0, 2, 4) and (1, 3, 5) are not parallel. Where they are, or one is
            zero, there is no rotation to find, and the columns that are undetermined come back as zeros.
    """
    columns = jnp.asarray(rot6d).reshape(*rot6d.shape[:-1], 3, 2)
    a, b = columns[..., 0], columns[..., 1]
    x = unit(a)
    y = unit(b - jnp.sum(x * b, -1, keepdims=True) * x)
    return jnp.stack([x, y, jnp.cross(x, y)], -1)


def matrix_from_axis_angle(vector: Float[Real, "*n 3"], *, first_order: bool = False) -> Float[Array, "*n 3 3"]:
    """The rotation about `vector` by its length in radians (Rodrigues).

    Args:
        vector: axis times angle; any length.
        first_order: the form of public motion code, which differs by up to 1.2e-6: `1 + [v]` up to an angle of 0.001,
            above it an axis that is divided by the angle + 1e-6.
    """
    vector = jnp.asarray(vector)
    square = jnp.sum(vector * vector, -1)[..., None, None]
    cross = skew(vector)
    if first_order:
        small = square <= 1e-6
        angle = jnp.sqrt(jnp.where(small, 1.0, square))
        a, b = jnp.sin(angle) / (angle + 1e-6), (1 - jnp.cos(angle)) / (angle + 1e-6) ** 2
        outer = vector[..., :, None] * vector[..., None, :]
        turned = jnp.cos(angle) * jnp.eye(3, dtype=vector.dtype) + b * outer + a * cross
        return jnp.where(small, jnp.eye(3, dtype=vector.dtype) + cross, turned)
    # sin(t)/t and (1 - cos t)/t² by their series near 0, where the quotients have no gradient.
    small = square < 1e-4
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    a = jnp.where(small, 1 - square / 6 + square**2 / 120, jnp.sin(angle) / angle)
    b = jnp.where(small, 0.5 - square / 24 + square**2 / 720, 2 * (jnp.sin(angle / 2) / angle) ** 2)
    return jnp.eye(3, dtype=vector.dtype) + a * cross + b * compose(cross, cross)


def axis_angle(matrix: Float[Real, "*n 3 3"]) -> Float[Array, "*n 3"]:
    """Axis times angle, the angle from 0 to pi. At a half turn, where two axes fit, either may come back."""
    q = quaternion(matrix)
    w, v = q[..., :1], q[..., 1:]
    square = jnp.sum(v * v, -1, keepdims=True)
    small = square < 1e-10
    length = jnp.sqrt(jnp.where(small, 1.0, square))
    return v * jnp.where(small, 2 / jnp.where(small, w, 1.0), 2 * jnp.arctan2(length, w) / length)


def quaternion(matrix: Float[Real, "*n 3 3"]) -> Float[Array, "*n 4"]:
    """The unit quaternion (w, x, y, z) with w >= 0 of a rotation."""
    m = jnp.asarray(matrix)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    # 4 q qᵀ: each row is the quaternion times one of its entries. The row of the largest entry is the well-posed one.
    diagonal = (1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz)
    w, x, y, z = diagonal
    rows = jnp.stack(
        [jnp.stack(row, -1) for row in ((w, wx, wy, wz), (wx, x, xy, xz), (wy, xy, y, yz), (wz, xz, yz, z))], -2
    )
    best = jnp.argmax(jnp.stack(diagonal, -1), -1)
    q = unit(jnp.take_along_axis(rows, best[..., None, None], -2)[..., 0, :])
    return jnp.where(q[..., :1] < 0, -q, q)


def matrix_from_quaternion(quaternion: Float[Real, "*n 4"]) -> Float[Array, "*n 3 3"]:
    """The rotation of a quaternion (w, x, y, z) of any length but 0."""
    w, x, y, z = jnp.moveaxis(unit(jnp.asarray(quaternion)), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return _stack(rows)


def about(axis: str, angle: Float[Real, "*n"]) -> Float[Array, "*n 3 3"]:
    """The rotation about one axis of the frame, "x", "y" or "z", by an angle in radians, counter-clockwise.

    Raises:
        ValueError: another axis.
    """
    if axis not in ("x", "y", "z"):
        raise ValueError(f"about: unknown axis {axis!r}, expected 'x', 'y' or 'z'")
    angle = jnp.asarray(angle)
    c, s, o, l = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle), jnp.ones_like(angle)
    rows = {
        "x": ((l, o, o), (o, c, -s), (o, s, c)),
        "y": ((c, o, s), (o, l, o), (-s, o, c)),
        "z": ((c, -s, o), (s, c, o), (o, o, l)),
    }
    return _stack(rows[axis])


def slerp(a: Float[Real, "*n 3 3"], b: Float[Real, "*n 3 3"], amount: Float[Real, "*m"]) -> Float[Array, "*k 3 3"]:
    """From a (amount 0) to b (amount 1) at constant angular speed, the shorter way."""
    step = axis_angle(compose(b, inverse(a)))
    return compose(matrix_from_axis_angle(jnp.asarray(amount)[..., None] * step), a)


def angle_between(a: Float[Real, "*n 3 3"], b: Float[Real, "*n 3 3"]) -> Float[Array, "*n"]:
    """The angle in radians, 0 to pi, of the turn from a to b; accurate near 0 too, where the arc cosine is not."""
    return length(axis_angle(compose(b, inverse(a))))


def skew(vector: Float[Real, "*n 3"]) -> Float[Array, "*n 3 3"]:
    """The matrix `[v]` with `[v] @ p = v x p`."""
    x, y, z = jnp.moveaxis(jnp.asarray(vector), -1, 0)
    o = jnp.zeros_like(x)
    return _stack(((o, -z, y), (z, o, -x), (-y, x, o)))


def length(vector: Float[Real, "*n k"]) -> Float[Array, "*n"]:
    """The Euclidean length, with a zero gradient at the zero vector instead of none."""
    vector = jnp.asarray(vector)
    square = jnp.sum(vector * vector, -1)
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def unit(vector: Float[Real, "*n k"]) -> Float[Array, "*n k"]:
    """The vector divided by its length; zero, with a zero gradient, where it is shorter than 1e-12."""
    vector = jnp.asarray(vector)
    long = length(vector)[..., None]
    short = long <= 1e-12
    return jnp.where(short, 0.0, vector / jnp.where(short, 1.0, long))


def _stack(rows: tuple[tuple[Array, ...], ...]) -> Array:
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)
