"""vrjax: a laboratory for video reasoning. See README.md; start at `vrjax.load` or at `vrjax.flow.sample`.

run = vrjax.load("worlds").sample("maze", clip=7, seeds=4)      # see `vrjax.study.lab`
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "load":  # brings JAX and the models with it
        from vrjax.study.lab import load

        return load
    raise AttributeError(f"module 'vrjax' has no attribute {name!r}")
