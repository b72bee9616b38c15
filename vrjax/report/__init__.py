"""Figures, videos, statistics, claims and the HTML viewer. Import the submodule you need: they have different
dependencies."""
