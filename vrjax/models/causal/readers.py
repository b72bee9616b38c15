"""Reads the weights of causal Wan models: Self-Forcing's, Causal-Forcing's, CausVid's and repacked ones.

    dit = causal.load_dit("self_forcing_dmd.pt")         # a WanDiT, for causal.rollout, causal.forward
    dit = readers.load("runs/push/model")                # a CausalDiT: what `save` wrote, or such a file

The tensors are Wan's own, under Wan's names. Training code left wrappers around them: a dict of several networks
(generator, its average, critic), `model.`, and FSDP's `_fsdp_wrapped_module.`, which may stand anywhere in a name.
"""

import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax

from vrjax.files import given, tensors, weights, writing
from vrjax.models.causal.dit import CausalConfig, CausalDiT, abstract
from vrjax.models.wan import readers
from vrjax.models.wan.dit import WanDiT

WRAPPED = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""What wrappers of PyTorch put into the names of what they hold."""
NETWORKS = ("generator_ema.", "generator.", "model.", "module.", "")
"""Where a file may hold the network, the best first: the average of its weights (EMA) before the last ones."""
SAFETENSORS = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
)
CLASS = "CausalWanModel"
NETWORK = dataclasses.replace(
    readers.NETWORK,
    what="a causal Wan transformer",
    fields=functools.partial(readers.fields, classes=(*readers.CLASSES, CLASS)),
)
TOLD = {"action_in": ("action_embedding",) * 2, "previous_in": ("previous_embedding",) * 2}
OWN = dataclasses.replace(
    NETWORK,
    name="CausalDiT",
    config=CausalConfig,
    abstract=abstract,
    names=NETWORK.names._replace(top={**NETWORK.names.top, **TOLD}),
)
"""Of a network of this house, which may know actions and no text: its config is in the file."""
LAYOUT = "original"


def load_dit(path: str | os.PathLike, *, network: str | None = None, **options: Any) -> WanDiT:
    """Loads the weights of a causal Wan model.

    Args:
        path: a file that torch.save wrote, a safetensors file, or a folder: of what lies in it `model.safetensors` or
            diffusers' file is taken, else the only `.pt` or `.pth`.
        network: which of the networks in the file, "generator_ema" or "generator" (Causal-Forcing's chunk-wise model
            was published for the latter); None: the first that is there of generator_ema, generator, model and the bare
            names.
        **options: fields of the config that override what was found. Without a `config.json` beside the file, heads
            are 128 wide, as of the public 1.3B and 14B.

    Returns:
        A WanDiT; of a file that `save` wrote, a CausalDiT.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: several files in a folder, none of them safetensors; no such network in it; missing, unexpected or
            misshapen tensors; a model that is not text-to-video.
    """
    source = tensors.read(_file(pathlib.Path(path)))
    if _own(source):
        return OWN.open(source, **options).module()
    return _public(source, network, options).module()


def load(path: str | os.PathLike) -> CausalDiT:
    """Loads a CausalDiT: what `save` wrote, or what `load_dit` reads, without actions and in chunks of three frames.

    Raises:
        FileNotFoundError, ValueError: as `load_dit`.
    """
    source = tensors.read(_file(pathlib.Path(path)))
    if _own(source):
        return OWN.open(source).module()
    dit = _public(source, None, {}).module()
    like = abstract(CausalConfig(**dataclasses.asdict(dit.cfg)))
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(dit))


def read_config(path: str | os.PathLike) -> CausalConfig:
    """The config of what `load` would read, from headers alone; raises as it does."""
    source = tensors.read(_file(pathlib.Path(path)))
    if _own(source):
        return OWN.open(source).check().cfg
    return CausalConfig(**dataclasses.asdict(_public(source, None, {}).cfg))


def save(dit: CausalDiT, folder: str | os.PathLike) -> None:
    """Saves a CausalDiT as `model.safetensors` with Wan's own names, and a `config.json` as Self-Forcing's class has
    it; each file whole or not at all."""
    folder, cfg = pathlib.Path(folder), dit.cfg
    OWN.save(folder / SAFETENSORS[0], dit, LAYOUT)
    own = {"_class_name": CLASS, "local_attn_size": cfg.window or -1, "sink_size": cfg.sink, "action_dim": cfg.action}
    writing.json(folder / "config.json", readers.public_config(cfg, LAYOUT) | own)


def _own(source: tensors.Source) -> bool:
    """Whether `save` wrote it."""
    return '"action":' in source.metadata.get("vrjax", "")


def _public(source: tensors.Source, network: str | None, options: dict[str, Any]) -> weights.Opened:
    """A public file, checked."""
    source = tensors.Source(source.path, {_bare(name): place for name, place in source.places.items()}, source.metadata)
    found = NETWORK.open(source, prefix=_prefix(source, network), **options).check()
    cfg = found.cfg
    if cfg.in_channels != cfg.out_channels or cfg.image_dim is not None:
        raise ValueError(
            f"{source.path}: {cfg.in_channels} channels in, {cfg.out_channels} out, expected text-to-video"
        )
    return found


def _file(path: pathlib.Path) -> pathlib.Path:
    given.refuse(path)
    if not path.is_dir():
        return path
    there = [path / name for name in SAFETENSORS if (path / name).is_file()]
    there = there[:1] or sorted(file for file in path.iterdir() if file.suffix in tensors.PICKLED and file.is_file())
    if len(there) != 1:
        found = ", ".join(file.name for file in there) or "none"
        raise ValueError(f"{path}: expected {SAFETENSORS[0]} or one file of weights, found {found}")
    return there[0]


def _bare(name: str) -> str:
    return functools.reduce(lambda name, wrapper: name.replace(wrapper, ""), WRAPPED, name)


def _prefix(source: tensors.Source, network: str | None) -> str:
    """What stands before the network's names."""
    ends = NETWORK.anchors.values()
    found = sorted({key[: -len(end)] for key in source.shapes for end in ends if key == end or key.endswith("." + end)})
    order = NETWORKS if network is None else (f"{network}.",)
    for start in order:
        mine = [prefix for prefix in found if prefix.startswith(start) and (start or not prefix)]
        if mine:
            return mine[0]
    wanted = "generator_ema, generator, model or bare names" if network is None else network
    held = ", ".join(repr(prefix) for prefix in found) or "none"
    raise ValueError(f"{source.path}: expected Wan's tensors under {wanted}, found them under {held}")
