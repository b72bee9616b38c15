"""Awkward input of every kind from one seed, and what becomes of it: told in one line, or taken as it was meant.

    outcome = one("pictures", 17, bench)       # Outcome("refused" | "taken" | "traceback" | "silent", words)

What is *silent* (wrong without a word) is defined kind by kind:

| kind | a case | silent is |
| --- | --- | --- |
| commands | a command and 1 to 4 options of any value | an option that changes nothing; a file of a refused one |
| calls | `Pipeline.settings` and other Python doors | a setting that is not what was asked for |
| folders | a Wan folder with one JSON value or one file changed | a value read otherwise than it stands there |
| loras | a LoRA file of any style, sound or not | another difference than the formula's; a broken one taken |
| pictures | any mode, format, turn, opacity, damage | other pixels than composing and turning the array by hand |
| clips | lengths, codecs, turns, edit lists, cuts | other frames than the numbers painted into them |
| captions | lines of any characters | another count or text |

Nothing is compiled: where a command would start to compute (`STARTS`), it counts as taken.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import pathlib
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from tests.models import tiny_wan
from vrjax import cli, files
from vrjax.data import mp4
from vrjax.files import given, writing
from vrjax.models import pipeline, wan
from vrjax.models.wan import dit as dits
from vrjax.models.wan import umt5, vae

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # made-up folders may look like models' ids

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
TOLD = (ValueError, OSError, TypeError, ImportError, FloatingPointError)  # of Python's doors, with words in them


class Outcome(NamedTuple):
    """What became of a case: "refused", "taken", "traceback" or "silent"; and its words."""

    kind: str
    words: str


class Bench(NamedTuple):
    """What cases are made of: a folder of its own for each, and tiny models."""

    root: pathlib.Path
    model: pathlib.Path
    pair: pathlib.Path


class Taken(BaseException):
    """A command was about to compute; `what` decides its numbers."""

    def __init__(self, what: Any):
        self.what = what


def bench(root: pathlib.Path) -> Bench:
    """Tiny models in a folder."""
    os.environ["VRJAX_CACHE"] = str(root / "cache")
    pair = tiny_wan.build(root / "pair", "i2v", experts=2)
    model = tiny_wan.build(root / "model")
    for file in (*model.rglob("diffusion_pytorch_model.*s"), *pair.rglob("diffusion_pytorch_model.*s")):
        save_file(load_file(file), file)  # config.json counts, not the metadata of ours
    Image.new("RGB", (32, 16)).save(root / "a.png")
    return Bench(root, model, pair)


def one(kind: str, seed: int, on: Bench) -> Outcome:
    """The case of a kind and a seed."""
    rng = random.Random(f"{kind} {seed}")
    with tempfile.TemporaryDirectory(dir=on.root) as folder, contextlib.chdir(folder):
        try:
            return KINDS[kind](rng, on)
        except AssertionError as error:
            return Outcome("silent", str(error))


# ------------------------------------------------------------------------------------------------------------ commands

WORDS = [
    "",
    "0",
    "1",
    "2",
    "-1",
    "3",
    "7",
    "nan",
    "inf",
    "1e9",
    "x",
    "5,3",
    "16x32",
    "32x32",
    "0x0",
    "none",
    "all",
    "∞",
    "1-0",
    "0-2",
    "99999999999999999999",
    "2.5",
    "0.5",
    "euler",
    "sde",
    "maze",
    "a.png",
    "gone",
    ".",
    "1000,500",
    "float32",
    "\u2028",
    "test",
    "x0",
    "shifted",
    "lightx2v",
    "--",
    "{}",
    "null",
]
APART = {"--coordinator", "--distributed", "--processes", "--process", "--heartbeat", "--help", "--debug", "--root"}
NEUTRAL = {
    "--out",
    "--fresh",
    "--no-cache",
    "--together",
    "--root",
    "--dtype",
    "--json",
    "--mesh",
    "--verbose",
    "--tries",
}
FIELDS = {
    "--steps",
    "--seed",
    "--name",
    "--data.batch",
    "--data.split",
    "--optim.lr",
    "--optim.kind",
    "--model.dim",
    "--model.heads",
    "--accumulate",
    "--objective.shift",
    "--ema.decay",
    "--validate.every",
    "--mesh",
    "--start",
    "--data.cache",
    "--checkpoint.keep",
    "--optim.clip",
    "--dtype",
    "--data.mix",
    "--nonsense",
}


def lines(on: Bench) -> list[list[str]]:
    """Command lines that are sound, or nearly so."""
    small = ["--size", "16x32", "--frames", "5", "--steps", "2"]
    return [
        ["sample", "--model", str(on.model), "--prompt", "a", *small],
        ["sample", "--model", str(on.model), "--prompt", "a"],
        ["sample", "--model", str(on.pair), "--prompt", "a", "--image", str(on.root / "a.png"), *small],
        ["sample", "maze"],
        ["sample", "maze", "--model", "worlds"],
        ["eval", "--worlds", "maze"],
        ["eval", "--model", str(on.model)],
        ["train", str(CONFIGS / "chain_of_steps" / "smoke.py"), "--root", "."],
        ["train", str(CONFIGS / "realdpo" / "smoke.py"), "--root", "."],
        ["align", str(CONFIGS / "realdpo" / "smoke.py"), "--root", "."],
        ["learn", str(CONFIGS / "world_model" / "push.py"), "--root", "."],
        ["learn", str(CONFIGS / "chain_of_steps" / "smoke.py"), "--root", "."],
        ["encode", ".", "out", "--model", str(on.model), "--frames", "5", "--size", "16x32"],
        ["losers", ".", "--model", str(on.model), "--frames", "5", "--size", "16x32"],
        ["convert", str(on.model / "transformer"), "out", "--layout", "wan"],
        ["claims", "."],
        ["claims", str(CONFIGS)],
        ["preview", "maze", "--seeds", "0"],
        ["plan", str(CONFIGS / "chain_of_steps" / "worlds.py"), "--topology", "v5e:2x2"],
    ]


def options(command: str) -> list[argparse.Action]:
    """A command's options, as its parser has them."""
    (commands,) = [a for a in cli.build()._actions if isinstance(a, argparse._SubParsersAction)]
    return [a for a in commands.choices[command]._actions if a.option_strings and not APART & set(a.option_strings)]


