"""Generators: laws of T(z), z ~ N(0, I), and their fits to data by minimum Wasserstein-2.

    from vrjax.inverse import generators
    mlp = generators.mlp(2)
    params, report = generators.fit(key, data, mlp, truth=sampler)     # data (n, 2)
    samples = generators.push(mlp, params, jax.random.normal(key, (1000, 2)))
    report.train_w2, report.optimisation_gap, report.statistical       # print all of them

| file | what is in it |
| --- | --- |
| `core` | what a generator is (`init`, `apply`), what a fit reports, latent points |
| `maps` | classes of (d,): `affine`, `mlp`, `convex` |
| `fields` | fields through their principal components: `pca`, `field`, `fit_field` |
| `flows` | `flow_generator`: any velocity of the library is a prior |
| `fitting` | `fit`, and the statistical error |
| `modes` | the ways to fit: `sorted`, `plan`, `sinkhorn`; one file each |
"""

from vrjax.inverse.generators.core import Generator as Generator
from vrjax.inverse.generators.core import Report as Report
from vrjax.inverse.generators.core import midpoints as midpoints
from vrjax.inverse.generators.core import push as push
from vrjax.inverse.generators.core import sobol as sobol
from vrjax.inverse.generators.fields import Basis as Basis
from vrjax.inverse.generators.fields import field as field
from vrjax.inverse.generators.fields import fit_field as fit_field
from vrjax.inverse.generators.fields import pca as pca
from vrjax.inverse.generators.fitting import fit as fit
from vrjax.inverse.generators.fitting import statistical as statistical
from vrjax.inverse.generators.flows import flow_generator as flow_generator
from vrjax.inverse.generators.maps import affine as affine
from vrjax.inverse.generators.maps import convex as convex
from vrjax.inverse.generators.maps import mlp as mlp
