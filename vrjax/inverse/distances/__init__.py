"""Distances between measures: between priors, between posteriors. Each returns a scalar.

    from vrjax.inverse import distances
    distances.w1(x, y)                          # points (n,) or (n, d)
    distances.floor(distances.w1, x, y, key)    # what the same estimator says of equal measures: print both

| distance | units | where |
| --- | --- | --- |
| `w1`, `w2` | of the points | the line in pure JAX; d > 1 on the host, exact (POT) |
| `w1_to_quantile`, `w2_to_quantile` | of the points | the line, against a quantile function |
| `sliced_w1` | of the points | pure JAX |
| `energy` | of the points (the squared distance) | pure JAX |
| `sinkhorn_divergence` | **squared** | pure JAX (ott-jax) |
| `bures`, `gaussian_sliced_w1` | of the points | Gaussians, closed form |
| `debiased_w1`, `floor` | of the distance | wherever the distance runs |
"""

from vrjax.inverse.distances.energy import energy as energy
from vrjax.inverse.distances.entropic import Solved as Solved
from vrjax.inverse.distances.entropic import sinkhorn_divergence as sinkhorn_divergence
from vrjax.inverse.distances.entropic import sinkhorn_solve as sinkhorn_solve
from vrjax.inverse.distances.exact import Transport as Transport
from vrjax.inverse.distances.exact import transport as transport
from vrjax.inverse.distances.exact import w1 as w1
from vrjax.inverse.distances.exact import w2 as w2
from vrjax.inverse.distances.floors import debiased_w1 as debiased_w1
from vrjax.inverse.distances.floors import floor as floor
from vrjax.inverse.distances.gaussians import bures as bures
from vrjax.inverse.distances.gaussians import gaussian_sliced_w1 as gaussian_sliced_w1
from vrjax.inverse.distances.line import w1_to_quantile as w1_to_quantile
from vrjax.inverse.distances.line import w2_to_quantile as w2_to_quantile
from vrjax.inverse.distances.sliced import directions as directions
from vrjax.inverse.distances.sliced import sliced_w1 as sliced_w1