def command_line(rng: random.Random, on: Bench) -> tuple[list[str], list[list[str]]]:
    """A line, and the options that were added to it."""
    line = list(rng.choice(lines(on)))
    flags: list[tuple[str, bool]] = [(a.option_strings[0], a.nargs == 0) for a in options(line[0])]
    if line[0] in ("train", "align", "learn", "plan"):
        flags += [(name, False) for name in sorted(FIELDS)]
    added = []
    for flag, bare in rng.sample(flags, min(len(flags), rng.choice((0, 1, 1, 2, 2, 3, 4)))):
        added.append([flag] if bare else [flag, *rng.choices(WORDS, k=rng.choice((1, 1, 1, 1, 2)))])
    if rng.random() < 0.08:  # a word too much, too few, or another
        line[rng.randrange(len(line))] = rng.choice(WORDS)
    return line, added


@contextlib.contextmanager
def starts() -> Iterator[None]:
    """Where commands would begin to compute, they are taken."""

    def taken(*args: Any, **options: Any) -> Any:
        raise Taken(None)

    class Run:
        def __init__(self, folder: Any, config: Any, **_: Any):
            raise Taken(config if isinstance(config, dict) else writing.to_dict(config))

    with contextlib.ExitStack() as held:
        for place in (
            "train.evaluate.Evaluator.rates",
            "models.wan.umt5.encode",
            "models.wan.load_vae",
            "plan.slices.make",
            "plan.single.account",
            "train.loop.Loop",
        ):
            held.enter_context(mock.patch(f"vrjax.{place}", taken))
        held.enter_context(mock.patch("vrjax.files.writing.Run", Run))
        yield


