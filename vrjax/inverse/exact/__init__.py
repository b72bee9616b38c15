"""Inverse problems whose posterior is known: what samplers are tested on, and references of studies.

| module | what is in it |
| --- | --- |
| `mixture` | mixtures of Gaussians seen linearly in Gaussian noise: posterior, evidence, draws, flow velocity |
| `levy` | signals of independent Laplace increments, seen linearly in Gaussian noise: posterior by Gibbs |

A linear-Gaussian problem is a mixture of one: `mixture.gaussian(mean, covariance)`.
"""
