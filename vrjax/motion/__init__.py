"""Bodies: rotations, kinematics, and the forms in which motions are kept. Pure JAX; knows no model.

    rows = motion.to_276(joints, root, body, transl)        # T + 1 frames -> (T, 276), canonical
    moved = motion.from_276(rows, path="velocity")          # Motion(joints, root, body, transl)
    rows = motion.resample(rows, 30)                        # 30 frames a second -> 20
    motion.rot6d(matrix), motion.matrix(rot6d)
    motion.write_bvh("walk.bvh", moved)                     # Blender opens it

Metres, radians, 20 frames a second, z up, y forward; a body's own frame is SMPL's (x left, y up, z forward). Functions
are written for one motion, and `jax.vmap` makes batches.

| module | what is in it |
| --- | --- |
| `rotations` | matrices, 6-D, quaternions, axis-angle |
| `kinematics` | 22 joints, forward kinematics, exact inverse kinematics of limbs with two bones |
| `canonical` | where a motion begins; moving joints and parameters alike |
| `rep276` | ViMoGen's 276 numbers a frame and both of their inverses |
| `reference` | the 138 numbers of its second branch, and their corruption |
| `smoothing`, `resampling` | over time: a short Gaussian; other frame rates |
| `camera` | from a camera's space to the world, and into the picture |
| `rep263`, `axes` | HumanML3D's 263 numbers a frame and the way back; which way is up |
| `representations` | these two behind one protocol, and where to add another |
| `files`, `smpl` | motion files, joints and text embeddings; SMPL's parameters |
| `bvh`, `bvh_text` | skeletons that move, for Blender and others; their text |
| `annotations` | the lists of ViMoGen-228K and MBench |
| `program` | procedural motion with text and exact contacts |
| `constraints` | keyframe, path and end-effector error; how often feet skate |
| `shapes` | checks of shapes in one line |
"""

from vrjax.files import named
from vrjax.motion.bvh import read_bvh as read_bvh
from vrjax.motion.bvh import write_bvh as write_bvh
from vrjax.motion.kinematics import JOINTS as JOINTS
from vrjax.motion.kinematics import PARENTS as PARENTS
from vrjax.motion.kinematics import Motion as Motion
from vrjax.motion.rep263 import from_263 as from_263
from vrjax.motion.rep263 import to_263 as to_263
from vrjax.motion.rep276 import from_276 as from_276
from vrjax.motion.rep276 import to_276 as to_276
from vrjax.motion.resampling import resample as resample
from vrjax.motion.rotations import matrix as matrix
from vrjax.motion.rotations import rot6d as rot6d

__getattr__, __dir__ = named.lazy(__name__)
