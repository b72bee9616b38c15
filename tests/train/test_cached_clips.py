"""Encoded clips: what is stored, that nothing is encoded twice, and VBVR's LoRA recipe from a tree to adapters."""

import dataclasses
import json
import runpy

import jax
import numpy as np
import pytest

from tests.models import tiny_wan
from vrjax import tasks
from vrjax.cli import main
from vrjax.data import batches, latents, vbvr
from vrjax.models import pipeline, wan
from vrjax.models.wan import lora_files, vae
from vrjax.train import loop, objectives
from vrjax.train.config import Checkpoint, Data, TrainConfig

FRAMES, SIZE = 5, (16, 16)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tree of three clips, and a tiny image-to-video pair of experts."""
    root = tmp_path_factory.mktemp("cached")
    for i in range(3):
        clip = tasks.get("maze").make(i, split="train")
        vbvr.write(clip, vbvr.sample_folder(root / "data", "maze", i, generator="G-1_maze"), upscale=1)
    return root, tiny_wan.build(root / "model", "i2v", experts=2)


@pytest.fixture(scope="module")
def cache(place):
    root, model = place
    pipe = pipeline.open(model, cache=root / "text")
    latents.encode(
        pipe, root / "data", root / "cache", frames=FRAMES, size=SIZE, dtype="float32", say=lambda line: None
    )
    return root / "cache"


def test_what_is_stored(place, cache):
    """The model's own latents, padded text and picture conditions, clip by clip."""
    root, model = place
    pipe = pipeline.open(model, cache=root / "text")
    rows = latents.Cached(cache, text_len=16)
    assert len(rows) == 3 and len(list((cache / "latents").iterdir())) == 3
    for i, clip in enumerate(vbvr.read(root / "data", max_frames=FRAMES, size=SIZE)):
        wanted = np.asarray(pipe.vae.encode(np.asarray(clip.video)))
        row = rows[i]
        assert row["latent"].shape == (2, 2, 2, 2) and row["image"].shape == (2, 2, 2, 2 + 4)
        np.testing.assert_allclose(row["latent"], wanted, atol=1e-5)
        np.testing.assert_allclose(row["text"], pipe.text([clip.prompt])[0], atol=1e-6)
        full = next(iter(vbvr.read(root / "data" / "G-1_maze_data-generator" / "maze_task" / f"maze_{i:08d}")))
        picture = np.round((np.asarray(full.first_frame) + 1) * 127.5).astype(np.uint8)
        given = pipe.conditions(picture, frames=FRAMES, size=SIZE).image.channels
        np.testing.assert_allclose(row["image"], given, atol=1e-5)
    assert {tuple(row["image"][0, 0, 0, :4]) for row in (rows[0], rows[2])} == {(1.0,) * 4}


def test_nothing_is_encoded_twice(place, tmp_path, monkeypatch):
    """A short clip holds its end; a second call encodes nothing; another size is another key; a copy is the same."""
    root, model = place
    pipe = pipeline.open(model, cache=root / "text")
    lines: list[str] = []
    quick = {"size": SIZE, "dtype": "bfloat16", "say": lines.append}
    latents.encode(pipe, root / "data", tmp_path / "a", frames=13, limit=1, **quick)
    first = latents.Cached(tmp_path / "a", text_len=16)[0]["latent"]
    short = np.asarray(next(iter(vbvr.read(root / "data", size=SIZE))).video)
    held = np.concatenate([short, np.repeat(short[-1:], 13 - len(short), axis=0)])
    assert len(short) < 13 and first.shape[0] == 4
    np.testing.assert_allclose(first, pipe.vae.encode(held), rtol=1e-2, atol=1e-2)
    made: list[int] = []
    encode = vae.WanVAE.encode
    monkeypatch.setattr(vae.WanVAE, "encode", lambda self, *a, **k: made.append(1) or encode(self, *a, **k))
    again = pipeline.open(model, cache=root / "text")
    latents.encode(again, root / "data", tmp_path / "a", frames=13, limit=1, **quick)
    assert not made and "1 clips" in lines[-1] and "0 encoded" in lines[-1]
    latents.encode(again, root / "data", tmp_path / "a", frames=9, limit=1, **quick)
    assert made and len(list((tmp_path / "a" / "latents").iterdir())) == 2
    index = json.loads((tmp_path / "a" / latents.INDEX).read_text())
    assert index["made"]["frames"] == 9 and len(index["clips"]) == 1


def test_the_stream(cache):
    """Every clip once per epoch, other orders in other epochs, rows of processes, and a state that goes on."""
    rows = latents.Cached(cache, text_len=16)
    first = [rows[i]["latent"].tobytes() for i in range(3)]
    stream = batches.pipeline(batches.Shuffled(rows, 1, "clips"), batch=3)
    epochs = [next(stream)["latent"] for _ in range(6)]
    orders = [tuple(first.index(row.tobytes()) for row in batch) for batch in epochs]
    assert all(sorted(order) == [0, 1, 2] for order in orders) and len(set(orders)) > 1
    part = batches.pipeline(batches.Shuffled(rows, 1, "clips"), batch=3, rows=(1,))
    assert [tuple(first.index(row.tobytes()) for row in next(part)["latent"]) for _ in range(3)] == [
        order[1:2] for order in orders[:3]
    ]
    state = stream.get_state()
    following = next(stream)["latent"]
    other = batches.pipeline(batches.Shuffled(rows, 1, "clips"), batch=3)
    other.set_state(json.loads(json.dumps(state)) if isinstance(state, dict) else state)
    np.testing.assert_array_equal(next(other)["latent"], following)


