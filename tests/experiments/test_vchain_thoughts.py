"""The reasoners of the VChain study: oracle, noisy oracle, learned; their chains through files; the bases' latents."""

import numpy as np
import pytest

from experiments.vchain import looks, thoughts
from vrjax.tasks.chains import rules, sprites, words


@pytest.fixture(scope="module")
def clips():
    return rules.numbered(rules.Chains(), "test", 12)


def test_thoughts_of_the_oracle_and_of_a_noisy_one(clips, tmp_path):
    here = rules.Chains()
    chains = []
    for clip in clips:
        knows = thoughts.oracle(here, clip)
        thinking = thoughts.think(clip.prompt, knows, knows, limit=3)
        chain = thinking.thoughts
        chains.append(chain)
        film = here.film(clip.meta["layout"], "true")[:, 0]
        for frame, caption, t in zip(chain.frames, chain.captions, knows.instants, strict=True):
            np.testing.assert_array_equal(words.parse(caption), film[t])
            np.testing.assert_array_equal(thoughts.Told().read(frame), film[t])
        np.testing.assert_array_equal(words.parse(chain.captions[-1]), film[-1])
    for clip, chain in zip(clips, chains, strict=True):
        assert thoughts.noisy(here, clip, 0.0, 0)[:6] == chain[:6]
        wrong = thoughts.noisy(here, clip, 1.0, 0)
        assert wrong.captions[0] == chain.captions[0] and wrong.captions != chain.captions
        for frame, caption in zip(wrong.frames, wrong.captions, strict=True):  # drawn as told
            np.testing.assert_array_equal(thoughts.Told().read(frame), words.parse(caption))
    back = thoughts.through_folder(chains, tmp_path / "a")
    assert [b[:6] for b in back] == [c[:6] for c in chains]
    assert all(
        np.array_equal(x, y) for b, c in zip(back, chains, strict=True) for x, y in zip(b.frames, c.frames, strict=True)
    )
    with pytest.raises(ValueError, match="is not the chain of this study"):
        thoughts.through_folder([chains[0]._replace(thoughts="Hm."), *chains[1:]], tmp_path / "a")


def test_the_learned_reasoner_knows_the_chains(clips):
    here = rules.Chains()
    model = thoughts.classifier(here, n=1200, steps=400)
    assert model.accuracy.elements > 0.97 and model.accuracy.changes > model.accuracy.still - 0.3 > 0.5
    right = []
    for clip in clips:
        chain = thoughts.learned(model, clip)
        film = here.film(clip.meta["layout"], "true")[:, 0]
        right.append(np.array_equal(words.parse(chain.captions[-1]), film[-1]))
        assert np.array_equal(words.parse(chain.captions[0]), film[0]) and 1 < len(chain.frames) <= 4
    assert np.mean(right) > 0.6


def test_latents_lose_nothing():
    states = np.random.default_rng(0).integers(0, len(sprites.SYMBOLS), (3, 8, 6))
    video = sprites.render(states)
    np.testing.assert_allclose(looks.expand(looks.encode(video)), video, atol=1e-5)
