"""Generative priors in Bayesian inverse problems (arXiv 2601.17374)."""
