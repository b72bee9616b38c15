"""What a vision-language model is asked of a rendered motion, and how MBench reads what it says.

The public code asks a hosted model, with the choices in an order that changes from run to run. Here the words are given
to whatever model the user has, the order follows from the item, and answers that exist are read in the same way.
"""

import hashlib

from vrjax.motion.annotations import Evaluated as Item

CONSISTENCY, GENERALIZABILITY = ASKED = ("Motion_Condition_Consistency", "Motion_Generalizability")


def choices(item: Item) -> tuple[str, ...]:
    """The item's action among its distractors, in an order that is its own: the same in every run."""
    return tuple(sorted({*item.auxiliary_info, item.prompt}, key=lambda text: _place(item.id, text)))


def _place(number: int, text: str) -> bytes:
    return hashlib.sha256(f"{number}\0{text}".encode()).digest()


def question(item: Item) -> str:
    """What to ask of the video, so that `correct` can read the answer.

    Raises:
        ValueError: an item of a dimension that asks nothing.
    """
    if item.dimension == CONSISTENCY:
        listed = ", ".join(choices(item))
        return (
            "The video shows the motion of one person, without surroundings or objects. Describe posture, movement of "
            f"the limbs and what repeats. Then name the one motion of this list that fits best: {listed}. End with "
            'the words "The closest match is: " and that motion, exactly as it stands in the list.'
        )
    if item.dimension == GENERALIZABILITY:
        return (
            "The video shows the motion of one person, without surroundings or objects. Describe posture, movement of "
            f'the limbs and what repeats. Then say whether this is the motion "{item.prompt}"; what is done counts, '
            'not how smooth or how real it looks. End with "Answer: yes" or "Answer: no".'
        )
    raise ValueError(f"{item.dimension}: no question belongs to it, expected one of {', '.join(ASKED)}")


def correct(item: Item, answer: str) -> bool:
    """Whether an answer in words is right, read as the public code reads it.

    A choice is what follows the first blank line, if there is one, and then the first colon, without punctuation at
    its end, and must be the item's action but for upper and lower case. A yes is a "yes" anywhere after "Answer:", or
    in the whole text where there is no such word.
    """
    if item.dimension == CONSISTENCY:
        said = answer.strip().split("\n\n", 1)[-1].split(":", 1)[-1].strip().rstrip(".,;:!?'\"")
        return said.lower() == item.prompt.lower()
    if item.dimension == GENERALIZABILITY:
        return "yes" in answer.strip().split("Answer:", 1)[-1].lower()
    raise ValueError(f"{item.dimension}: answers in words belong to {' and '.join(ASKED)}, found {answer[:60]!r}")
