"""Bodies: rotations, kinematics, and the forms in which motions are kept. Pure JAX; knows no model.

    rows = motion.to_276(joints, root, body, transl)        # (T + 1) frames -> (T, 276), canonical
    moved = motion.from_276(rows, path="velocity")          # Motion(joints, root, body, transl)
    motion.rot6d(matrix), motion.matrix(rot6d)

Metres, radians, frames at 20 a second, z up, y forward; a bodies' frame of rest is SMPL's (x left, y up, z forward).
Functions are written for one motion, and `jax.vmap` makes batches.

| module | what is in it |
| --- | --- |
| `rotations` | matrices, 6-D, quaternions, axis-angle |
| `kinematics` | 22 joints, forward kinematics, exact inverse kinematics of limbs with two bones |
| `shapes` | checks of shapes in one line |
"""

from vrjax.files import named
from vrjax.motion.kinematics import JOINTS as JOINTS
from vrjax.motion.kinematics import PARENTS as PARENTS
from vrjax.motion.kinematics import Motion as Motion
from vrjax.motion.rotations import matrix as matrix
from vrjax.motion.rotations import rot6d as rot6d

__getattr__, __dir__ = named.lazy(__name__)
