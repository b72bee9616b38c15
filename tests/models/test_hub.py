"""Models by ids of the hub: what is read of a repository, what a cache lacks of it, downloads that are asked for."""

import fnmatch
import inspect
import pathlib
import shutil
import sys
import types

import huggingface_hub
import pytest
from huggingface_hub import errors

from tests.models import tiny_wan
from vrjax import cli
from vrjax.cli import common
from vrjax.files import hub
from vrjax.models import pipeline, wan
from vrjax.models.embedded import shipped
from vrjax.models.wan import folders
from vrjax.study import lab

ID = "Some-Lab/Tiny.Wan-1B"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
READER = hub.Reader(folders.reads, folders.lacks)
# What repositories hold beside a model: pictures, words, other formats and precisions of the same weights.
BESIDE = ("README.md", ".gitattributes", "assets/logo.png", "transformer/diffusion_pytorch_model.fp16.safetensors")
BESIDE += ("text_encoder/pytorch_model.bin", "unet.onnx", "examples/girl.png", "vae/vae.gguf")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of each layout."""
    home = tmp_path_factory.mktemp("models")
    index = tiny_wan.build(home / "one") / "model_index.json"
    index.write_text(index.read_text().replace("{", '{"scheduler": ["diffusers", "UniPCMultistepScheduler"], ', 1))
    return {
        "diffusers": home / "one",
        "two experts": wan.tiny(home / "two", experts=2),
        "Wan's own": tiny_wan.build_original(home / "own"),
        "Wan's own, two experts": tiny_wan.build_original(home / "pair", experts=2),
        "embedded": shipped.path("worlds"),
    }


@pytest.fixture
def cached(models, tmp_path, monkeypatch):
    """The hub's cache with one whole model in it, as huggingface_hub lays it out: files are links to blobs."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return laid_out(tmp_path / "hub", models["diffusers"], folders.reads(names(models["diffusers"])))


def laid_out(cache, source, files):
    home = cache / f"models--{ID.replace('/', '--')}"
    for number, file in enumerate(files):
        link, blob = home / "snapshots" / COMMIT / file, home / "blobs" / str(number)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, blob)
        link.symlink_to(blob)
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(COMMIT)
    return home / "snapshots" / COMMIT


