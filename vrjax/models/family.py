"""The protocol of a model family: what training, alignment, planning and the pipelines ask of a network.

A family is a folder of `vrjax.models` with a file `family.py` whose functions are those of `Family`; it is found by its
folder's name, so a new family touches its own folder and one row of `tests/laws/test_families.py`.

    of = family.of(config.model)                  # or family.get("wan")
    dit = of.init(config.model, key)
    velocity = of.velocity(dit, {"text": text, "image": image})

Everything is written for one example: x (t, h, w, c), or whatever shape the family's latents have; conditions are a
dict of arrays by name, the same names in a batch of training data.
"""

import importlib
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh

from vrjax import parallel
from vrjax.files import named, records
from vrjax.flow import Level, Prediction, Velocity
from vrjax.parallel.layout import Layout

HOME = __name__.rpartition(".")[0]
NONE: Mapping[str, Any] = {}


class Needs(NamedTuple):
    """What a network, and what stands beside it in a pipeline, need of a device: formulas for `vrjax.plan`.

    Attributes:
        layers, dim, inner, heads: equal blocks, the width of the stream between them and of their feed-forward, heads.
        context: numbers that sampling keeps of one example's conditions, in the compute dtype (keys and values).
        beside: bytes by name of what stays on the device while the network samples (a codec's weights).
        before: bytes by moment of what runs, and goes, before the network is loaded (an encoder of text).
        after: bytes by moment, beside the weights, of what is done with one latent (decoding).
        notes: what a reader of an account should know.
    """

    layers: int
    dim: int
    inner: int
    heads: int
    context: int = 0
    beside: Mapping[str, int] = {}
    before: Mapping[str, int] = {}
    after: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()


