"""Numbers as claims ask for them: differences, shares, words, what is missing and what cannot be told."""

import dataclasses

import numpy as np
import pytest

from vrjax.study import numbers


@dataclasses.dataclass
class Seed:
    kept: dict

    NUMBERS = ("right", "guess")

    def right(self, arm, split="test"):
        if (arm, split) not in self.kept:
            raise numbers.Missing(arm)
        return np.asarray(self.kept[arm, split], float)

    def guess(self):
        return np.array([0.25])

    def secret(self):
        return np.zeros(1)


SEEDS = [Seed({("a", "test"): [1, 0, 1], ("b", "test"): [0, 0, 1]}), Seed({("a", "test"): [1, 1, 1]})]


def test_differences():
    """Of two arms, of two numbers, less a share of one; item by item."""
    of = lambda *asked: numbers.number(SEEDS[0], asked).tolist()
    assert of("right", ["a"]) == [1, 0, 1] and of("right", ["a"], ["b"]) == [1, 0, 0]
    assert of("right", ["a"], ["b"], 0.5) == [1, 0, 0.5]
    assert of("right", ["a"], "guess", []) == [0.75, -0.25, 0.75]
    assert of("right", ["a"], "right", ["b"], "guess", []) == [1.25, 0.25, 0.25]  # what follows belongs to the second
    with pytest.raises(ValueError, match="'secret': no number of this study, expected one of right, guess"):
        numbers.number(SEEDS[0], ["secret", []])


def test_all_seeds_or_none():
    assert numbers.values(SEEDS, ["right", ["a"]]).shape == (2, 3, 1)
    assert numbers.values(SEEDS, ["right", ["b"]]) is None and numbers.values(SEEDS, ["right", ["a"], ["b"]]) is None


def test_words():
    assert numbers.named(["right", ["{arm}", "test"], ["b"], 0.5], {"{arm}": "a"}) == [
        "right",
        ["a", "test"],
        ["b"],
        0.5,
    ]


def test_what_is_checked():
    """Means a seed; what was not measured is left out, and what a seed could not tell, but where that is counted."""
    lost = [Seed({("a", "test"): [1, 0]}), Seed({("a", "test"): [1, np.nan]})]
    checks = {
        "share": ["right", ["{arm}"]],
        "told": ["right", ["{arm}"]],
        "guesses": ["guess", []],
        "b": ["right", ["b"]],
    }
    found = numbers.checked(lost, checks, {"{arm}": "a"}, ["told"])
    assert found == {"told": [1.0, 0.0], "guesses": [0.25, 0.25]}
    assert numbers.checked(lost[:1], checks, {"{arm}": "a"}) == {"share": [0.5], "told": [0.5], "guesses": [0.25]}
