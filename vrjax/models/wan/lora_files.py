"""LoRA files of others: read in every common key style, merged into a WanDiT or kept apart.

    style = wan.load_lora("lightx2v.safetensors")
    dit = merge(dit, [(style, 1.0), (wan.load_lora("vbvr_high.safetensors"), 0.8)])
    adapter = style.adapter(dit.cfg)                   # {"blocks.self_attn.q.kernel": {"a": ..., "b": ...}}

Styles: PEFT and diffusers (`transformer.*.lora_A.weight`, diffusers or original names; `transformer_2.*` of the
low-noise expert), DiffSynth (`*.lora_A.default.weight`), Kijai and LightX2V (`diffusion_model.*.lora_down.weight` with
`alpha`, and the full differences `diff`, `diff_b`, `diff_m`), musubi and others (`lora_unet_blocks_0_*`), see
`lora_keys`. What is added is `alpha / rank * B A`; the factor is folded into `b`, so that an adapter is used with a
factor of one.
"""

import dataclasses
import functools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.files import adapters, tensors, weights
from vrjax.models.wan import lora_keys
from vrjax.models.wan.dit import WanConfig, abstract
from vrjax.models.wan.lora_keys import Place
from vrjax.models.wan.readers import NAMES


class _Pair(NamedTuple):
    """A low-rank difference of a kernel (in, out): a (in, rank), b (rank, out) with its factor, and the file's key."""

    a: np.ndarray
    b: np.ndarray
    factor: float
    key: str


@dataclasses.dataclass(frozen=True)
class Lora:
    """The differences of one file, on the host.

    Attributes:
        path: the file, for messages.
        pairs: low-rank differences.
        diffs: full differences, as the module stores the parameter, with their keys.
    """

    path: pathlib.Path
    pairs: Mapping[Place, _Pair]
    diffs: Mapping[Place, tuple[np.ndarray, str]]

    def adapter(self, cfg: WanConfig) -> dict[str, dict[str, jax.Array]]:
        """The low-rank part as `vrjax.train.lora` has it: float32, stacked over blocks, factor one.

        Blocks that the file leaves out are zero, and ranks are padded with zeros to the largest of the parameter.

        Raises:
            ValueError: it does not fit the config, or the file holds full differences, which an adapter cannot hold.
        """
        if self.diffs:
            keys = [key for _, key in self.diffs.values()]
            raise ValueError(
                f"{self.path}: {len(keys)} full differences ({weights.some(keys)}) fit no adapter: use merge"
            )
        self.check(cfg)
        return jax.tree.map(jnp.asarray, _stacked([(self, 1.0)], cfg))

    def without_image(self, cfg: WanConfig) -> tuple["Lora", int]:
        """Without the changes of attention to a picture's CLIP rows where the model has none, and how many these are.

        The few-step LoRA files of Wan 2.1's image model are used with Wan 2.2's so, which has no such attention.
        """
        if cfg.image_dim is not None:
            return self, 0
        keep = lambda found: {place: value for place, value in found.items() if not lora_keys.of_image(place[0])}
        pairs, diffs = keep(self.pairs), keep(self.diffs)
        left = len(self.pairs) - len(pairs) + len(self.diffs) - len(diffs)
        return dataclasses.replace(self, pairs=pairs, diffs=diffs), left

    def check(self, cfg: WanConfig) -> None:
        """ValueError where a difference has no parameter, or another shape, or holds what is no number."""
        shapes = _shapes(cfg)
        for (name, block), shape, key in [
            *((place, (len(pair.a), pair.b.shape[1]), pair.key) for place, pair in self.pairs.items()),
            *((place, diff.shape, key) for place, (diff, key) in self.diffs.items()),
        ]:
            if name not in shapes or (block or 0) >= cfg.layers:
                where = name if block is None else f"{name} of block {block}"
                hint = " (attention to a picture can be left out: without_image)" if lora_keys.of_image(name) else ""
                raise ValueError(f"{self.path}: {key} changes {where}, which this model does not have{hint}")
            expected = shapes[name][1:] if block is not None else shapes[name]
            if shape != expected:
                raise ValueError(
                    f"{self.path}: {key} changes a weight of shape {shape}, the model's {name} has {expected}"
                )


