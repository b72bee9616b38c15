"""What a run needs of a TPU slice, found by compiling its real step for that slice, on any machine.

    plan = plans.make(config, "v5p:4x4x4", latent=(21, 60, 104, 16))
    print(plan.table()); plan.fits

The step is the one that `vrjax train` or `vrjax align` runs, or the run of `vrjax.plan.jobs.sampling`; XLA:TPU compiles
it ahead of time against compile-only devices. No array is made and no accelerator is needed. What can be planned are
the kinds of `vrjax.plan.jobs`.

Trusted: whether it fits, and every byte of arguments, outputs and temporaries (XLA:TPU's own buffer assignment); the
operations and the collectives of the compiled program (`vrjax.plan.accounting`). Estimated: HBM traffic; which part
of the temporaries is kept for the backward pass (read from the loops of the program). Seconds are lower bounds: each is
what the chip's peak rate allows for one resource alone, and the largest bounds the step. Real steps take longer.
"""

import dataclasses
import pathlib
import re
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vrjax import parallel
from vrjax.models.blocks import attention
from vrjax.plan import accounting, advice, jobs, shapes, topology
from vrjax.plan.jobs import Latent
from vrjax.plan.topology import GIB
from vrjax.train import config as configs


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a compiled program needs. Everything is per chip; bytes, operations and seconds are of one step.

    Attributes:
        name, kind, topology, chips, mesh, tokens: what was planned, and for what.
        hbm: bytes a program may use.
        needed: bytes that it uses.
        memory: bytes by what they hold; empty where the compiler gave up because they do not fit.
        flops: `formula` (the model's products, recomputation not counted, its share of a chip), `compiled` (what the
            program does), `xla` (XLA's cost analysis, which counts the body of a loop once).
        hbm_bytes: read and written; an estimate.
        collectives: kind -> (how many, bytes received).
        seconds: lower bounds by resource: `compute`, `hbm`, `ici`, and their largest, `bound`.
        compile_seconds: what tracing and compiling took here.
        notes: what the reader should know.
        changes: fields of the config that differ from what was asked, of a suggestion.
    """

    name: str
    kind: str
    topology: str
    chips: int
    mesh: dict[str, int]
    tokens: int
    hbm: float | int
    needed: float | int
    memory: dict[str, float | int] = dataclasses.field(default_factory=dict)
    flops: dict[str, float | int] = dataclasses.field(default_factory=dict)
    hbm_bytes: float | int = 0.0
    collectives: dict[str, tuple[float | int, float | int]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float | int] = dataclasses.field(default_factory=dict)
    compile_seconds: float | int = 0.0
    notes: tuple[str, ...] = ()
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        needs = f"{self.needed / GIB:.2f} of {self.hbm / GIB:.2f} GiB a chip"
        return f"Plan({self.name}: {self.kind} on {self.topology}, {needs}, {'fits' if self.fits else 'does not fit'})"

    @property
    def fits(self) -> bool:
        return bool(self.memory) and self.needed <= self.hbm

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "fits": self.fits}

    def table(self) -> str:
        """For people."""
        mesh = " x ".join(f"{axis} {size}" for axis, size in self.mesh.items() if size > 1) or "one chip"
        verdict = "fits" if self.fits else "DOES NOT FIT"
        lines = [
            f"{self.name}: {self.kind}",
            f"{self.topology}: {self.chips} chips, mesh {mesh}; {self.tokens} tokens a clip; "
            f"compiled in {self.compile_seconds:.0f} s",
            "",
            f"memory per chip{'GiB':>29}",
            *(f"  {name:<32}{amount / GIB:>10.3f}" for name, amount in self.memory.items()),
            f"  {'needed':<32}{self.needed / GIB:>10.3f}  of {self.hbm / GIB:.2f}: {verdict}",
        ]
        if self.memory:
            share = self.flops["formula"] / self.flops["compiled"] if self.flops["compiled"] else 0.0
            lines += [
                "",
                f"operations per chip and step{'TFLOP':>16}",
                f"  {'model (formula)':<32}{self.flops['formula'] / 1e12:>10.3f}",
                f"  {'compiled program':<32}{self.flops['compiled'] / 1e12:>10.3f}  of which useful {share:.0%}",
                f"  {'XLA cost analysis':<32}{self.flops['xla'] / 1e12:>10.3f}  (counts loop bodies once)",
                "",
                f"traffic per chip and step{'GiB':>19}{'count':>10}",
                f"  {'HBM, read and written':<32}{self.hbm_bytes / GIB:>10.3f}",
                *(f"  {kind:<32}{size / GIB:>10.3f}{count:>10.0f}" for kind, (count, size) in self.collectives.items()),
                "",
                f"lower bound of a step{'seconds':>23}",
                *(f"  {name:<32}{value:>10.4f}" for name, value in self.seconds.items()),
            ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


Phase = Callable[[str], None]


def make(
    config: Any, topology_name: str, *, latent: Latent | None = None, changes: Any = None, phase: Phase = lambda _: None
) -> Plan:
    """Compiles a run's step for a slice and accounts for it.

    Args:
        config: of one of the kinds of `vrjax.plan.jobs`.
        topology_name: see `vrjax.plan.topology`.
        latent: (t, h, w, c) of a clip's latent; by default a config's own, or that of its procedural worlds.
        changes: noted in the plan.
        phase: told of what is done now, and of "" when all is.

    Raises:
        ValueError: an unknown kind of config or topology, a mesh that does not take the slice's chips, shapes that do
            not fit, or a program that XLA:TPU refuses for another reason than memory.
        ImportError: libtpu is not installed.
    """
    try:
        return _make(config, topology_name, latent, changes, phase)
    finally:
        phase("")


def _make(config: Any, topology_name: str, latent: Latent | None, changes: Any, phase: Phase) -> Plan:
    kind = jobs.of(config)
    chip, _ = topology.parse(topology_name)
    phase(f"asking libtpu for {topology_name}")
    mesh = mesh_on(config.mesh, topology_name)
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as raised, attention.target("tpu"):
        warnings.simplefilter("always")
        phase(f"tracing the step of {config.name}")
        job = kind.job(config, mesh, latent or kind.latent(config))
        lowered = job.lower()
        phase(f"compiling it for {topology_name} (a minute or two)")
        compiled, needed = _compile(lowered)
    notes = list(dict.fromkeys(str(w.message) for w in raised if issubclass(w.category, parallel.UnevenSharding)))
    seconds = time.perf_counter() - started
    notes += [f"to run it here: {line}" for line in kind.wanting(config)]
    base = Plan(
        name=config.name,
        kind=job.kind,
        topology=topology_name,
        chips=mesh.size,
        mesh={axis: size for axis, size in mesh.shape.items()},
        tokens=job.tokens,
        hbm=chip.hbm,
        needed=needed,
        compile_seconds=seconds,
        notes=tuple(notes),
        changes=dict(changes or {}),
    )
    phase("reading the compiled program")
    return base if compiled is None else _accounted(base, chip, job, compiled)


def advise(
    config: Any,
    plan: Plan,
    *,
    latent: Latent | None = None,
    tries: int = 3,
    say: Callable[[str], None] = print,
    phase: Phase = lambda _: None,
) -> Plan | None:
    """A plan that fits where `plan` does not: the best of a few changes, each compiled; None if none of them does.

    Args:
        config, latent: as `plan` was made.
        plan: that does not fit.
        tries: most programs to compile.
        say: told of each try.
        phase: see `make`.
    """
    chip, _ = topology.parse(plan.topology)

    def compile(new: Any, changes: dict[str, Any]) -> Plan:
        say(f"trying {advice.words(changes)} ...")
        found = make(new, plan.topology, latent=latent, changes=changes, phase=phase)
        say(f"  {found.needed / GIB:.2f} of {found.hbm / GIB:.2f} GiB")
        return found

    latent = latent or jobs.of(config).latent(config)
    return advice.advise(config, chip, plan.chips, latent, plan.needed, compile, tries=tries)[0]


def load(path: Any) -> tuple[Any, str | None, Latent | None]:
    """A config file's config (any kind), and its own `TOPOLOGY` and `LATENT` if it names them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not define what is expected.
    """
    path = pathlib.Path(path)
    if path.suffix == ".json":
        return configs.load(path), None, None
    names = configs.defined(path)
    return names["config"](), names.get("TOPOLOGY"), names.get("LATENT")


def mesh_on(sizes: Mapping[str, int], topology_name: str) -> Mesh:
    """The mesh of a config on a slice: all of its chips, or one where the config names no axes.

    Raises:
        ValueError: sizes that do not take exactly the slice's chips (see `vrjax.parallel.mesh`), or that JAX cannot lay
            on its torus.
    """
    devices = topology.devices(topology_name)
    try:
        return parallel.mesh(sizes, devices=devices if sizes else devices[:1])
    except ValueError as error:
        raise ValueError(f"{topology_name} has {len(devices)} chips: {error}") from None
    except NotImplementedError:  # by JAX, which lays a mesh along whole axes of the torus
        raise ValueError(
            f"mesh {dict(sizes)} does not lie on the torus of {topology_name}: the size of each mesh axis must be a "
            "product of some of the torus's sides"
        ) from None


def _compile(lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled | None, float | int]:
    """The program, and the bytes it needs: nan until it is accounted for. Without a program: what would be needed."""
    try:
        return lowered.compile(), float("nan")
    except jax.errors.JaxRuntimeError as error:
        needed = out_of_memory(str(error))
        if needed is None:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ValueError(f"XLA:TPU refuses the program: {' '.join(lines[:2])[:600]}") from None
        return None, needed


def out_of_memory(message: str) -> float | int | None:
    """Bytes of HBM that XLA:TPU says a program needs when it refuses it; None for any other complaint."""
    number = r"([\d.]+)([KMGT]?)"
    found = re.search(rf"total memory required for HLO temporaries \({number}\) exceeds available HBM", message)
    found = found or re.search(rf"Used {number} of [\d.]+[KMGT]? hbm", message)
    if found is None:
        return None
    return float(found[1]) * 1024.0 ** " KMGT".index(found[2] or " ")


def _accounted(plan: Plan, chip: topology.Chip, job: jobs.Job, compiled: jax.stages.Compiled) -> Plan:
    stats, text = compiled.memory_analysis(), compiled.as_text()
    assert stats is not None and text is not None
    account = accounting.read(text, attention_flops)
    parts = {name: float(size) for name, tree in job.parts.items() if (size := shapes.local_bytes(tree))}
    kept = min(account.saved_bytes, float(stats.temp_size_in_bytes))
    memory = {
        **parts,
        "padding of the above": max(0.0, stats.argument_size_in_bytes - sum(parts.values())),
        "outputs not in place": float(stats.output_size_in_bytes - stats.alias_size_in_bytes),
        "activations kept for backward": kept,
        "temporaries": stats.temp_size_in_bytes - kept,
        "program": float(stats.generated_code_size_in_bytes),
    }
    memory = {name: size for name, size in memory.items() if size or name == "temporaries"}
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis or {}
    count = job.steps
    operations = {
        "formula": job.flops / plan.chips,
        "compiled": account.flops / count,
        "xla": float(analysis.get("flops", 0.0)),
    }
    bounds = {
        "compute": operations["compiled"] / chip.flops,
        "hbm": account.hbm_bytes / count / chip.hbm_bandwidth,
        "ici": account.collective_bytes / count / chip.ici_bandwidth,
    }
    notes = list(plan.notes)
    if account.unknown_loops:
        notes.append(f"loops of unknown length count once: {', '.join(account.unknown_loops[:3])}")
    if account.unknown_kernels:
        names = ", ".join(dict.fromkeys(name.split("/")[-1] for name in account.unknown_kernels[:3]))
        notes.append(f"{len(account.unknown_kernels)} kernels are not among the compiled operations: {names}")
    return dataclasses.replace(
        plan,
        needed=sum(memory.values()),
        memory=memory,
        flops=operations,
        hbm_bytes=account.hbm_bytes / count,
        collectives={kind: (c.count / count, c.bytes / count) for kind, c in account.collectives.items()},
        seconds={**bounds, "bound": max(bounds.values())},
        notes=tuple(notes),
    )


def attention_flops(op: Any, types: tuple) -> float | int | None:
    """Operations of the TPU attention kernels, by their products of queries x keys x head size.

    Forward has 2 of them; backward 3 for the gradient of the queries and 4 for those of keys and values: both form the
    weights again.
    """
    products = next((n for name, n in (("_fwd", 2), ("_dkv", 4), ("_dq", 3)) if f"splash_mha{name}" in op.label), None)
    arrays = [a for arrays in types for a in arrays if len(a.shape) >= 3 and a.dtype in ("bf16", "f32", "f16")]
    if products is None or len(arrays) < 2:
        return None
    q, k = arrays[0].shape, arrays[1].shape
    return 2.0 * products * float(np.prod(q)) * k[-2]
