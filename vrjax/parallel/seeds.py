"""One function of one random key, run over many seeds: in turn, batched, by pmap, or on a mesh, with equal results."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from vrjax.parallel.mesh import mesh as make_mesh

HOWS = ("map", "vmap", "pmap", "mesh")


def over_seeds(
    fn: Callable[..., PyTree],
    keys: Any,  # Key[Array, "seeds"] or UInt32[Array, "seeds 2"]: checked here, with a word of help
    how: str = "vmap",
    group: int | None = None,
    *,
    args: tuple = (),
    mesh: Mesh | None = None,
) -> PyTree:
    """Run `fn(key, *args)` for every key. Inside `fn`, collectives over the axis name `"seed"` are valid.

    `lax.pmean(h, "seed")` in an edit is the library's training-free ensemble: the same function gives the same numbers
    under every `how` (to float rounding; the order of a sum differs).

    Args:
        fn: pure function of one key (and `args`), returning a pytree of arrays.
        keys: one key per seed: `(seeds,)` typed keys or `(seeds, 2)` raw ones.
        how: where the seeds go.
            "vmap": all at once, batched on one device: right for one accelerator.
            "map": groups of `group` seeds in turn (`lax.map` over groups, `vmap` inside): memory and cache of one group
              only, right for CPU.
            "pmap": one seed per local device, groups in turn: for those whose code uses pmap.
            "mesh": split over the `"seed"` axis of a mesh, composable with the other axes (the compiler shards what is
              inside `fn`): right for many devices and several hosts.
        group: how many seeds a collective over `"seed"` spans: consecutive groups, which are independent ensembles.
            None: all seeds are one group. The meaning is the same under every `how`; "map" and "pmap" also use it as
            the number of seeds that run at the same time (so "pmap" needs `group` <= local devices).
        args: further arguments, the same for every seed. Pass parameters here rather than in a closure: they then enter
            the program as inputs, keep their own sharding ("mesh"; "pmap" replicates them), and are not compiled in.
        mesh: for "mesh": a mesh with an axis `"seed"` whose size divides the number of seeds. By default all devices if
            they divide it, else the largest number of devices that does.

    Returns:
        The pytree of `fn` with a leading axis of length `seeds`, in the order of `keys`.

    Raises:
        ValueError: unknown `how`; no keys, or one that is not in a row; `group` that does not divide the number of
            seeds; too few devices for "pmap"; a mesh without `"seed"` or whose `"seed"` axis does not divide them.

    Example: eight seeds think together, one on each device, by pmap. The mean is over devices at every step.

        def think(key, dit):
            pool = lambda h: jax.lax.pmean(h, "seed")
            velocity = dit.velocity(text, image=image, edits={"block.12": pool})
            return flow.sample(velocity, jax.random.normal(key, shape), grid).final

        keys = jax.random.split(jax.random.key(0), 8)
        finals = over_seeds(think, keys, "pmap", args=(dit,))                        # (8, t, h, w, c)

    Code that has its own `pmap` needs nothing from here: the same function is
    `jax.pmap(think, axis_name="seed", in_axes=(0, None))(keys, dit)`. Under "mesh" `dit` may itself be divided over the
    other axes (`wan.shard(dit, mesh)` with the mesh that is given here).

    Each call traces `fn` anew. To call it repeatedly, wrap the call in `jax.jit`; every `how` may stand inside one.

    How "mesh" keeps collectives exact: with one seed per device it is `jax.shard_map` over `"seed"`, and the collective
    is the network's. With several seeds per device a `vmap` inside `shard_map` would need a second axis name, which
    `fn` does not know (its collective would silently span one device's seeds only); there the batch axis itself is
    named `"seed"` and sharded over the mesh, so that the mean over the batch axis becomes the mean over all devices.
    """
    if how not in HOWS:
        raise ValueError(f"how={how!r}: expected one of {list(HOWS)}")
    if not callable(fn):
        raise ValueError(f"over_seeds(fn, keys): fn must be a function of one key, found {type(fn).__name__}")
    typed = isinstance(keys, Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    if not hasattr(keys, "shape") or keys.ndim != (1 if typed else 2):
        found = f"shape {keys.shape}" if hasattr(keys, "shape") else type(keys).__name__
        found = "one key" if hasattr(keys, "shape") and keys.ndim == (0 if typed else 1) else found
        raise ValueError(f"keys: found {found}, expected one per seed, such as jax.random.split(key, 4)")
    seeds: int = keys.shape[0]
    if seeds == 0:
        raise ValueError("keys: found 0 seeds, expected at least 1")
    group = seeds if group is None else group
    if group < 1 or seeds % group:
        raise ValueError(f"group={group} does not divide the {seeds} seeds: a last, smaller ensemble is not defined")

    def split(x):
        return x.reshape(seeds // group, group, *x.shape[1:])

    def join(tree):
        return jax.tree.map(lambda a: a.reshape(seeds, *a.shape[2:]), tree)

    none = (None,) * len(args)
    if how == "map":

        def in_turn(keys, *args):
            batched = jax.vmap(fn, in_axes=(0, *none), axis_name="seed")
            return join(lax.map(lambda k: batched(k, *args), split(keys)))

        return jax.jit(in_turn)(keys, *args)

    if how == "pmap":
        if group > jax.local_device_count():
            raise ValueError(
                f"how='pmap' runs a group on one device per seed: group={group}, local devices "
                f"{jax.local_device_count()}; set group to at most that, or use how='mesh'"
            )
        mapped = jax.pmap(fn, axis_name="seed", in_axes=(0, *none), devices=jax.local_devices()[:group])
        parts = [mapped(k, *args) for k in split(keys)]
        return jax.tree.map(lambda *a: a[0] if len(a) == 1 else jnp.concatenate(a), *parts)

    def at_once(keys, *args, spmd=None):
        batched = jax.vmap(fn, in_axes=(0, *none), axis_name="seed", spmd_axis_name=spmd)
        if group == seeds:
            return batched(keys, *args)
        return join(jax.vmap(batched, in_axes=(0, *none))(split(keys), *args))

    if how == "vmap":
        return jax.jit(at_once)(keys, *args)

    mesh = _default_mesh(seeds) if mesh is None else mesh
    if "seed" not in mesh.shape or seeds % mesh.shape["seed"]:
        raise ValueError(
            f"how='mesh': {seeds} seeds on a mesh {dict(mesh.shape)}; expected an axis 'seed' whose size divides them"
        )
    if mesh.shape["seed"] == seeds == group:

        def one(keys, *args):
            return jax.tree.map(lambda a: jnp.asarray(a)[None], fn(keys[0], *args))

        seed, whole = PartitionSpec("seed"), PartitionSpec()
        # check_vma off: a user's scan may start from constants, as it may under vmap and pmap
        split_over = jax.shard_map(
            one,
            mesh=mesh,
            in_specs=(seed,) + (whole,) * len(args),
            out_specs=seed,
            axis_names={"seed"},
            check_vma=False,
        )
        return jax.jit(split_over)(_place(keys, mesh, PartitionSpec("seed")), *_place(args, mesh, PartitionSpec()))

    def sharded(keys, *args):
        out = at_once(lax.with_sharding_constraint(keys, seed_sharding), *args, spmd="seed" if group == seeds else None)
        return lax.with_sharding_constraint(out, seed_sharding)

    seed_sharding = NamedSharding(mesh, PartitionSpec("seed"))
    return jax.jit(sharded)(_place(keys, mesh, PartitionSpec("seed")), *_place(args, mesh, PartitionSpec()))


def _default_mesh(seeds: int) -> Mesh:
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if seeds % n == 0)
    return make_mesh({"seed": count}, devices=devices[:count])


def _place(tree: Any, mesh: Mesh, entries: PartitionSpec) -> Any:
    """Put arrays that live elsewhere (one device, the host) on the mesh; what is there, or traced, stays as it is."""
    sharding, devices = NamedSharding(mesh, entries), set(mesh.devices.flat)

    def place(x):
        if isinstance(x, Tracer) or (isinstance(x, Array) and x.sharding.device_set == devices):
            return x
        if isinstance(x, Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            # several hosts: device_put takes no typed keys there
            data = jax.device_put(jax.random.key_data(x), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        return jax.device_put(x, sharding)

    return jax.tree.map(place, tree)
