"""The short help of a config: the options that people use, with their values; `--help-all` is tyro's help of all."""

import argparse
import ast
import dataclasses
import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

WIDTH, MIDDLE = 100, 32


def text(config: Any, prog: str, about: str, add: Callable[[argparse.ArgumentParser], None]) -> str:
    """The help of a config's usual fields (its class's `USUAL`) and of the command's own options.

    Args:
        config: what the options would change; its values are shown behind them, as they are typed.
        prog: the command line so far.
        about: what the command does, of which the first paragraph is shown.
        add: adds the command's own options to a parser.
    """
    wide = min(shutil.get_terminal_size().columns, WIDTH)
    kind = lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=MIDDLE, width=wide)
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [OPTION VALUE ...]",
        description=textwrap.fill(about.partition("\n\n")[0], wide),
        epilog="Values are the config's. --help-all: every field, each an option. Several processes: see "
        f"{' '.join(prog.split()[:2])} --help.",
        formatter_class=kind,
        add_help=False,
    )
    for title, names in type(config).USUAL.items():
        group = parser.add_argument_group(title)
        for name, value, words in fields(config, names):
            shown = [" ".join(value) or "AXIS N ..."] if name == "mesh" else value
            words = textwrap.shorten(words, max(wide - MIDDLE, 20), placeholder=" ...")
            group.add_argument(flag(name), metavar=" ".join(shown).replace("%", "%%"), help=words.replace("%", "%%"))
    add(parser)
    return parser.format_help()


def fields(config: Any, names: tuple[str, ...]) -> Iterator[tuple[str, list[str], str]]:
    """Of those of the dotted names that a config has: the name, its value as words of a command line, what it means."""
    for name in names:
        of, *path = config, *name.split(".")
        for part in path[:-1]:
            of = getattr(of, part, None)
        if dataclasses.is_dataclass(of) and hasattr(of, path[-1]):
            yield name, typed(getattr(of, path[-1])), meaning(type(of), path[-1])


def flag(name: str) -> str:
    """The option of a field."""
    return "--" + name.replace("_", "-")


def typed(value: Any) -> list[str]:
    """A value as one types it."""
    if isinstance(value, dict):
        return [str(word) for pair in value.items() for word in pair]
    return [str(word) for word in value] if isinstance(value, (list, tuple)) else [str(value)]


def meaning(cls: Any, name: str) -> str:
    """The first clause of what stands behind a field, or under its name in the docstring of its class."""
    for base in cls.__mro__:
        if not dataclasses.is_dataclass(base) or name not in base.__annotations__:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for node, after in zip(body, body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    return clause(str(after.value.value))
        found = re.search(rf"^\s+{name}: (.*(?:\n\s{{8,}}.*)*)", base.__doc__ or "", re.MULTILINE)
        return clause(found[1]) if found else ""
    return ""


def clause(words: str) -> str:
    """Up to the first stop."""
    return re.split(r"[;.](?:\s|$)|, see ", " ".join(words.split()))[0]
