"""The vrjax side: each case is one compiled program."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.bench.cases import Case
from experiments.bench.posteriors import Posterior


def start(cores: int, devices: int) -> None:
    """XLA takes as many threads as the process may run on cores; the bench pins both sides alike."""
    from vrjax import parallel

    if devices > 1:
        parallel.cores(devices)


def gemm(size: int, dtype: str, often: int) -> Callable[[], Any]:
    """Matrix products, `often` of them one after another."""
    import jax
    import jax.numpy as jnp

    draw = lambda i: np.random.default_rng(i).standard_normal((size, size), np.float32)
    a, b = (jnp.asarray(draw(i), dtype) for i in range(2))
    multiply = jax.jit(jnp.matmul)

    def call():
        c = a
        for _ in range(often):
            c = multiply(a, b)
        return jax.block_until_ready(c)

    return call


def attention(arrays: list[np.ndarray], dtype: str, impl: str) -> list[np.ndarray]:
    """Output of one implementation of attention and the gradients of q, k and v, float32."""
    import jax
    import jax.numpy as jnp

    from vrjax.models.blocks.attention import attend

    q, k, v, grad = (jnp.asarray(x, dtype) for x in arrays)

    @jax.jit
    def both(q, k, v, grad):
        out, back = jax.vjp(lambda q, k, v: attend(q, k, v, impl=impl), q, k, v)
        return out, *back(grad)

    return [np.asarray(x.astype(jnp.float32)) for x in both(q, k, v, grad)]


def build(case: Case | Posterior, folder: pathlib.Path, compiled: bool) -> Callable[[], Any]:
    """The timed call of a case; sampling and forward return what the two sides compare."""
    if isinstance(case, Posterior):
        from experiments.bench import vrjax_posteriors

        return vrjax_posteriors.build(case)
    import dataclasses

    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx
    from jax import lax

    from vrjax import flow, parallel
    from vrjax.models import wan
    from vrjax.models.wan import conditions
    from vrjax.train import objectives

    if case.work == "motion":
        return _motion(case, folder)
    if case.vae:  # as pipelines use it
        vae, arrays = wan.load_vae(folder), case.arrays()
        chunk = conditions.chunk_of(arrays["z"].shape, vae.cfg)
        encode = jax.jit(lambda vae, video: vae.encode(video, chunk=chunk))
        decode = jax.jit(lambda vae, z: vae.decode(z, chunk=chunk))
        run, given = (encode, arrays["video"]) if case.work == "encode" else (decode, arrays["z"])
        return lambda: np.asarray(run(vae, given))[None]

    dit = wan.load_dit(folder)
    on_cpu = jax.default_backend() == "cpu"
    mesh = parallel.mesh({case.axis: -1}) if case.axis and on_cpu else parallel.mesh({}, devices=jax.devices()[:1])
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arrays = {k: jax.device_put(v, everywhere) for k, v in case.arrays().items()}

    def options(**new) -> wan.WanDiT:
        like = wan.abstract(dataclasses.replace(dit.cfg, dtype=case.dtype, param_dtype=case.dtype, **new))
        leaves = [x.astype(to.dtype) for x, to in zip(jax.tree.leaves(dit), jax.tree.leaves(like), strict=True)]
        net = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return net if mesh.size == 1 else wan.shard(net, mesh)

    if case.work == "forward":
        net = options(unroll=on_cpu)
        forward = jax.jit(lambda dit, x, text: dit(x, 500.0, text).v)
        one = lambda: forward(net, arrays["x"][0], arrays["text"][0])
        return lambda: np.asarray(one())[None]

    if case.work == "train":
        net = options(unroll=on_cpu)
        graph, params = nnx.split(net)
        tx = optax.adamw(1e-4, 0.9, 0.98, weight_decay=0.01)

        def update(params, moments, x, noise, sigma, text):
            def loss(params):
                dit = nnx.merge(graph, params)

                def one(x, noise, sigma, text):
                    velocity = lambda x, level: dit(x, level.time, text)
                    return objectives.flow_error(velocity, x, noise, objectives.level_of(sigma))

                return jnp.mean(parallel.batch(None, one)(x, noise, sigma, text))

            value, grad = jax.value_and_grad(loss)(params)
            change, moments = tx.update(grad, moments, params)
            return optax.apply_updates(params, change), moments, value

        step = jax.jit(update, donate_argnums=(0, 1))
        held: list[Any] = [params, tx.init(params)]
        data = [arrays[k] for k in ("x", "noise", "sigma", "text")]

        def train():
            *held[:], value = step(*held, *data)
            return np.asarray(value)

        return train

    net = options(unroll=on_cpu)
    grid = flow.grids.diffusers_euler(case.steps, shift=case.shift)
    nothing = flow.Record(steps=())

    if case.work == "guided":

        def guided(dit, noise, text, negative):
            velocity = dit.guided(text, negative, case.scale)
            return flow.sample(velocity, noise, grid, record=flow.Record())

        run = jax.jit(guided)
        inputs = (arrays["noise"][0], arrays["text"][0], arrays["negative"][0])
        return lambda: np.asarray(jax.block_until_ready(run(net, *inputs)).final)[None]

    def sampler(edits):
        def one(dit, noise, text):
            return flow.sample(dit.velocity(text, edits=edits), noise, grid, record=nothing).final

        return one

    if case.work == "single":
        run = jax.jit(sampler({}))
        inputs = (arrays["noise"][0], arrays["text"][0])
        return lambda: np.asarray(run(net, *inputs))[None]
    coupled = sampler({"block.1": lambda h: lax.pmean(h, "seed")})
    run = jax.jit(jax.vmap(coupled, in_axes=(None, 0, None), axis_name="seed"))
    return lambda: np.asarray(run(net, arrays["noise"], arrays["text"][0]))


def _motion(case: Case, folder: pathlib.Path) -> Callable[[], np.ndarray]:
    """Sampling a batch of motions, every step recorded; the batch divided over the cores that are devices."""
    import jax
    import jax.numpy as jnp

    from vrjax import flow, parallel
    from vrjax.models import motion

    options = {"mode": case.mode, "unroll": jax.default_backend() == "cpu"}
    dit = motion.load_dit(folder, heads=case.heads, **options)
    mesh = parallel.mesh({case.axis: -1}) if case.axis else parallel.mesh({}, devices=jax.devices()[:1])
    over = jax.sharding.PartitionSpec(case.axis) if case.batch % mesh.size == 0 else jax.sharding.PartitionSpec()
    arrays = {k: jax.device_put(v, jax.sharding.NamedSharding(mesh, over)) for k, v in case.arrays().items()}
    dit = jax.device_put(dit, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    grid = flow.grids.vimogen(case.steps, case.shift)

    def one(dit, noise, text, reference):
        if case.mode == "text":
            velocity = dit.guided(text, jnp.zeros_like(text), case.scale)
        else:
            velocity = dit.velocity(reference=reference)
        return flow.sample(velocity, noise, grid, record=flow.Record())

    run = jax.jit(jax.vmap(one, in_axes=(None, 0, 0, 0)))
    given = [arrays[name] for name in ("noise", "text", "reference")]
    return lambda: np.asarray(jax.block_until_ready(run(dit, *given)).final)


def watch(call: Callable[[], Any], calls: int) -> dict[str, tuple[float, float]]:
    """Milliseconds and number of XLA's operations in a call, without those that contain others."""
    import collections
    import glob
    import re
    import tempfile

    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                call()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        data = jax.profiler.ProfileData.from_file(path)
        times: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
        for plane in data.planes:
            for line in plane.lines:
                for event in line.events:
                    if "hlo_op" not in {name for name, _ in event.stats}:
                        continue
                    name = re.sub(r"(\.(\d+|clone|remat\d*))+$", "", event.name)
                    if name in ("while", "call", "conditional"):
                        continue
                    times[name][0] += event.duration_ns / 1e6 / calls
                    times[name][1] += 1 / calls
    return {name: (spent, count) for name, (spent, count) in times.items()}
