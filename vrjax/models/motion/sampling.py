"""What ViMoGen's sampler does beside the network: rows of text of one length for both branches of guidance.

    text, negative = sampling.padded(text, null)                 # the public null context has one row
    grid = flow.grids.vimogen(50)                                # sigma_start=0.7: the public schedule
    traj = flow.sample(dit.guided(text, negative, 5.0), noise, grid)

A motion from a reference is not guided: `dit.velocity(reference=reference, mode="motion")`. What comes out is
normalised; `vrjax.motion` has the smoothing over time, the statistics and the way back to joints.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ROWS = 226


def padded(*texts: Float[Array | np.ndarray, "_ _"], rows: int = ROWS) -> tuple[Float[Array, "l _"], ...]:
    """Texts with rows of zeros behind, all of one length: `rows`, or that of the longest.

    The network attends to the zeros as well, so that more of them change the result a little: examples are alike only
    where their lengths are.

    Args:
        texts: rows of text of each example or branch, (any number, text_dim).
        rows: at least so many.

    Raises:
        ValueError: none, or texts of different widths.
    """
    if len({np.shape(text)[1:] for text in texts}) != 1 or any(np.ndim(text) != 2 for text in texts):
        found = ", ".join(str(np.shape(text)) for text in texts) or "none"
        raise ValueError(f"padded: texts of shapes {found}, expected (rows, text_dim) of one width")
    most = max(rows, *(len(text) for text in texts))
    return tuple(jnp.pad(jnp.asarray(text), ((0, most - len(text)), (0, 0))) for text in texts)
