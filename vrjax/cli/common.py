"""What several commands share: kinds of arguments, the model asked for, and how an error is said."""

import argparse
import contextlib
import dataclasses
import math
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

_EXPECTED: tuple[type[Exception], ...] = (ValueError, OSError, FloatingPointError, ImportError)
_MEMORY = r"RESOURCE_EXHAUSTED|(?i:out of memory|failed to allocate)"  # as XLA's devices say it


def add_config(sub: argparse.ArgumentParser) -> None:
    """The config of a command, whose every field may follow on the command line."""
    sub.add_argument("config", type=pathlib.Path, help="a .py file with config(), or a run's config.json")
    sub.set_defaults(takes_overrides=True)


def add_encoding(sub: argparse.ArgumentParser, frames: int, pixels: tuple[int, int]) -> None:
    """What a public model makes of clips: the model, their size, and how arrays are stored."""
    add_model(sub, "model folder, or its id on the Hugging Face hub", required=True)
    sub.add_argument("--frames", type=positive, default=frames, help=f"of every clip, 4 n + 1 ({frames})")
    sub.add_argument("--size", type=size, default=pixels, metavar="HxW", help=f"pixels ({pixels[0]}x{pixels[1]})")
    sub.add_argument("--dtype", default="bfloat16", help="of stored arrays: bfloat16, float16, float32 (bfloat16)")


def add_model(sub: Any, text: str, **options: Any) -> None:
    """`--model`, and whether the hub may be asked for it."""
    sub.add_argument("--model", type=pathlib.Path, help=text, **options)
    sub.add_argument(
        "--download", action="store_true", help="fetch what the hub's cache lacks of --model (else asked at a terminal)"
    )


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for an address where an argument is a path, and for `--download` where the hub is not asked."""
    from vrjax.files import given, hub

    for name, value in vars(args).items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, pathlib.Path):
                given.local(path, "--" + name.replace("_", "-"))
    if not getattr(args, "download", False):
        return
    if args.model is None:
        raise ValueError("--download: there is no --model")
    if not hub.is_asked(args.model):
        why = "is on this machine" if args.model.exists() else "is no id OWNER/NAME of the hub"
        raise ValueError(f"--download: nothing to fetch, --model {args.model} {why}")


def offered(yes: bool) -> Callable[[Any], bool]:
    """Answers what the hub offers, after listing it: yes where `--download` said so, or a person at the terminal."""

    def answer(offer: Any) -> bool:
        print(offer.table(), flush=True)
        if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return yes
        return input("download? [y/N] ").strip().lower() in ("y", "yes")

    return answer


def model_folder(given: pathlib.Path | None, task: str = "", *, download: bool = False) -> pathlib.Path:
    """The model asked for (a folder, the name of a shipped one, an id of the hub), or the shipped one that knows a task
    best."""
    from vrjax.models.embedded import shipped
    from vrjax.models.wan import folders

    if given is None:
        return shipped.path(shipped.knowing(task))
    if not given.exists() and str(given) in shipped.names():
        return shipped.path(str(given))
    if (found := folders.resolve(given, allow=offered(download))).exists():
        return found
    raise FileNotFoundError(
        f"no model {given}: expected a folder such as runs/worlds/model, a shipped model's name, or an id OWNER/NAME"
    )


def overridden(kind: type, config: Any, arguments: list[str], **tyro_options: Any) -> Any:
    """The config with fields set on the command line.

    `--mesh NAME SIZE ...` replaces the whole mesh, whatever axes the config names, and `--help-all` lists all fields;
    everything else is tyro's. Fields of an optional part that the config has (`--lora.rank`) follow without its name.

    Raises:
        ValueError: a mesh without pairs of a name and a whole number.
    """
    import tyro

    rest = ["--help" if word == "--help-all" else word for word in arguments]
    if not any(word.startswith("lora:") for word in rest):
        tyro_options["config"] = (tyro.conf.AvoidSubcommands,)
    while "--mesh" in rest:
        at = rest.index("--mesh")
        end = next((i for i in range(at + 1, len(rest)) if rest[i].startswith("--")), len(rest))
        config = dataclasses.replace(config, mesh=axes(rest[at + 1 : end]))
        del rest[at:end]
    return tyro.cli(kind, default=config, args=rest, **tyro_options) if rest else config


def axes(words: Sequence[str]) -> dict[str, int]:
    """`fsdp 4 context 2` of `--mesh`. Raises ValueError for what is no pairs of a name and a whole number."""
    try:
        return {name: int(size) for name, size in zip(words[::2], words[1::2], strict=True)}
    except ValueError:
        raise ValueError(f"--mesh {' '.join(words)}: expected axes and sizes, such as fsdp 4 context 2") from None


def cores_for(mesh: Mapping[str, int]) -> None:
    """Before JAX starts: where a mesh asks for no more devices than there are cores, a CPU's cores are devices."""
    from vrjax.parallel.mesh import available, cores

    size = math.prod(mesh.values())
    if 1 < size <= available():
        with contextlib.suppress(RuntimeError):  # it runs already; the mesh says what is missing
            cores(size)


