"""Generative priors in Bayesian inverse problems: `y = A(x) + noise`, with x drawn by a generator or a flow.

    from vrjax.inverse import calibrate, darcy, distances, generators, guided, latent, operators

| room | what is in it |
| --- | --- |
| operators | what is observed: masks, blur, pooling, frames, matrices; adjoints and solves; one file a family |
| darcy | an elliptic equation, its sensors, random fields; data of a finer grid |
| distances | Wasserstein, energy, entropic: exact or with their units and noise floors |
| bounds | by how much a posterior may err where its prior does, and posteriors of discrete measures |
| generators | laws of T(z), fitted by minimum Wasserstein-2, or any flow of the library |
| latent | samplers of posteriors in z, exact for the prior they are given; their diagnostics and the gate |
| guided | posterior samplers that guide a flow; one file a method |
| exact | problems whose posterior is known: mixtures, Levy increments |
| calibrate | ranks, coverage, scores, weights of modes; errors of the sampler and of the prior apart |
| files | draws of priors, observations and chains as `.npz`, held to their format when read and when written |

Some of it needs the extra `inverse` (ott-jax, blackjax, POT), which is imported where it is used.
"""
