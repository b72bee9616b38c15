"""Samplers of posteriors in latent space: `exp(-|z|^2 / 2 + log L(z))`, with L(z) of what a generator makes of z.

    from vrjax.inverse import latent
    chain = latent.pcn(key, log_likelihood, z0, steps=20_000, args=(y,))        # Chain(z (C, K, r), log_density, info)
    told = distance(chain.z) if latent.gate(chain).passed else "not tested"

They are exact for the prior that the generator is (that is what bounds on posterior errors speak of), once they have
mixed, which `gate` judges. Data go in through `args`: then another observation runs the same program, and a `vmap` over
keys and observations is one program too.

| module | what is in it |
| --- | --- |
| `core` | `Chain`, `Info`, the walk of one chain and the map over chains |
| `pcn` | preconditioned Crank-Nicolson: no gradients, one evaluation a step |
| `elliptical_slice` | elliptical slices of the prior: nothing to tune |
| `laplace_slice` | elliptical slices of a Gaussian at the mode: where data inform many directions; `laplace` |
| `nuts` | no-U-turn sampler with warm-up: where gradients are to be had |
| `tempered_smc` | particles through powers of the likelihood: modes of unlike weight, evidence |
| `importance` | weighted draws with the shape of their tail, khat |
| `diagnostics` | `rhat`, `ess`, and the `gate` |
"""

from vrjax.inverse.latent.core import Chain as Chain
from vrjax.inverse.latent.core import Info as Info
from vrjax.inverse.latent.diagnostics import Gate as Gate
from vrjax.inverse.latent.diagnostics import ess as ess
from vrjax.inverse.latent.diagnostics import gate as gate
from vrjax.inverse.latent.diagnostics import rhat as rhat
from vrjax.inverse.latent.elliptical_slice import elliptical_slice as elliptical_slice
from vrjax.inverse.latent.importance import Weighted as Weighted
from vrjax.inverse.latent.importance import importance as importance
from vrjax.inverse.latent.laplace_slice import Laplace as Laplace
from vrjax.inverse.latent.laplace_slice import laplace as laplace
from vrjax.inverse.latent.laplace_slice import laplace_slice as laplace_slice
from vrjax.inverse.latent.nuts import nuts as nuts
from vrjax.inverse.latent.pcn import pcn as pcn
from vrjax.inverse.latent.tempered_smc import tempered_smc as tempered_smc