def test_mistakes(place, cache, tmp_path):
    root, model = place
    with pytest.raises(FileNotFoundError, match="clips.json: missing, encode clips first"):
        latents.Cached(tmp_path, text_len=16)
    with pytest.raises(ValueError, match="rows of text, the model 1"):
        latents.Cached(cache, text_len=1)[0]
    text = (cache / latents.INDEX).read_text()
    for wrong in ("[]", '{"clips": 3}', text.replace('"schema": 1', '"schema": 9')):
        (tmp_path / latents.INDEX).write_text(wrong)
        with pytest.raises(ValueError, match="clips.json"):
            latents.Cached(tmp_path, text_len=16)
    (tmp_path / latents.INDEX).write_text(text)
    with pytest.raises(FileNotFoundError, match=r"latents/[0-9a-f]{64}.safetensors: missing"):
        latents.Cached(tmp_path, text_len=16)
    pipe = pipeline.open(model)
    with pytest.raises(ValueError, match="frames"):
        latents.encode(pipe, root / "data", tmp_path / "x", frames=6, size=SIZE)
    good = {"name": "a", "model": tiny_wan.config("i2v"), "steps": 1, "data": Data(cache=str(cache), batch=1)}
    with pytest.raises(ValueError, match="encoded clips have no verifier"):
        TrainConfig(**good)
    recipe = runpy.run_path("configs/vbvr/lora.py")["config"]()
    with pytest.raises(ValueError, match="needs 0 <= low < high <= 1, found 0.9 and 0.5"):
        dataclasses.replace(recipe, objective=dataclasses.replace(recipe.objective, low=0.9, high=0.5))
    other = dataclasses.replace(recipe, model=tiny_wan.config("t2v"), data=Data(cache=str(cache), batch=1), mesh={})
    with pytest.raises(
        ValueError, match="channels of its clips are .*'image': 6.* the config's model has .*'image': 0"
    ):
        loop.batches(other, (0,))


def test_experts_levels():
    """The published part of the unshifted levels is the boundary of 0.9 after the shift; the two parts meet there."""
    recipe = runpy.run_path("configs/vbvr/lora.py")["config"]()
    spec = recipe.objective
    draw = lambda low, high: np.asarray(
        objectives.sample_sigmas(jax.random.key(0), 1000, kind=spec.times, shift=spec.shift, low=low, high=high)
    )
    upper, lower = draw(spec.low, spec.high), draw(0.0, 0.642)
    assert 0.8996 < upper.min() < 0.9005 and upper.max() > 0.999
    assert lower.max() < 0.8997 and lower.min() < 0.01 and lower.max() > 0.895
    unshifted = upper / (spec.shift - (spec.shift - 1) * upper)
    np.testing.assert_allclose(
        np.quantile(unshifted, [0.25, 0.5, 0.75]), 0.642 + 0.358 * np.array([0.25, 0.5, 0.75]), atol=2e-3
    )
    whole = objectives.sample_sigmas(jax.random.key(0), 8, shift=3.0)
    np.testing.assert_array_equal(whole, objectives.sample_sigmas(jax.random.key(0), 8, shift=3.0, low=0.0, high=1.0))


def test_the_recipe(place, tmp_path, capsys):
    """From the tree by two commands to adapters that `vrjax sample` takes; both experts; killed runs aside."""
    root, model = place
    recipe = runpy.run_path("configs/vbvr/lora.py")["config"]()
    main(
        [
            "encode",
            str(root / "data"),
            str(tmp_path / "cache"),
            "--model",
            str(model),
            "--frames",
            "5",
            "--size",
            "16x16",
        ]
    )
    assert "3 clips" in capsys.readouterr().out
    small = dataclasses.replace(
        recipe,
        model=tiny_wan.config("i2v"),
        start=str(model / "transformer"),
        lora=dataclasses.replace(recipe.lora, rank=2),
        data=Data(cache=str(tmp_path / "cache"), batch=2),
        steps=3,
        checkpoint=Checkpoint(every=2),
        mesh={},
        dtype="float32",
        optim=dataclasses.replace(recipe.optim, lr=1e-2, warmup=1),
    )
    loop.run(small, root=tmp_path)
    folder = tmp_path / "vbvr_lora"
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 3 and all(np.isfinite(losses))
    lora = wan.load_lora(folder / "adapter.safetensors")
    base, trained = wan.load_dit(model / "transformer"), wan.load_dit(folder / "model")
    names = {name for name, _ in lora.pairs}
    kinds = {f"blocks.{part}_attn.{m}.kernel" for part in ("self", "cross") for m in "qkvo"}
    assert names == kinds | {"blocks.ffn_in.kernel", "blocks.ffn_out.kernel"}
    assert all(pair.a.shape[1] == 2 for pair in lora.pairs.values())
    merged = lora_files.merge(base, lora)
    for x, y, z in zip(*(jax.tree.leaves(tree) for tree in (merged, trained, base)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
        assert (np.asarray(x) == np.asarray(z)).all() or np.abs(x - z).max() > 1e-7
    changed = [not bool((x == z).all()) for x, z in zip(jax.tree.leaves(merged), jax.tree.leaves(base), strict=True)]
    assert sum(changed) == len(names)
    pipe = pipeline.open(model, loras=[pipeline.Lora(folder / "adapter.safetensors", 1.0, "high")])
    assert pipe.loras[0].expert == "high"
