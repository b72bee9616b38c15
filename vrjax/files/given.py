"""Files as others give them: what lies there in place of what the name says, and text whoever saved it.

given.refuse("model/diffusion_pytorch_model.safetensors")   # "...: a Git LFS pointer stands in place of the file; ..."
captions = given.lines("train_data/prompt.txt")             # one a line, whatever separates words inside of a line
"""

import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

_MAX_TEXT = 1 << 27  # bytes; the index of a large model has some megabytes

# What a download, an archive or a file system leaves in a file's place: its first bytes, and what to say of it.
_STRANGERS = (
    (rb"version https://git-lfs", "a Git LFS pointer stands in place of the file; fetch it with git lfs pull"),
    (rb"(?i)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", "a web page stands in place of "
     "the file; download it again (it may need a login, or a licence that was accepted)"),
    (rb"\x00\x05\x16[\x00\x07]", "macOS's notes on another file (AppleDouble), not the file itself"),
    (rb"GGUF", "a GGUF file, whose weights are quantised in blocks; expected bfloat16, float32 or fp8 safetensors"),
    (rb"<Error>|<\?xml[^>]*>\s*<Error>", "an error that a server sent in place of the file; download it again"),
)  # fmt: skip

_OUTSIDE = re.compile(r"^([A-Za-z]:)?[/\\]|(^|[/\\])\.\.([/\\]|$)")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/")
_INDEX = re.compile(r"\.safetensors\.index(\.[\w-]+)?\.json$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|non_ema|ema)(?=\.(safetensors|json)$)")


def refuse(path: str | os.PathLike) -> None:
    """Nothing, where a file may be what its name says.

    Raises:
        FileNotFoundError: a link that leads nowhere. ValueError: an empty file, a pointer of Git LFS, a web page,
            AppleDouble notes or GGUF; names the file and says what it is.
    """
    path = pathlib.Path(path)
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path}: a link to {os.readlink(path)}, which is not there (an unfinished download?)")
    if not path.is_file():
        return
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise ValueError(f"{path}: the file is empty")
    for pattern, words in _STRANGERS:
        if re.match(pattern, head, re.DOTALL):
            raise ValueError(f"{path}: {words}")


def local(path: str | os.PathLike, what: str) -> None:
    """Nothing, where a path may be one of this machine.

    Raises:
        ValueError: an address (`gs://bucket/runs`, which pathlib would make the folder `gs:` here); says what of.
    """
    if found := _ADDRESS.match(os.fspath(path)):
        raise ValueError(
            f"{what} {path}: an address ({found[1]}:), expected a folder of a file system that every host mounts "
            "(buckets by gcsfuse or s3fs, NFS, Filestore); a model of the Hugging Face hub is OWNER/NAME"
        )


def outside(name: str) -> bool:
    """Whether a name inside of a file (an archive's member, a path in a list) leads out of where it belongs: absolute
    on any system, or up."""
    return _OUTSIDE.search(name) is not None


def hidden(path: pathlib.Path) -> bool:
    """Whether a name says that a file is no part of a folder's content: hidden ones, macOS's `._` beside each file."""
    return path.name.startswith(".")


def text(path: str | os.PathLike, *, limit: int = _MAX_TEXT) -> str:
    """A file of UTF-8 text, with or without a byte-order mark.

    Args:
        path: of the file.
        limit: most bytes that it may have.

    Raises:
        FileNotFoundError: none there. ValueError: it is longer, not UTF-8, or no text at all (`refuse`).
    """
    path = pathlib.Path(path)
    refuse(path)
    if (size := path.stat().st_size) > limit:
        raise ValueError(f"{path}: {size} bytes, expected at most {limit}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from None


def lines(path: str | os.PathLike) -> list[str]:
    """The lines of a text file without the spaces around them; the last one may lack its line break.

    A line ends where editors and shells end it. `str.splitlines` would also cut at U+2028, U+0085 and form feeds, which
    captions from the web hold, and every caption after would belong to another clip.
    """
    found = text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.strip() for line in (found if found[-1] else found[:-1])]


def weights(folder: pathlib.Path) -> pathlib.Path:
    """The weights in a folder: an index, else one file; a variant (`.fp16`) only where there is nothing plain.

    Raises:
        FileNotFoundError: none. ValueError: several, which are named.
    """
    try:
        return folder / chosen((file.name for file in folder.iterdir()), folder)
    except FileNotFoundError as error:
        inside = sorted({file.parent.name for file in folder.glob("*/*.safetensors") if not hidden(file)})
        raise FileNotFoundError(f"{error}; there is in {', '.join(inside)}" if inside else str(error)) from None


def chosen(names: Iterable[str], folder: Any) -> str:
    """Which of a folder's files `weights` is, by their names alone; raises as it does, with `folder` in the message."""
    there = sorted(name for name in names if not name.startswith("."))
    indexes = {name: _VARIANT.sub("", name) for name in there if _INDEX.search(name)}
    single = [name for name in there if name.endswith(".safetensors") and not _SHARD.search(name)]
    plain = [name for name in single if not (_VARIANT.search(name) and _VARIANT.sub("", name) in single)]
    whole = [name for name, bare in indexes.items() if name == bare]
    found = whole or [name for name in plain if not _VARIANT.search(name)] or list(indexes) or plain
    if not found:
        shards = [name for name in there if name.endswith(".safetensors")]
        why = f": {shards[0]} is a part, whose .index.json is missing" if shards else ""
        raise FileNotFoundError(f"{folder}: no *.safetensors file in this folder{why}")
    if len(found) > 1:
        raise ValueError(f"{folder}: {len(found)} candidates, expected one: {', '.join(found[:4])}")
    return found[0]


def parts(names: Iterable[str], index: str) -> list[str]:
    """The files whose names say that they are parts of an index (`m.safetensors.index.json`: `m-00001-of-00002…`)."""
    stem, variant = index.partition(".safetensors")[0], _VARIANT.search(index)
    stem += f".{variant[1]}" if variant else ""
    return sorted(name for name in names if _SHARD.search(name) and _SHARD.sub("", name) == stem)
