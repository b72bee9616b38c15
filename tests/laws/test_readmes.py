"""What READMEs tell people to type: every command parses as it stands there, and the door's example runs."""

import argparse
import importlib
import importlib.util
import pathlib
import re
import shlex
import sys

import pytest

from vrjax import cli
from vrjax.cli import common
from vrjax.train import config as configs

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    page
    for room in (ROOT, ROOT / "vrjax", ROOT / "experiments")
    for page in ([room / "README.md"] if room == ROOT else room.rglob("README.md"))
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
OURS = re.compile(r"(?:\.venv/bin/)?(?:vrjax|python3? -m (?:vrjax|experiments)\S*)(?: |$)")


class Parsed(Exception):
    """The words were understood; nothing is to be done."""


def commands(text):
    """The lines of command blocks that are ours: indented by four spaces, or fenced as bash."""
    fenced = [body for kind, body in FENCED.findall(text) if kind in ("bash", "console", "")]
    rest = FENCED.sub("", text)
    indented = re.findall(r"(?:^\n)((?:^    .*\n)+)", rest, re.M)
    lines = [line.strip() for block in [*fenced, *indented] for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if OURS.match(line)]


LINES = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page.read_text("utf-8"))]


@pytest.mark.parametrize("page, line", LINES, ids=[f"{page}: {line[:60]}" for page, line in LINES])
def test_a_command_parses_as_it_stands(page, line, monkeypatch):
    words = shlex.split(line, comments=True)

    def understood(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Parsed

    if pathlib.Path(words[0]).name == "vrjax":
        args, rest = cli._parse(cli.build(), words[1:])
        if (config := str(getattr(args, "config", "CONFIG"))) != "CONFIG":
            kind = importlib.import_module(f"vrjax.{args.room}.loop").Config
            found = configs.load(ROOT / config, kind)
            common.overridden(type(found), found, rest)
        return
    package, argv = words[2], words[3:]
    if package.startswith("vrjax"):
        assert importlib.util.find_spec(package)
        return
    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", understood)
    monkeypatch.setattr(sys, "argv", [package, *argv])
    whole = importlib.util.find_spec(package)
    assert whole is not None
    with pytest.raises(Parsed):
        importlib.import_module(package + (".__main__" if whole.submodule_search_locations else "")).main(argv)


def test_the_door_has_its_commands_and_its_size():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.encode()) <= 9_000 and len(text.splitlines()) <= 150
    assert {line.split()[1] for line in commands(text) if line.startswith("vrjax")} >= {"preview", "sample", "train"}


def test_the_example_of_the_door_ends_in_a_picture(tmp_path, monkeypatch):
    (code,) = [body for kind, body in FENCED.findall((ROOT / "README.md").read_text("utf-8")) if kind == "python"]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "maze.png").stat().st_size > 5_000