def load_lora(path: str | os.PathLike, *, alpha: float | int | None = None, expert: str | None = None) -> Lora:
    """Reads a LoRA file for Wan's transformer.

    Args:
        path: a `.safetensors` or torch file, or a PEFT folder (`adapter_model.safetensors`, `adapter_config.json`).
        alpha: strength of adapters for which the file states none; their rank (a factor of one) by default. PEFT's
            config and diffusers' metadata count as a statement.
        expert: "high" or "low": that expert's part of a file whose keys name them, and all of a file whose do not.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a torn or hostile file; keys of no known style or of no part of the transformer; half of a pair;
            shapes that do not fit together; values that are not finite; DoRA, LoKr and other adapters; keys of both
            experts, or of the other. Names the file and the key.
    """
    path = pathlib.Path(path)
    source = tensors.read(path)
    keys = {key: lora_keys.read(key, source.path) for key in source.shapes}
    named = lora_keys.named({of.expert for of in keys.values()})
    if len(named) == 2 and expert is None:
        raise ValueError(f"{source.path}: holds parts of both experts, expected one: say expert='high' or 'low'")
    if expert is not None and named and expert not in named:
        raise ValueError(f"{source.path}: its keys name the {named[0]} expert, asked for is the {expert} one")
    found: dict[str, dict[Place, str]] = {kind: {} for kind in lora_keys.KINDS}
    for key, (kind, place, of) in keys.items():
        if len(named) == 2 and (of or lora_keys.HIGH) != expert:
            continue
        if place in found[kind]:
            raise ValueError(f"{source.path}: {key} and {found[kind][place]} change the same parameter")
        found[kind][place] = key

    down, up = found["down"], found["up"]
    if not any(found[kind] for kind in found if kind != "alpha"):
        raise ValueError(f"{source.path}: no LoRA tensors in it")
    halves = [*(down[place] for place in down.keys() - up.keys()), *(up[place] for place in up.keys() - down.keys())]
    halves += [found["alpha"][place] for place in found["alpha"].keys() - down.keys()]
    if halves:
        raise ValueError(f"{source.path}: {len(halves)} keys without their partner ({weights.some(sorted(halves))})")

    stated = _stated_alpha(source, path, expert if len(named) == 2 else next(iter(named), None))
    pairs = {}
    for place, key in down.items():
        a, b = source[key], source[up[place]]
        if a.ndim < 2 or b.ndim < 2 or len(a) != b.shape[1] or math.prod(b.shape[2:]) != 1 or not a.size * b.size:
            raise ValueError(f"{source.path}: {key} {a.shape} and {up[place]} {b.shape} do not fit together")
        rank = len(a)
        strength = alpha if stated is None else stated(rank)
        if place in found["alpha"]:
            value = source[found["alpha"][place]]
            if value.size != 1 or not np.isfinite(np.float32(value).item()):
                raise ValueError(f"{source.path}: {found['alpha'][place]} has shape {value.shape}, expected one number")
            strength = np.float32(value).item()
        _finite(source.path, key, a)
        _finite(source.path, up[place], b)
        factor = 1.0 if strength is None else strength / rank
        pairs[place] = _Pair(a.reshape(rank, -1).T, b.reshape(len(b), rank).T, factor, key)
    diffs = {}
    for kind in ("diff", "bias", "modulation"):
        for place, key in found[kind].items():
            if place in diffs:
                raise ValueError(f"{source.path}: {key} and {diffs[place][1]} change the same parameter")
            diffs[place] = _oriented(_finite(source.path, key, source[key]), place[0]), key
    return Lora(source.path, pairs, diffs)


def save_lora(adapter: Mapping[str, Mapping[str, Any]], path: str | os.PathLike, *, alpha: float | None = None) -> None:
    """Writes adapters as others read them: `blocks.3.self_attn.q.lora_A.weight`, in Wan's own names, float32.

    Args:
        adapter: as `vrjax.train.lora` has it, `{dotted kernel: {"a": (..., in, rank), "b": (..., rank, out)}}`.
        path: a name ending in `.safetensors`; the file appears whole or not at all.
        alpha: strength that the adapters were trained with, their rank if None. `alpha / rank` is folded into B, since
            not every reader asks for it.
    """
    adapters.write(adapter, path, NAMES, "original", alpha=alpha)


def merge(dit: Any, loras: Lora | Iterable[tuple[Lora, float]], *, donate: bool = False) -> Any:
    """The transformer with the differences of one or several files added: `W + sum_i weight_i * difference_i`.

    Sums are float32, one block of one parameter at a time; parameters that no file changes are the module's own arrays.

    Args:
        dit: a WanDiT; its parameters keep their dtype and placement.
        loras: one file, or pairs of a file and its weight.
        donate: change the module's arrays in place, so that no second model is needed; `dit` cannot be used after.

    Raises:
        ValueError: a difference of a parameter that the model does not have, or of another shape; names file and key.
    """
    loras = [(loras, 1.0)] if isinstance(loras, Lora) else list(loras)
    for lora, _ in loras:
        lora.check(dit.cfg)
    adapters = _stacked(loras, dit.cfg)
    diffs: dict[str, list[tuple[int | None, np.ndarray, float]]] = {}
    for lora, weight in loras:
        for (name, block), (diff, _) in lora.diffs.items():
            diffs.setdefault(name, []).append((block, diff, weight))

    def add(path, leaf):
        name = ".".join(weights.attributes(path))
        own = donate  # whether the array may be overwritten
        if name in adapters:
            leaf, own = _add[own](leaf, adapters[name]["a"], adapters[name]["b"]), True
        for block, diff, weight in diffs.get(name, ()):
            block = () if block is None else block
            leaf, own = _plus[own](leaf, np.asarray(diff), np.float32(weight), block), True
        return leaf

    return jax.tree_util.tree_map_with_path(add, dit)