def call(argv: list[str]) -> tuple[int | str, str, Any]:
    """Exit status or the kind of a traceback, what was said, and what a command that was taken would compute."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said), starts():
            cli.main(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0, said.getvalue(), None
    except Taken as taken:
        return 0, said.getvalue(), taken.what
    except BaseException as error:
        return f"{type(error).__name__}: {error}", said.getvalue(), None
    return 0, said.getvalue(), None


def commands(rng: random.Random, on: Bench) -> Outcome:
    line, added = command_line(rng, on)
    argv = [*line, *itertools.chain(*added)]
    status, said, what = call(argv)
    shown = " ".join(argv).replace(str(on.root), "")
    if isinstance(status, str) or "Traceback" in said:
        return Outcome("traceback", f"{shown}: {status}")
    assert status in (0, 2) or line[0] == "plan", f"{shown}: status {status}"
    left = [str(p) for p in pathlib.Path().rglob("*") if p.is_file() and not p.name.startswith(".")]
    if status:
        assert not left, f"{shown}: refused, but wrote {left}"
        assert said.strip(), f"{shown}: refused without a word"
        if said.startswith("vrjax: "):
            assert said.count("\n") == 1, f"{shown}: {said}"
        return Outcome("refused", said.strip().splitlines()[-1])
    for i, option in enumerate(added) if what else ():
        others = [*line, *itertools.chain(*added[:i], *added[i + 1 :])]
        if option[0] in NEUTRAL or call(others)[2] != what:
            continue
        # It may have asked for what is so anyway: then another value changes something, or is refused.
        rest = [[*others, option[0], *other] for other in (["4"], ["5"], ["0.25"], ["0-1"], ["b"], ["train"])]
        found = [call(other) for other in rest] if len(option) > 1 else []
        assert any(status != 0 or other != what for status, _, other in found), f"{shown}: {option} changes nothing"
    return Outcome("taken", shown)


# --------------------------------------------------------------------------------------------------------------- calls

VALUES = [
    None,
    0,
    1,
    2,
    5,
    9,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    True,
    "x",
    "",
    "5",
    (5, 3),
    [4, 3],
    (16, 32),
    [16, 32],
    (0, 0),
    (16.0, 32.0),
    [],
    (),
    {},
    "euler",
    "sde",
    "shifted",
    10**30,
    np.float32(3),
    np.int64(5),
    b"x",
    object(),
    (1000.0, 500.0),
    "a\u2028b",
]
ASKED = ("steps", "shift", "guidance", "size", "frames", "fps", "negative", "solver", "grid", "times", "picture")


def calls(rng: random.Random, on: Bench) -> Outcome:
    doors: list[tuple[str, Callable[..., Any], tuple[str, ...]]] = [
        ("settings", pipeline.open(rng.choice((on.model, on.pair))).settings, ASKED),
        ("WanConfig", wan.WanConfig, ("dim", "heads", "layers", "patch", "freq_dim", "eps", "remat", "image_dim")),
        ("Tokenizer", umt5.Tokenizer, ("path", "length")),
        ("load_lora", wan.load_lora, ("path", "alpha", "expert")),
        ("read_image", files.read_image, ("path",)),
        ("decode", mp4.decode, ("path", "max_frames")),
        ("open", pipeline.open, ("folder", "dtype", "loras")),
    ]
    name, door, names = doors[0] if rng.random() < 0.6 else rng.choice(doors[1:])
    few = dict(zip(rng.sample(names, min(len(names), rng.randint(1, 3))), rng.choices(VALUES, k=3), strict=False))
    shown = f"{name}({few})"
    try:
        found = door(**few)
    except TOLD as error:
        return Outcome("refused", f"{shown}: {error}") if str(error) else Outcome("traceback", f"{shown}: no words")
    except Exception as error:
        return Outcome("traceback", f"{shown}: {type(error).__name__}: {error}")
    for asked, value in few.items() if name == "settings" else ():
        got = getattr(found, asked, None)
        if asked == "picture" or value is None:
            continue
        if asked == "guidance":
            value = (value,) * len(got) if np.ndim(value) == 0 else value
        same = (
            got == value
            if isinstance(value, str)
            else np.allclose(np.asarray(got), np.asarray(value, float), rtol=1e-12)
        )
        assert same, f"{shown}: {asked} is {got!r}"
    return Outcome("taken", shown)


# ------------------------------------------------------------------------------------------------------------- folders

JUNK = [None, "2", "", -1, 0, 1, 3, 2.0, 1e400, True, False, [], {}, [1, 2, 2], "x", [None], "1e-6", 1e-6, ["a"]]
READ = {  # names in a config.json -> what the folder then is
    "transformer/config.json": {
        "num_attention_heads": "heads",
        "num_layers": "layers",
        "ffn_dim": "ffn_dim",
        "eps": "eps",
        "in_channels": "in_channels",
        "out_channels": "out_channels",
        "text_dim": "text_dim",
        "freq_dim": "freq_dim",
        "cross_attn_norm": "cross_norm",
        "patch_size": "patch",
        "_class_name": None,
        "attention_head_dim": "head_dim",
    },
    "model_index.json": dict.fromkeys(
        ("_class_name", "transformer", "transformer_2", "boundary_ratio", "expand_timesteps")
    ),
    "scheduler/scheduler_config.json": dict.fromkeys(("_class_name", "flow_shift", "solver_order", "use_flow_sigmas")),
    "vae/config.json": {
        "z_dim": "latent_channels",
        "dim_mult": "multipliers",
        "num_res_blocks": "blocks",
        "latents_mean": "mean",
        "base_dim": "dim",
        "_class_name": None,
        "temperal_downsample": "temporal",
    },
}
IN_PLACE = [
    b"",
    b"version https://git-lfs.github.com/spec/v1\noid",
    b"<!DOCTYPE html><html>",
    b"GGUF" + bytes(99),
    b"{}",
    b"\0\5\x16\7" + bytes(60),
    b"\xff" * 99,
    b"null",
    b"[]",
    b"\xef\xbb\xbf{}",
    b"PK\3\4",
]


def _linked(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    shutil.copytree(source, target, copy_function=os.link)
    return target


def folders(rng: random.Random, on: Bench) -> Outcome:
    root = _linked(rng.choice((on.model, on.model, on.pair)), pathlib.Path("m"))
    plain = pipeline.open(root)
    before = plain.settings(), plain.folder.cfg, plain.vae_config
    changed: tuple[str, str, Any] | None = None
    if rng.random() < 0.7:
        name = rng.choice(sorted(READ))
        key, file = rng.choice(sorted(READ[name])), root / name
        stood = json.loads(file.read_text())
        value = rng.choice(JUNK)
        new = {**stood, key: value}
        if rng.random() < 0.15:
            del new[key]
        changed = (name, key, new.get(key, "gone"))
        same = stood.get(key) == new.get(key) and isinstance(stood.get(key), bool) == isinstance(new.get(key), bool)
        file.unlink()
        file.write_text(json.dumps(new))
    else:
        file = rng.choice(sorted(p for p in root.rglob("*") if p.is_file()))
        data, same = file.read_bytes(), False
        file.unlink()
        cut = data[: rng.randrange(len(data))]
        match rng.randrange(4):
            case 0:
                file.symlink_to("/nowhere/blob")
            case 1:
                pass
            case 2:
                file.write_bytes(rng.choice([*IN_PLACE, cut]))
            case _:  # beside it: nothing changes
                file.write_bytes(data)
                file.with_name(f"._{file.name}").write_bytes(IN_PLACE[5])
                same = True
        changed = (str(file.relative_to(root)), "", None)
    try:
        found = pipeline.open(root)
        after = found.settings(), found.folder.cfg, found.vae_config
        umt5.Tokenizer(found.folder.root)
        found.folder.parts["text_encoder"]
        umt5.NETWORK.open(files.tensors.read(found.folder.parts["text_encoder"])).check()
        vae.NETWORK.open(files.tensors.read(found.folder.parts["vae"])).check()
    except TOLD as error:
        assert not same or type(changed[2]) is float, f"{changed}: {error}"
        return Outcome("refused", f"{changed}: {error}")
    except Exception as error:
        return Outcome("traceback", f"{changed}: {type(error).__name__}: {error}")
    name, key, value = changed
    of = READ.get(name, {}).get(key)
    if of and value != "gone":
        got = getattr(after[1] if name.startswith("tr") else after[2], of)
        assert got == (tuple(value) if isinstance(value, list) else value), f"{changed}: read as {got!r}"
    elif not same and key and after == before:
        assert value in ("gone", None, False, []) or (name, key) in UNREAD, f"{changed}: nothing follows from it"
    return Outcome("taken", str(changed))


UNREAD: set[tuple[str, str]] = {("scheduler/scheduler_config.json", "use_flow_sigmas")}


# --------------------------------------------------------------------------------------------------------------- loras

CFG = dits.WanConfig(dim=12, ffn_dim=20, heads=1, layers=2, in_channels=3, out_channels=2, text_dim=5, freq_dim=8)
MODULES = {  # original, diffusers -> our kernel, (in, out)
    ("self_attn.q", "attn1.to_q"): ("self_attn.q", (12, 12)),
    ("cross_attn.o", "attn2.to_out.0"): ("cross_attn.o", (12, 12)),
    ("ffn.0", "ffn.net.0.proj"): ("ffn_in", (12, 20)),
    ("ffn.2", "ffn.net.2"): ("ffn_out", (20, 12)),
}
STARTS = [
    "",
    "transformer.",
    "transformer_2.",
    "diffusion_model.",
    "model.diffusion_model.",
    "lora_unet_",
    "pipe.dit.",
    "lora_unet__",
    "lora_transformer_",
    "base_model.model.",
    "pipe.dit2.",
    "lora_transformer_2_",
]
ENDS = [
    ("lora_A.weight", "lora_B.weight"),
    ("lora_down.weight", "lora_up.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
    ("lora.down.weight", "lora.up.weight"),
]


def loras(rng: random.Random, on: Bench) -> Outcome:
    draw = np.random.default_rng(rng.randrange(2**31))
    start, (down, up) = rng.choice(STARTS), rng.choice(ENDS)
    flat = start.startswith("lora_") and rng.random() < 0.7
    rank, alpha = rng.randint(1, 4), rng.choice((None, 1.0, 2.5, 16))
    arrays: dict[str, np.ndarray] = {}
    expected: dict[tuple[str, int], np.ndarray] = {}
    for names, (ours, (n_in, n_out)) in rng.sample(sorted(MODULES.items()), rng.randint(1, 4)):
        block = rng.randrange(2)
        module = f"blocks.{block}.{rng.choice(names)}"
        key = start + (module.replace(".", "_") if flat else module)
        a, b = draw.standard_normal((rank, n_in)), draw.standard_normal((n_out, rank))
        arrays |= {f"{key}.{down}": a.astype(np.float32), f"{key}.{up}": b.astype(np.float32)}
        if alpha is not None:
            arrays[f"{key}.alpha"] = np.array(alpha, np.float32)
        expected[f"blocks.{ours}.kernel", block] = (1 if alpha is None else alpha / rank) * (b @ a).T
    spoil = rng.choice(
        (None, None, None, "half", "nan", "shape", "name", "dora", "int8", "block", "empty", "cut", "inf")
    )
    key = rng.choice(sorted(k for k in arrays if not k.endswith("alpha")))
    stem = key.removesuffix(f".{down}").removesuffix(f".{up}")
    match spoil:
        case "half":
            del arrays[key]
        case "nan" | "inf":
            arrays[key].flat[rng.randrange(arrays[key].size)] = float(spoil)
        case "shape":
            arrays[key] = np.concatenate([arrays[key]] * 2, axis=rng.randrange(2))
        case "name":
            arrays[key.replace("attn", "attm").replace("ffn", "fnn")] = arrays.pop(key)
        case "dora":
            arrays[f"{stem}.dora_scale"] = np.ones((12, 1), np.float32)
        case "int8":
            arrays[key] = arrays[key].astype(np.int8)
        case "block":
            arrays[key.replace("0", "7").replace("blocks.1", "blocks.7").replace("blocks_1", "blocks_7")] = arrays.pop(
                key
            )
        case "empty":
            arrays = {}
    file = pathlib.Path(rng.choice(("a", "low poly", "x_high_noise")) + ".safetensors")
    save_file(arrays, file)
    if spoil == "cut":
        file.write_bytes(file.read_bytes()[: -rng.randint(1, 40)])
    shown = f"{key}, {spoil}"
    try:
        found = wan.load_lora(file)
        adapter = found.adapter(CFG)
    except TOLD as error:
        assert spoil is not None, f"{shown}: {error}"
        return Outcome("refused", f"{shown}: {error}")
    except Exception as error:
        return Outcome("traceback", f"{shown}: {type(error).__name__}: {error}")
    assert spoil is None, f"{shown}: taken"
    got = {place: np.asarray(adapter[place[0]]["a"][place[1]] @ adapter[place[0]]["b"][place[1]]) for place in expected}
    for place, change in expected.items():
        assert np.allclose(got[place], change, rtol=1e-3, atol=1e-4), f"{shown}: {place}"
    return Outcome("taken", shown)


# ------------------------------------------------------------------------------------------------- pictures and clips

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF's numbers, as the standard draws them
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def pictures(rng: random.Random, on: Bench) -> Outcome:
    draw = np.random.default_rng(rng.randrange(2**31))
    h, w = rng.randint(1, 20), rng.randint(1, 20)
    mode, turn = rng.choice(("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "F")), rng.choice((1, 1, *TURNS))
    shape = {"RGB": (h, w, 3), "RGBA": (h, w, 4), "LA": (h, w, 2)}.get(mode, (h, w))
    array = draw.integers(0, 256, shape, np.uint8)
    match mode:
        case "I;16":
            array = draw.integers(0, 65536, shape, np.uint16)
            picture, rgb = Image.fromarray(array), np.rint(array / 65535 * 255)[..., None].repeat(3, -1)
        case "F":
            picture, rgb = Image.fromarray(array.astype(np.float32)), None
        case "1":
            picture, rgb = Image.fromarray(array > 127), 255.0 * (array > 127)[..., None].repeat(3, -1)
        case "P":
            picture = Image.fromarray(array % 4).convert("P")
            table = draw.integers(0, 256, (256, 3), np.uint8)
            picture.putpalette(table.tobytes())
            rgb = table[np.asarray(picture)].astype(float)
        case "RGBA" | "LA":
            picture, alpha = Image.fromarray(array, mode), array[..., -1:] / 255
            rgb = (array[..., :-1] * alpha + 255 * (1 - alpha)) * np.ones(3)
        case _:
            picture, rgb = (
                Image.fromarray(array),
                array.astype(float) if array.ndim == 3 else array[..., None] * np.ones(3),
            )
    path = pathlib.Path(
        rng.choice(("a.png", "a.tiff") if mode == "I;16" else ("a.tiff",) if mode == "F" else ("a.png",))
    )
    exif = picture.getexif()
    exif[0x0112] = turn
    picture.save(path, exif=exif)
    data, spoil = path.read_bytes(), rng.choice((None, None, "cut", "flip", "place"))
    if spoil == "cut":
        path.write_bytes(data[: rng.randrange(len(data))])
    elif spoil == "flip":
        at = rng.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
    elif spoil == "place":
        path.write_bytes(rng.choice(IN_PLACE))
    shown = f"{mode} {h}x{w} turned {turn} {path.suffix} {spoil}"
    try:
        found = files.read_image(path)
    except TOLD as error:
        assert spoil or rgb is None, f"{shown}: {error}"
        return Outcome("refused", f"{shown}: {error}")
    except Exception as error:
        return Outcome("traceback", f"{shown}: {type(error).__name__}: {error}")
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[-1] == 3, shown
    if spoil is None:
        assert rgb is not None, f"{shown}: taken"
        expected = TURNS[turn](rgb)
        assert found.shape == expected.shape and np.abs(found - expected).max() <= 1, f"{shown}: other pixels"
    assert spoil != "place", f"{shown}: taken"
    return Outcome("taken", shown)


def clips(rng: random.Random, on: Bench) -> Outcome:
    t, h, w = rng.randint(1, 20), 16 * rng.randint(1, 3), 16 * rng.randint(1, 3)
    codec = rng.choice(sorted({"mpeg4", mp4.PLAYED}))
    grey = np.linspace(0, 240, t).round().astype(np.uint8)
    film = np.broadcast_to(grey[:, None, None, None], (t, h, w, 3)).copy()
    film[:, : h // 2, : w // 2] = (255, 0, 0)  # a corner, to see turns by
    path = pathlib.Path("a.mp4")
    mp4.encode(path, film, fps=16, codec=codec)
    data = bytearray(path.read_bytes())
    first, turn = 0, rng.choice((0, 0, 90, 180, 270))
    if rng.random() < 0.4 and t > 2:
        first = rng.randrange(1, t - 1)
        at, clock = data.find(b"elst") + 12, data.find(b"mdhd") + 16
        length, start = struct.unpack(">Ii", data[at : at + 8])
        later = start + first * struct.unpack(">I", data[clock : clock + 4])[0] // 16
        data[at : at + 8] = struct.pack(">Ii", length * (t - first) // t, later)
    at, cosine, sine = data.find(b"tkhd") + 44, *{0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    data[at : at + 20] = struct.pack(">5i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16)
    spoil = rng.choice((None, None, None, "cut", "flip", "place"))
    if spoil == "cut":
        data = data[: rng.randrange(len(data))]
    elif spoil == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif spoil == "place":
        data = bytearray(rng.choice(IN_PLACE))
    path.write_bytes(data)
    shown = f"{t} frames {h}x{w} {codec} from {first} turned {turn} {spoil}"
    try:
        found, count, _ = mp4.decode(path)
    except TOLD as error:
        assert spoil, f"{shown}: {error}"
        return Outcome("refused", f"{shown}: {error}")
    except Exception as error:
        return Outcome("traceback", f"{shown}: {type(error).__name__}: {error}")
    assert spoil != "place", f"{shown}: taken"
    if spoil in (None, "cut"):  # a cut may fall behind the last frame
        expected = np.rot90(film[first:], -turn // 90, axes=(1, 2))
        assert count == len(found) == t - first and found.shape == expected.shape, f"{shown}: {found.shape}"
        far = np.abs(found.astype(int) - expected).mean((1, 2, 3))
        assert far.max() < 12, f"{shown}: frames differ by {far.max():.0f}"
    return Outcome("taken", shown)


def captions(rng: random.Random, on: Bench) -> Outcome:
    letters = "ab ü漢\u2028\u2029\x85\x0b\x0c\x1c\x1e\ufeff\u200b\t'\"{}"
    said = ["".join(rng.choices(letters, k=rng.randint(1, 12))) + "x" for _ in range(rng.randint(1, 6))]
    said = [f"x{line}" for line in said]
    end = rng.choice(("\n", "\r\n", "\r"))
    text = rng.choice(("", "\ufeff")) + end.join(said) + rng.choice(("", end))
    codec = rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1"))
    with contextlib.suppress(UnicodeEncodeError):
        pathlib.Path("a.txt").write_bytes(text.encode(codec))
        try:
            found = given.lines("a.txt")
        except ValueError as error:
            assert codec != "utf-8", f"{text!r}: {error}"
            return Outcome("refused", str(error))
        assert codec != "utf-16" and (found == said or codec == "latin-1" and text.isascii()), f"{text!r}: {found}"
    return Outcome("taken", repr(text))


KINDS: dict[str, Callable[[random.Random, Bench], Outcome]] = {
    "commands": commands,
    "calls": calls,
    "folders": folders,
    "loras": loras,
    "pictures": pictures,
    "clips": clips,
    "captions": captions,
}
