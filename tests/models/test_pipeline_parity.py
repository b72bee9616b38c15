"""Whole pipelines beside diffusers' own: same random weights, prompt, picture and noise, 10 steps, guidance on."""

import functools

import numpy as np
import pytest

from vrjax.models import pipeline
from vrjax.models.wan.umt5 import clean

pytestmark = pytest.mark.parity

FRAMES, PROMPT, NEGATIVE = 9, "a maze  seen from above", "blurred, maze"
LATENTS, PIXELS = 1e-3, 2e-3


@functools.cache
def built(case: str, folder: str, **options):
    from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v

    from tests.models import tiny_diffusers as tiny

    for module in (pipeline_wan, pipeline_wan_i2v):
        module.prompt_clean = clean  # theirs needs ftfy; ours is compared with it in test_tokenizer
    theirs = tiny.build(case, f"{folder}/{case}", **options)
    return theirs, pipeline.open(f"{folder}/{case}", cache=f"{folder}/cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("pipelines"))


def pictures(count: int):
    """Random 8-bit pictures of another size than the video's."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (40 + 9 * i, 50, 3), np.uint8) for i in range(count)]


def both(case, folder, size, images=0, scales=(5.0,), **options):
    """(final latents, pixels) of diffusers' run and of ours."""
    from PIL import Image

    from tests.models import tiny_diffusers as tiny

    theirs, ours = built(case, folder, **options)
    settings = ours.settings(size=size, frames=FRAMES, steps=10, guidance=scales, negative=NEGATIVE)
    noise = np.random.default_rng(7).standard_normal(ours.latent_shape(settings)).astype(np.float32)
    given = dict(zip(("image", "last_image"), pictures(images), strict=False))
    extra = {"guidance_scale": scales[0]} | ({"guidance_scale_2": scales[1]} if len(scales) > 1 else {})
    extra |= {name: Image.fromarray(picture) for name, picture in given.items()}
    expected = tiny.run(
        theirs, noise, size, FRAMES, prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=10, **extra
    )
    traj = ours.sample(
        PROMPT, **given, noise=noise[None], size=size, frames=FRAMES, steps=10, guidance=scales, negative=NEGATIVE
    )
    return expected, (np.asarray(traj.final[0]), (ours.decode(traj.final[0]) + 1) / 2), (ours, traj)


def compare(expected, found, skip: int = 0):
    """`skip`: latent frames that diffusers leaves unimposed in its per-step latents."""
    assert 0.5 < np.abs(expected[0]).max() < 30 and expected[1].std() > 0.05  # the tolerances are meant for such runs
    assert np.abs(found[0] - expected[0])[skip:].max() <= LATENTS
    assert np.abs(found[1] - expected[1]).max() <= PIXELS


def test_text_to_video(folder):
    expected, found, (ours, _) = both("t2v", folder, (32, 48))
    compare(expected, found)
    assert ours.name == "Wan2.1-T2V-dim24" and ours.defaults.solver == "unipc" and ours.defaults.shift == 5.0


def test_euler_scheduler_of_the_folder(folder):
    expected, found, (ours, traj) = both("t2v", folder + "/euler", (32, 48), scheduler="euler", shift=3.0)
    assert ours.defaults.solver == "euler" and ours.defaults.grid == "diffusers_euler"
    compare(expected, found)


@pytest.mark.parametrize(("case", "scales"), [("t2v_pair", (4.0, 3.0)), ("i2v_pair", (3.5, 2.0))])
def test_two_experts(case, scales, folder):
    """The boundary is the folder's, each expert has its own guidance; swapped experts are noticed."""
    expected, found, (ours, traj) = both(case, folder, (32, 48), images=int(case == "i2v_pair"), scales=scales)
    compare(expected, found)
    recipe = ours.settings(size=(32, 48), frames=FRAMES, steps=10, guidance=scales).recipe
    assert 0 < recipe.high_steps < 10
    ours.__dict__["dits"] = ours.dits[::-1]
    try:
        swapped = both(case, folder, (32, 48), images=int(case == "i2v_pair"), scales=scales)[1]
    finally:
        ours.__dict__["dits"] = ours.dits[::-1]
    assert np.abs(swapped[0] - expected[0]).max() > 30 * LATENTS


@pytest.mark.parametrize(("case", "images"), [("i2v", 1), ("flf2v", 2), ("i2v_pair", 2)])
def test_pictures(case, images, folder):
    """CLIP and masked latents; a last picture for the models that take one."""
    scales = (3.5, 3.5) if case == "i2v_pair" else (5.0,)
    compare(*both(case, folder, (32, 48), images=images, scales=scales)[:2])


def test_first_frame_imposed(folder):
    expected, found, (ours, traj) = both("ti2v", folder, (32, 64), images=1)
    compare(expected, found, skip=1)
    inputs = ours.conditions(pictures(1)[0], frames=FRAMES, size=(32, 64))
    assert np.abs(traj.final[0, 0] - inputs.first).max() <= 1e-6
    assert np.abs(traj.x0[0, :, 0] - inputs.first).max() <= 1e-5  # at every step


def test_text_to_video_with_times_per_token(folder):
    """The same 5 B model without a picture."""
    expected, found, _ = both("ti2v", folder + "/text", (32, 64), image=False)
    compare(expected, found)