@runtime_checkable
class Family(Protocol):
    """What `family.py` of a family's folder defines.

    A family may also remember what came before, chunk by chunk: `vrjax.models.cached` says by which functions.

    Attributes:
        Config: a frozen dataclass, the shape and run-time options of a network. Its class attribute `family` is the
            folder's name; so are `TARGETS` and `MUON`, regular expressions on dotted parameter paths: the matrices that
            adapters change, and those that Muon updates; and `GUIDED`, names of conditions: training withholds them now
            and then, and guidance's other branch has zeros (or a negative prompt) in their place. `SIZES`, if it has
            one, names scalars that an example may have beside its conditions; nothing withholds them. Fields are what
            JSON can hold, and among them is `dtype`, of matrix products.
    """

    Config: Any

    def init(self, cfg: Any, key: jax.Array) -> Any:
        """A network with random weights: a frozen NNX pytree with attributes `cfg` and `layout`."""
        ...

    def abstract(self, cfg: Any, layout: Layout | None = None) -> Any:
        """A network whose parameters are shapes only; `layout` says where activations live on a mesh."""
        ...

    def load(self, path: Any) -> Any:
        """A network from its public files. Raises ValueError or FileNotFoundError that names the file."""
        ...

    def read_config(self, path: Any) -> Any:
        """The config of what `load` would read, and as it raises; from headers and JSON alone."""
        ...

    def save(self, model: Any, folder: Any) -> None:
        """Writes what `load` reads, into a folder that does not exist yet or is empty."""
        ...

    def save_adapters(self, adapters: Mapping[str, Any], path: Any, *, alpha: float | None) -> None:
        """Writes adapters (`vrjax.train.lora`) in the key style that the family's users have."""
        ...

    def logical_axes(self, cfg: Any) -> dict:
        """Logical axis names of every parameter, a nested dict by attribute."""
        ...

    def training(self, cfg: Any, dtype: str) -> Any:
        """The config for a training step: products in `dtype`, the run-time options as they are."""
        ...

    def sampling(self, cfg: Any) -> Any:
        """The config for sampling and for what is exported: nothing recomputed, and what compiles fast."""
        ...

    def channels(self, cfg: Any) -> int:
        """Channels of a latent, its last axis."""
        ...

    def conditions(self, cfg: Any, latent: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shapes of one example's conditions, by name, beside a latent of this shape."""
        ...

    def predict(self, model: Any, x: Any, level: Level, conditions: Mapping[str, Any]) -> Prediction:
        """One question: as in training, where nothing is worth computing ahead."""
        ...

    def velocity(
        self, model: Any, conditions: Mapping[str, Any], *, taps: Mapping = NONE, edits: Mapping = NONE
    ) -> Velocity:
        """Closes the conditions over, for sampling: what depends on neither x nor time is computed here, once."""
        ...

    def guided(
        self,
        model: Any,
        conditions: Mapping[str, Any],
        negative: Mapping[str, Any],
        scale: Any,
        *,
        renorm: Callable | None = None,
        taps: Mapping = NONE,
        edits: Mapping = NONE,
    ) -> Velocity:
        """Classifier-free guidance; `negative` holds the conditions that differ in the unconditional branch."""
        ...

    def tokens(self, cfg: Any, latent: tuple[int, ...]) -> int:
        """Tokens of one latent."""
        ...

    def flops(self, cfg: Any, latent: tuple[int, ...]) -> int:
        """Operations of the matrix products of one forward pass of one example, one multiply-add being two."""
        ...

    def needs(self, cfg: Any, latent: tuple[int, ...]) -> Needs:
        """Sizes from which `vrjax.plan` estimates what sampling and training one latent need."""
        ...

    def sites(self, cfg: Any) -> list[str]:
        """Every site that taps read and edits rewrite."""
        ...


def names() -> tuple[str, ...]:
    """The families there are, sorted: folders of `vrjax.models` that hold a `family.py`."""
    folders = (folder for place in sys.modules[HOME].__path__ for folder in pathlib.Path(place).iterdir())
    return tuple(sorted({folder.name for folder in folders if (folder / "family.py").is_file()}))


def get(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in names():
        raise ValueError(named.unknown("model family", name, names()))
    return importlib.import_module(f"{HOME}.{name}.family")  # type: ignore[return-value]


def read(values: Any, where: str) -> Any:
    """A network's config from JSON values, whose `family` says which; without one it is Wan's.

    Raises:
        ValueError: an unknown family or fields that do not fit it.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: found {values!r:.80}, expected an object")
    values = dict(values)
    return records.from_dict(get(values.pop("family", "wan")).Config, values, where)


def of(cfg: Any) -> Family:
    """The family of a network's config.

    Raises:
        ValueError: the object is no family's config.
    """
    name = getattr(type(cfg), "family", None)
    if name is None:
        raise ValueError(f"a model's config is expected, found {type(cfg).__name__}")
    return get(name)


def shard(model: Any, mesh: Mesh, rules: Mapping[str, Any] = NONE, *, uneven: str = "warn") -> Any:
    """The module on a mesh: parameters placed by their logical axes, activations by the module's layout.

        dit = family.shard(dit, parallel.mesh({"fsdp": 4, "context": 2}))
        run = jax.jit(lambda dit, x: flow.sample(dit.velocity(text), x, grid))       # unchanged

    It is called as before, on whole (logical) arrays; taps and edits see whole arrays. Batches by
    `parallel.batch(dit.layout, fn)`, which is `jax.vmap` with the examples divided over ("data", "fsdp").

    Args:
        model: a module of any family, or one of shapes (`abstract`): then the result holds shapes with shardings, for a
            compilation without arrays, also for devices that are not here.
        mesh: see `vrjax.parallel.mesh`.
        rules: logical axis -> mesh axes; replace single entries of `vrjax.parallel.DEFAULT_RULES`.
        uneven: see `vrjax.parallel.shardings`.

    Raises:
        ValueError: rules that do not fit; when called, heads that the mesh does not divide.
    """
    known, rules = of(model.cfg), parallel.as_rules(rules)
    where = parallel.shardings(known.logical_axes(model.cfg), mesh, rules, like=model, uneven=uneven)

    def put(x, sharding):
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
        return jax.device_put(x, sharding)

    leaves = [put(x, s) for x, s in zip(jax.tree.leaves(model), jax.tree.leaves(where), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(known.abstract(model.cfg, Layout.of(mesh, rules))), leaves)