@pytest.fixture
def online(models, tmp_path, monkeypatch):
    """A hub that holds one model and more files beside it; its calls must fit huggingface_hub's own signatures."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    source, told = models["diffusers"], types.SimpleNamespace(downloads=[])
    sizes = {name: (source / name).stat().st_size for name in names(source)} | dict.fromkeys(BESIDE, 7)
    about, fetch = huggingface_hub.HfApi.model_info, huggingface_hub.snapshot_download

    def model_info(self, *args, **options):
        asked = inspect.signature(about).bind(self, *args, **options).arguments
        if asked["repo_id"] != ID:
            response = types.SimpleNamespace(headers={}, request=None, status_code=404)
            raise errors.RepositoryNotFoundError("404", response=response)
        assert asked["files_metadata"]
        siblings = [types.SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        return types.SimpleNamespace(sha=COMMIT, siblings=siblings)

    def snapshot_download(*args, **options):
        asked = inspect.signature(fetch).bind(*args, **options).arguments
        assert asked["revision"] == COMMIT and asked["cache_dir"] == tmp_path / "hub"
        chosen = [name for name in sizes if any(fnmatch.fnmatch(name, p) for p in asked["allow_patterns"])]
        told.downloads.append(chosen)
        return str(laid_out(tmp_path / "hub", source, chosen))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    told.wanted, told.sizes = folders.reads(sizes), sizes
    return told


@pytest.mark.parametrize("layout", ["diffusers", "two experts", "Wan's own", "Wan's own, two experts", "embedded"])
def test_what_is_read_makes_a_folder_whole_and_nothing_less_does(layout, models, tmp_path):
    source = models[layout]
    read = folders.reads([*names(source), *BESIDE])
    assert read and not set(read) & set(BESIDE) and not any(name.endswith(".md") for name in read)
    pipeline.open(shutil.copytree(source, tmp_path / "whole", ignore=lambda at, _: unread(at, source, read)))
    assert folders.lacks(tmp_path / "whole") == []
    parts = (*folders.EXPERTS, "text_encoder")  # whose shapes tell what a config would
    named = {"model_index.json", "training.json", "config.json", *(f"{part}/config.json" for part in parts)}
    named |= set() if layout == "diffusers" else {folders.SCHEDULER}  # only one index names it
    for name in sorted(set(read) - named - optional(read)):
        file = tmp_path / "whole" / name
        file.rename(tmp_path / "aside")
        found = folders.lacks(tmp_path / "whole")
        (tmp_path / "aside").rename(file)
        assert len(found) == 1, (name, found)
        assert found[0].rpartition("/")[0] == name.rpartition("/")[0]


def unread(at, source, read):
    """Of one folder, what is not among the files that are read."""
    there = [path for path in pathlib.Path(at).iterdir() if path.is_file()]
    return [path.name for path in there if path.relative_to(source).as_posix() not in read]


def optional(read):
    """Files of a tokenizer beside the one that is read here; they go along for `vrjax convert`."""
    return {name for name in read if "token" in name and not name.endswith("/tokenizer.json")}


def test_parts_of_an_index_are_counted(models, tmp_path):
    root = shutil.copytree(models["diffusers"], tmp_path / "model")
    (root / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    files = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = root / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(f'{{"weight_map": {{"a": "{files[0]}", "b": "{files[1]}"}}}}')
    (root / "transformer" / files[0]).touch()
    assert folders.lacks(root) == [f"transformer/{files[1]}"]
    repository = [*names(root), f"transformer/{files[1]}", "transformer/other-00001-of-00001.safetensors"]
    read = [name for name in folders.reads(repository) if name.startswith("transformer/")]
    assert read == sorted(f"transformer/{name}" for name in ("config.json", index.name, *files))


def test_a_cache_is_found_by_an_id_and_by_its_folders(cached, tmp_path):
    ways = [ID, tmp_path / "hub" / ID, cached.parents[1], cached, pathlib.Path(ID)]
    assert [pipeline.open(way).folder.root for way in ways] == [cached] * len(ways)
    assert lab.load(ID).pipe.folder.root == common.model_folder(pathlib.Path(ID)) == cached
    (cached.parents[1] / "refs" / "main").unlink()
    assert folders.resolve(ID) == cached
    with pytest.raises(ValueError, match=rf"hub: a cache of 1 models; add the id of one to it: {ID}"):
        folders.resolve(tmp_path / "hub")
    shutil.copytree(cached, tmp_path / ID)  # a folder of that name wins
    assert pipeline.open(ID).folder.root == pathlib.Path(ID)


def test_offline_it_names_what_is_missing(cached, tmp_path, capsys):
    file = cached / "vae" / "model.safetensors"
    file.resolve().unlink()  # a link that leads nowhere
    with pytest.raises(FileNotFoundError, match=r"Tiny.*0123.* lacks vae/\S+; the hub is not asked: HF_HUB_OFFLINE is"):
        pipeline.open(ID)
    for way in (tmp_path / "hub" / ID, cached.parents[1]):
        with pytest.raises(FileNotFoundError, match="an unfinished download of Some-Lab/Tiny.Wan-1B, without vae/"):
            pipeline.open(way)
    with pytest.raises(SystemExit) as end:
        cli.main(["sample", "--model", "Other/Model", "--prompt", "a cat"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert "Other/Model: no such folder, and no whole copy" in said and "has nothing of it" in said


def test_nothing_is_downloaded_unasked(online, tmp_path, capsys, monkeypatch):
    total = sum(online.sizes[name] for name in online.wanted)
    said = rf"nothing downloaded \({len(online.wanted)} files, {total / 2**30:.2f} GiB.*--download.*download=True"
    with pytest.raises(ValueError, match=said):
        pipeline.open(ID)
    with pytest.raises(SystemExit) as end:
        cli.main(["sample", "--model", ID, "--prompt", "a cat"])
    shown = capsys.readouterr()
    assert end.value.code == 2 and shown.err.count("\n") == 1 and not online.downloads
    assert all(f"GiB  {name}" in shown.out for name in online.wanted) and "README" not in shown.out
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: "n")
    with pytest.raises(ValueError, match="nothing downloaded"):
        common.model_folder(pathlib.Path(ID))
    monkeypatch.setattr("builtins.input", lambda text: "y")
    assert common.model_folder(pathlib.Path(ID)).name == COMMIT
    assert [sorted(files) for files in online.downloads] == [online.wanted]
    pipeline.open(ID)  # whole now: the hub is not asked again
    assert len(online.downloads) == 1


def test_a_download_goes_on_and_needs_room(online, models, tmp_path, monkeypatch):
    there = [name for name in online.wanted if name.startswith("transformer/")]
    laid_out(tmp_path / "hub", models["diffusers"], there)
    offers = []
    with pytest.raises(ValueError, match="nothing downloaded"):
        folders.resolve(ID, allow=lambda offer: offers.append(offer))
    assert sorted(name for name, _ in offers[0].files) == sorted(set(online.wanted) - set(there))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=5))
    with pytest.raises(OSError, match=r"but 0\.00 GiB are free; set HF_HUB_CACHE"):
        folders.resolve(ID, allow=True)


def test_a_hub_that_does_not_answer(online, monkeypatch):
    with pytest.raises(FileNotFoundError, match="runs/wide: no such folder.*nor has the hub one that you may read"):
        pipeline.open("runs/wide", download=True)

    def model_info(*args, **options):
        raise RuntimeError("connection\nrefused")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    with pytest.raises(FileNotFoundError, match=r"the hub cannot be asked \(RuntimeError: connection refused\)"):
        pipeline.open(ID, download=True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"to ask the hub: pip install 'vrjax\[hub\]'"):
        pipeline.open(ID, download=True)


FOLDER = ["sample", "--prompt", "a cat", "--model"]
FETCHED = [
    ("there is no --model", ["eval"]),
    ("there is no --model", ["sample", "maze"]),
    ("--model {there} is on this machine", [*FOLDER, "{there}"]),
    ("--model {there} is on this machine", ["eval", "--model", "{there}"]),
    ("--model {there} is on this machine", ["losers", "clips", "--model", "{there}"]),
    ("--model {there} is on this machine", ["encode", "clips", "out", "--model", "{there}"]),
    ("--model worlds is no id OWNER/NAME", ["eval", "--model", "worlds"]),
    ("--model {hub}/Some-Lab/Tiny.Wan-1B is no id", [*FOLDER, "{hub}/Some-Lab/Tiny.Wan-1B"]),
    ("--model none/of/these is no id OWNER/NAME", [*FOLDER, "none/of/these"]),
]


@pytest.mark.parametrize(("said", "line"), FETCHED)
def test_download_is_said_of_an_id_alone(said, line, models, tmp_path, capsys):
    """A model that is here already is not fetched: the option would change nothing."""
    laid_out(tmp_path / "hub", models["diffusers"], ["model_index.json"])
    paths = {"there": models["diffusers"], "hub": tmp_path / "hub"}
    with pytest.raises(SystemExit) as end:
        cli.main([*(word.format(**paths) for word in line), "--download"])
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1 and "--download: " in told
    assert said.format(**paths) in told