def _sum(w: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """w + a b, block by block where they are stacked: the difference of all blocks at once is never held."""
    one = lambda w, a, b: (w.astype(jnp.float32) + a @ b).astype(w.dtype)
    if w.ndim == 2:
        return one(w, a, b)
    put = lambda i, w: w.at[i].set(one(w[i], a[i], b[i]))
    return jax.lax.fori_loop(0, len(w), put, w)


def _difference(w: jax.Array, diff: jax.Array, weight: jax.Array, block: Any) -> jax.Array:
    """w with the full difference of one block, or of all of it."""
    f32 = jnp.float32
    return w.at[block].set((w[block].astype(f32) + weight * diff.astype(f32)).astype(w.dtype))


_add = {own: jax.jit(_sum, donate_argnums=0 if own else ()) for own in (False, True)}
_plus = {own: jax.jit(_difference, donate_argnums=0 if own else ()) for own in (False, True)}


def _stacked(loras: list[tuple[Lora, float]], cfg: WanConfig) -> dict[str, dict[str, np.ndarray]]:
    """The low-rank parts of all files side by side, weights and factors folded into b."""
    parts: dict[str, list[list[tuple[_Pair, float]]]] = {}
    for lora, weight in loras:
        for (name, block), pair in lora.pairs.items():
            rows = parts.setdefault(name, [[] for _ in range(1 if block is None else cfg.layers)])
            rows[block or 0].append((pair, weight * pair.factor))
    out = {}
    for name, rows in parts.items():
        *_, n_in, n_out = _shapes(cfg)[name]
        rank = max(sum(len(pair.b) for pair, _ in row) for row in rows)
        a, b = np.zeros((len(rows), n_in, rank), np.float32), np.zeros((len(rows), rank, n_out), np.float32)
        for i, row in enumerate(rows):
            end = 0
            for pair, factor in row:
                start, end = end, end + len(pair.b)
                a[i, :, start:end] = pair.a
                b[i, start:end] = np.float32(factor) * pair.b.astype(np.float32)
        out[name] = {"a": a, "b": b} if name.startswith("blocks.") else {"a": a[0], "b": b[0]}
    return out


def _finite(path: pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    """The array; ValueError where a value is not finite, which would be seen in the video alone."""
    bad = int((~np.isfinite(array.astype(np.float32))).sum())
    if bad:
        raise ValueError(f"{path}: {key} has {bad} values of {array.size} that are not finite")
    return array


def _oriented(diff: np.ndarray, name: str) -> np.ndarray:
    """A full difference as the module stores the parameter."""
    if name.endswith(".kernel"):
        return diff.reshape(len(diff), -1).T if diff.ndim > 1 else diff
    if diff.ndim and diff.shape[0] == 1 and name.endswith(("modulation", "positions")):
        return diff[0]
    return diff


@functools.lru_cache(maxsize=8)
def _shapes(cfg: WanConfig) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(abstract(cfg))
    return {".".join(weights.attributes(path)): leaf.shape for path, leaf in leaves}


def _stated_alpha(source: tensors.Source, path: pathlib.Path, expert: str | None) -> Any:
    """rank -> alpha as diffusers' metadata or PEFT's config state it for this part of the file, or None."""
    text, origin = source.metadata.get("lora_adapter_metadata"), f"{source.path} (metadata)"
    folder = path if path.is_dir() else path.parent
    if text is not None:
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            table = None
    elif (folder / "adapter_config.json").exists() and (path.is_dir() or path.name.startswith("adapter_model.")):
        origin = str(folder / "adapter_config.json")
        table = tensors.read_json(folder / "adapter_config.json")
    else:
        return None
    if not isinstance(table, dict):
        raise ValueError(f"{origin}: not a JSON object")
    part = "transformer_2." if expert == lora_keys.LOW else "transformer."
    plain = {key.removeprefix(part): value for key, value in table.items()}
    if plain.get("alpha_pattern"):
        raise ValueError(f"{origin}: alpha_pattern is not supported, expected one lora_alpha")
    value = plain.get("lora_alpha")
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{origin}: lora_alpha is {value!r}, expected a number")
    return lambda rank: value * (rank**0.5 if plain.get("use_rslora") else 1)
