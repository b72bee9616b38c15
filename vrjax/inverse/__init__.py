"""Generative priors in Bayesian inverse problems: `y = A(x) + noise`, with x drawn by a generator or a flow.

Distances between priors and between posteriors, fits of generators in Wasserstein-2, operators and an elliptic
equation, exact samplers in latent space, samplers that guide a flow, and what says whether any of them is calibrated.
Some of it needs the extra `inverse` (ott-jax, blackjax, POT), which is imported where it is used.
"""