def numbers(text: str) -> list[int]:
    """`3`, `0-7`, `1,4,9-11`."""
    out: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), (int(last) if dash else int(first)) + 1)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected numbers such as 3 or 0-7 or 1,4,9-11") from None
        if not span:
            raise argparse.ArgumentTypeError(f"{text!r}: the range {part} is empty")
        out += span
    if len(set(out)) != len(out):
        raise argparse.ArgumentTypeError(f"{text!r}: a number stands there twice")
    return out


def latent_shape(text: str) -> tuple[int, ...]:
    """`21x60x104x16` of a video, `100x276` of a motion."""
    sizes = text.split("x")
    if len(sizes) not in (2, 4) or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected four sizes t x h x w x c, such as 21x60x104x16, or two of a motion, such as 100x276"
        )
    return tuple(int(size) for size in sizes)


def size(text: str) -> tuple[int, int]:
    """`480x832`: height and width."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r}: expected height x width, such as 480x832")
    return int(sides[0]), int(sides[1])


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value


def floats(text: str) -> list[float]:
    """`5` or `4,3`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers such as 5 or 4,3") from None


def lora(text: str) -> tuple[str, float, str | None]:
    """`FILE`, `FILE:0.8`, `high=FILE:0.8`: path, weight, and the expert if it is named."""
    expert, mark, rest = text.partition("=")
    if not mark or expert not in ("high", "low", "both"):
        expert, rest = "", text
    path, _, weight = rest.rpartition(":")
    try:
        return (path, float(weight), expert or None) if path else (rest, 1.0, expert or None)
    except ValueError:
        return rest, 1.0, expert or None  # a colon in the file's name


# What all who sample a public model are asked: flag -> arguments of `add_argument`.
SAMPLING: dict[str, dict[str, Any]] = {
    "--size": {
        "type": size,
        "metavar": "HxW",
        "help": "pixels, such as 480x832 (the model's, or the picture's aspect)",
    },
    "--frames": {"type": positive, "help": "4 n + 1 (81; TI2V: 121)"},
    "--fps": {"type": positive, "help": "of the video file (16; TI2V: 24)"},
    "--steps": {"type": positive, "help": "steps (the model's)"},
    "--shift": {"type": float, "help": "shift of the noise grid (the model's)"},
    "--solver": {"help": "unipc, euler, heun, dpmpp_2m, ab2, sde (the model's)"},
    "--grid": {"help": "noise grid: wan_unipc, wan_dpmpp, diffusers_unipc, diffusers_euler, shifted"},
    "--guidance": {"type": floats, "help": "scale, or HIGH,LOW of two experts; 1: none (the model's)"},
    "--negative": {"help": "the negative prompt (the model's)"},
}
SETTINGS = tuple(flag[2:] for flag in SAMPLING)  # options of `vrjax.models.pipeline.Pipeline.settings`
NETWORKS: dict[str, dict[str, Any]] = {
    "--lora": {
        "action": "append",
        "type": lora,
        "metavar": "[high=|low=|both=]FILE[:WEIGHT]",
        "help": "merge; repeatable",
    },
    "--dtype": {"help": "float32, bfloat16 (bfloat16; on CPU float32)"},
}


def explained(error: BaseException) -> str | None:
    """What a person can do something about, in one line; None for a fault of ours, whose traceback is to be seen."""
    text = str(error)
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and re.search(_MEMORY, text):
        where = "this machine" if isinstance(error, MemoryError) else "the device"
        return f"out of memory on {where}: smaller or fewer videos at once, --dtype bfloat16, or --mesh ({text:.200})"
    if isinstance(error, (RuntimeError, AssertionError)) and _starting(error):
        from vrjax.parallel.mesh import INSTALL

        asked = f"JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}: " if os.environ.get("JAX_PLATFORMS") else ""
        why = f" ({text:.200})" if text else ""
        return f"{asked}JAX finds no such device; {INSTALL}, or unset JAX_PLATFORMS to take what is there{why}"
    if not isinstance(error, _EXPECTED):
        return None
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(text.split()) or type(error).__name__


def _starting(error: BaseException) -> bool:
    """Whether JAX was looking for its devices."""
    frames = traceback.extract_tb(error.__traceback__)
    return (
        "Unable to initialize backend" in str(error) or bool(frames) and frames[-1].filename.endswith("xla_bridge.py")
    )


def fail(error: BaseException) -> NoReturn:
    """Prints the error in one line and exits with status 2."""
    print(f"vrjax: {explained(error) or type(error).__name__}", file=sys.stderr)
    raise SystemExit(2)
