"""Answers in words: what a reader is asked, how the answer is found in what it says, and whether it is right.

    text = answers.asked(item)                      # question, choices, and where the answer goes
    answers.judge(item, answers.extract(said))      # exactly, without another model

The exact judge compares canonical forms and knows nothing of meaning; `judged` asks a model of yours in its place, in
the words of this room and with the official reading of what it replies.
"""

import re
from collections.abc import Callable
from typing import Any

from vrjax.tasks.puzzles.item import Item

OFFICIAL = "official"
BOXED = r"\boxed"
REQUEST = "Think about the question and give your final answer in \\boxed{Answer} format."
"""The benchmark's own last sentence."""
STATIONS = ("Metro map",)
"""Subtypes whose answers are rows of names, in which a dash stands between two of them and makes no pair."""
UNORDERED = ("Find the same", "Mirroring Patterns")
"""Subtypes whose lists of numbers or letters have no order. Pairs, as in "A-2,B-3", have none anywhere."""

# The public function's pattern: braces that nest two levels, and whatever stands between the outermost braces of a line
# on the third. So two boxes of one line that nest three levels are one.
_THIRD = r"\{.*\}"
_SECOND = rf"\{{(?:[^{{}}]|{_THIRD})*\}}"
_PUBLIC = re.compile(rf"\\boxed\{{((?:[^{{}}]|{_SECOND})*)\}}")
_TOKENS_OF_A_LINE = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>")
_TOKENS = re.compile(_TOKENS_OF_A_LINE.pattern, re.DOTALL)


def asked(item: Item) -> str:
    """What a reader is told beside the picture: question, lettered choices, and where the answer goes."""
    return f"{question(item)}\n{REQUEST}"


def question(item: Item) -> str:
    """The question and its lettered choices."""
    choices = "\n".join(f"({chr(ord('A') + i)}) {option}" for i, option in enumerate(item.options))
    return f"{item.question}\nChoices:\n{choices}" if item.kind == "choice" else item.question


def extract(text: str | None, compat: str | None = None) -> str | None:
    """The final answer in what a reader said.

    By default what the last `\\boxed{...}` holds whose braces balance, the outermost of nested ones, as it stands there
    (a backslash before a brace changes nothing); else what stands between the last pair of box tokens, without the
    spaces around it; else None.

    Args:
        text: what it said; None: nothing.
        compat: "official" finds what the public code's function finds: braces nest two levels and are taken greedily
            on the third, and box tokens must stand on one line.

    Raises:
        ValueError: another `compat`.
    """
    if compat not in (None, OFFICIAL):
        raise ValueError(f"compat is {compat!r}, expected None or {OFFICIAL!r}")
    if text is None:
        return None
    found = _PUBLIC.findall(text) if compat else _boxes(text)
    if found:
        return found[-1]
    tokens = (_TOKENS_OF_A_LINE if compat else _TOKENS).findall(text)
    return tokens[-1].strip() if tokens else None


def _boxes(text: str) -> list[str]:
    """What is in balanced boxes that are in no other box."""
    out, at = [], 0
    while (begin := text.find(BOXED + "{", at)) >= 0:
        begin += len(BOXED) + 1
        depth, end = 1, begin
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if depth:  # torn: there may be a whole one inside
            at = begin
            continue
        out.append(text[begin : end - 1])
        at = end
    return out


def judge(item: Item, answer: str | None) -> bool:
    """Whether an answer is right, exactly: case, spaces, brackets and mathematics' dress aside it says the same.

    Of a choice it may be the letter or the option's own words. Numbers and letters in a row must be in the same order,
    but for `UNORDERED` subtypes and for pairs; "(row, column)" is never turned round. No answer is wrong.

    Raises:
        ValueError: an item that has no answer in words.
    """
    if not item.answer:
        raise ValueError(f"item {item.task_id}: has no answer in words to compare with")
    if answer is None:
        return False
    if item.kind == "choice":
        found = plain(answer)
        if letter := re.fullmatch(r"\(?([a-z])[).:]?", found):
            return letter[1].upper() == item.answer
        right = item.options[ord(item.answer) - ord("A")]
        return len(found) > 0 and found == plain(right) and [plain(o) for o in item.options].count(found) == 1
    found = canonical_answer(answer, item.subtype)
    return found != () and found == canonical_answer(item.answer, item.subtype)


def plain(text: str) -> str:
    """Small letters, one space between words, without the dress of mathematics and a full stop at the end."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\(?:left|right|quad|,|;|!| )|\$|\\[()\[\]]", " ", text)
    for odd, usual in (
        ("，", ","),
        ("；", ";"),
        ("：", ":"),
        ("（", "("),
        ("）", ")"),
        ("–", "-"),
        ("—", "-"),
        ("→", "-"),
    ):
        text = text.replace(odd, usual)
    return " ".join(text.split()).casefold().rstrip(".").strip()


def canonical_answer(text: str, subtype: str) -> Any:
    """What an answer says, in a form that equals where they say the same: a tuple of parts, or a frozenset of them.

    Parts are numbers, words and tuples "(4,7)"; "A-2", "A:2" and "A=2" are pairs, a list of which has no order.
    """
    text = plain(text)
    while len(text) > 1 and text[0] + text[-1] in ("[]", "{}") and not re.search(r"[\[\]{}]", text[1:-1]):
        text = text[1:-1].strip()
    groups = re.findall(r"\(([^()]*)\)", text)
    if groups and not re.sub(r"\([^()]*\)|[,;\s]|and", "", text):
        found = [_words(group) for group in groups]
        if len(found) > 1:
            return frozenset(found)
        text = groups[0]
    pairs = (
        []
        if subtype in STATIONS
        else [re.fullmatch(r"(\w+)\s*(?:-|:|=|->)\s*(\w+)", part.strip()) for part in re.split(r"[,;\n]", text)]
    )
    if pairs and all(pairs):
        return frozenset((_word(pair[1]), _word(pair[2])) for pair in pairs if pair)
    words = _words(text)
    return frozenset(words) if subtype in UNORDERED else words


def _words(text: str) -> tuple[Any, ...]:
    return tuple(_word(word) for word in re.findall(r"-?\d+(?:\.\d+)?|[^\W\d_]+", text) if word != "and")


def _word(word: str) -> Any:
    return int(word) if re.fullmatch(r"-?\d+", word) else word


# ------------------------------------------------------------------------------------------------------- judging models

JUDGE = (
    "You compare two answers to the same question about a picture that you cannot see.\n"
    "Question: {question}\nRight answer: {right}\nGiven answer: {given}\n"
    "Say True where the given answer means the same as the right one: wording and layout do not matter. Say False "
    "where it is wrong, lacks something, or adds something wrong. Say that one word and nothing else."
)


def judged(item: Item, answer: str | None, ask: Callable[[str], str], *, tries: int = 3) -> bool:
    """Whether a model of yours says that an answer is right.

    Args:
        item: with an answer in words.
        answer: that was given.
        ask: from text to what the model replies.
        tries: how often it is asked while asking fails; a judge that never replies makes the answer wrong.
    """
    text = JUDGE.format(question=asked(item), right=item.answer, given=answer)
    for _ in range(tries):
        try:
            return verdict(ask(text)) is True
        except Exception:  # noqa: BLE001, S112 - whatever a client raises; the next try is the answer to it
            continue
    return False


def verdict(reply: str) -> bool | None:
    """What a judge's reply says, as the public code reads it: "true" is looked for first, so "not true" is True; None
    where neither word stands in it."""
    reply = reply.casefold()
    return True if "true" in reply else False if "false" in reply else None
