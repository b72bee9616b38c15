"""Cleaning of prompts as the public pipelines do it, and UMT5-style tokenization from a tokenizer.json."""

import numpy as np
import pytest
import tokenizers

from vrjax.models.wan.umt5 import Tokenizer, clean

# Expected: ftfy.fix_text (6.3.1), html.unescape twice, whitespace to single spaces, as the pipelines have it.
CLEANED = {
    "  a  maze\n\tseen from   above ": "a maze seen from above",
    "\u201cCurly\u201d \u2018quotes\u2019 and \u201elow\u201f": '"Curly" \'quotes\' and "low"',
    "色调艳丽\uff0c过曝\uff0c静态": "色调艳丽,过曝,静态",
    "\uff26\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff45 \uff76\uff80\uff76\uff85\uff01": "Full wide カタカナ!",
    "&amp;amp;lt;b&amp;gt; &ldquo;x&rdquo;": '<b> "x"',
    "<b> &ldquo;x&rdquo; &amp;lt;": "<b> \u201cx\u201d <",
    "cafe\u0301 na\u00efve": "café naïve",
    "\ufb01ne \ufb02ow \u0149 \u01c4 \ufb05": "fine flow 'n D\u017d \u017ft",
    "a\x00b\x07c\ufeffd\u2028e\r\nf\rg": "abcd e f g",
    "\x1b[31mred\x1b[0m": "red",
    "\x93hi\x94 \x85": '"hi" \u2026',
    "\U0001f600 \ud83d\ude00 \ud83d": "\U0001f600 \U0001f600 \ufffd",
    "this&not that &notin; &#x41;": "this\u00ac that \u2209 A",
    "\u3000wide\u3000space\u00a0nbsp": "wide space nbsp",
    "Ünïcödé ß — … ™ ½": "Ünïcödé ß — … ™ ½",
    "": "",
}


@pytest.mark.parametrize("text", CLEANED, ids=ascii)
def test_clean(text):
    assert clean(text) == CLEANED[text]
    assert clean(clean(text)) == clean(text).replace("\u201c", '"').replace("\u201d", '"')


def written(folder):
    """A small tokenizer of UMT5's kind: unigrams over a metaspace, end token appended, padding id 0."""
    words = ["▁a", "▁maze", "▁seen", "▁from", "▁above", "▁", ",", "m", "z"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((word, -float(i + 1)) for i, word in enumerate(words))]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(vocab, unk_id=2))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_truncation(5)  # a file may bring its own settings: they are replaced
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("place", ["", "tokenizer", "google/umt5-xxl"])
def test_ids_and_mask(place, tmp_path):
    written(tmp_path / place)
    tokenizer = Tokenizer(tmp_path, length=9)
    ids, mask = tokenizer("  a maze\uff0c seen &amp;  from above ")
    assert ids.dtype == mask.dtype == np.int32
    assert ids.tolist() == [3, 4, 9, 5, 8, 2, 6, 7, 1] and mask.tolist() == [1] * 9
    ids, mask = tokenizer("a maze")
    assert ids.tolist() == [3, 4, 1, 0, 0, 0, 0, 0, 0] and mask.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    ids, mask = tokenizer("a maze " * 9)
    assert ids.tolist() == [3, 4, 3, 4, 3, 4, 3, 4, 1] and mask.all()
    ids, mask = tokenizer("")
    assert ids.tolist() == [1] + [0] * 8 and mask.sum() == 1
    assert Tokenizer(tmp_path)("a maze")[0].shape == (512,)


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer.json"):
        Tokenizer(tmp_path)
    file = written(tmp_path)
    with pytest.raises(ValueError, match="length 1, expected at least 2"):
        Tokenizer(tmp_path, length=1)
    file.write_text("{}")
    with pytest.raises(ValueError, match="tokenizer.json: not a tokenizer"):
        Tokenizer(file)
    written(tmp_path)
    file.write_text(file.read_text().replace("<pad>", "<nop>"))
    with pytest.raises(ValueError, match="no <pad> token"):
        Tokenizer(file)


@pytest.mark.parity
def test_against_transformers(tmp_path):
    """The call that diffusers' pipelines make."""
    from transformers import PreTrainedTokenizerFast

    file = written(tmp_path)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    ours = Tokenizer(file, length=7)
    for prompt in ("a maze, seen from above", "a", "", "z m q above " * 4):
        expected = theirs(clean(prompt), padding="max_length", max_length=7, truncation=True, add_special_tokens=True)
        ids, mask = ours(prompt)
        assert ids.tolist() == expected["input_ids"] and mask.tolist() == expected["attention_mask"]
