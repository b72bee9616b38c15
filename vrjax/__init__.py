"""vrjax: a laboratory for video reasoning. See README.md; start at `vrjax.flow.sample`."""

__version__ = "0.1.0"
