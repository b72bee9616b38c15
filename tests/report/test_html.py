"""The page without a browser: what is in the file, and that no string from data can act. `test_browser` opens it."""

import base64
import hashlib
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from vrjax.files import writing as _files
from vrjax.report import _payload, html
from vrjax.report.record import Published


class Reader(HTMLParser):
    """Collects tags, attributes, and the raw text of scripts and styles, as a browser would see them."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags, self.raw, self.words = [], {"script": [], "style": []}, []
        self._open = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self._open = tag
            self.raw[tag].append("")

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.raw[self._open][-1] += data
        else:
            self.words.append(data)

    def payload(self):
        return json.loads(self.raw["script"][0])


def unsprite(uri: str, width: int, height: int) -> np.ndarray:
    """Data URI -> (row, column, h, w, 3): what the script does with `cut`."""
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))
    rows, columns = image.shape[0] // height, image.shape[1] // width
    return image.reshape(rows, height, columns, width, 3).transpose(0, 2, 1, 3, 4)


@pytest.fixture(scope="module")
def small():
    return samples.case(0, seeds=2, steps=5)


@pytest.fixture(scope="module")
def text(small):
    return html.render(samples.page(1, scrubbers=[html.Scrubber([small])]))


# ---- pictures and maps survive the packing ---------------------------------------------------------------------------


def test_every_guess_comes_back_within_8_bit(small):
    rng = np.random.default_rng(0)
    x0 = rng.uniform(-1.2, 1.2, (2, 3, 4, 6, 10, 3))
    truth = rng.uniform(-1, 1, (4, 6, 10, 3))
    sent = _payload.case(html.Case("c", "p", x0, truth=truth, noisy=x0[::-1]))
    for key, wanted in (("x0", x0), ("noisy", x0[::-1])):
        back = np.stack([unsprite(uri, sent["width"], sent["height"]) for uri in sent[key]])
        assert back.shape == wanted.shape
        assert np.abs(back / 127.5 - 1 - np.clip(wanted, -1, 1)).max() <= 1 / 255 + 1e-6
    assert np.abs(unsprite(sent["truth"], 10, 6)[0] / 127.5 - 1 - truth).max() <= 1 / 255 + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.data())
def test_blocks_of_one_colour_are_packed_smaller_without_loss(k, rows, columns, data):
    images = data.draw(hnp.arrays(np.uint8, (2, 2, rows, columns, 3), elements=st.integers(0, 3)))
    large = images.repeat(k, 2).repeat(k, 3)
    found = _payload.block_size(large)
    assert found % k == 0
    np.testing.assert_array_equal(large[..., ::found, ::found, :].repeat(found, 2).repeat(found, 3), large)


def test_one_pixel_off_the_blocks_is_not_lost(small):
    x0 = np.asarray(small.x0).copy()
    assert _payload.case(html.Case("c", "p", x0))["width"] == 10
    x0[1, 2, 3, 17, 18] ^= 1
    sent = _payload.case(html.Case("c", "p", x0))
    assert sent["width"] == 40
    np.testing.assert_array_equal(unsprite(sent["x0"][1], 40, 40), x0[1])


def test_guess_truth_and_state_share_one_resolution(small):
    truth = np.asarray(small.truth).copy()
    truth[0, 0, 0] = 7  # breaks the 4 x 4 blocks of the truth alone
    assert _payload.case(replace(small, truth=truth, maps=(), curves=()))["width"] == 40


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (2, 2, 3, 2), elements=st.floats(-1e3, 1e3)),
    st.sampled_from(["all", "row", "step"]),
)
def test_layer_maps_keep_one_part_in_254_of_their_range(values, relative):
    sent = _payload.quantise(values, relative)
    levels = np.frombuffer(base64.b64decode(sent["data"]), np.uint8).reshape(sent["shape"])
    axes = {"all": (0, 1, 2, 3), "row": (0, 1, 3), "step": (2, 3)}[relative]
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    np.testing.assert_allclose(low + levels / 254 * (high - low), values, atol=float((high - low).max()) / 500 + 1e-9)


def test_missing_map_values_stay_missing():
    values = np.ones((1, 2, 2, 2))
    values[0, 1, 0, 1] = np.nan
    levels = np.frombuffer(base64.b64decode(_payload.quantise(values, "row")["data"]), np.uint8)
    assert (levels == 255).nonzero()[0].tolist() == [5]


def test_jax_arrays_are_taken():
    x0 = jnp.zeros((1, 2, 2, 4, 4, 3), jnp.bfloat16)
    case = html.Case("c", "p", x0, sigma=jnp.array([1.0, 0.5]), solved=[True], steps=jnp.array([0, 3]))
    assert case.steps == (0, 3) and case.outcomes == ("solved",)
    html.render(html.Page("t", scrubbers=[html.Scrubber([case])]))


# ---- one inert file --------------------------------------------------------------------------------------------------


def test_the_page_asks_the_network_for_nothing(text):
    reader = Reader(text)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            value = attributes.get(name, "")
            assert value == "" or value.startswith(("#", "data:image/")), (tag, name, value)
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
    style = reader.raw["style"][0]
    assert "@import" not in style and "url(" not in style
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|eval)\b", reader.raw["script"][1]
    )
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|new Function", reader.raw["script"][1]
    )


def test_the_policy_allows_this_script_and_style_only(text):
    reader = Reader(text)
    (policy,) = [
        a["content"] for t, a in reader.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = lambda s: base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest(reader.raw['script'][1])}'" in policy
    assert f"style-src 'sha256-{digest(reader.raw['style'][0])}'" in policy
    assert "unsafe" not in policy and "http:" not in policy


def hostile_page(words: str) -> html.Page:
    case = samples.case(
        1, seeds=2, steps=3, maps=False, prompt=words, name=words, world=words, note=words, truth_label=words,
        outcomes=[words, words], events=[html.Event(1, words)],
    )  # fmt: skip
    case = replace(
        case,
        seeds=[words, words],
        maps=[html.LayerMap(words, np.ones((2, 3, 2, 9)), words, words, words, rows=[words, "b"], unit=words)],
        curves=[html.Curve(words, [html.Series(words, [1.0, 2.0, 3.0])], words, words, words)],
    )
    claim = dict(
        id=words, paper=words, statement=words, statistic=words, notes=words, arms=[words], verdict="inconclusive",
        estimate=1.0, interval=[0, 2], seeds=3, instances=4, null=0, unit=words, smallest=1.0, beside={words: 1.0},
        checks=[dict(kind="gate", what=words, value=0.1, low=0.5)],
        contrasts=[dict(name=words, estimate=1.0, interval=None, p=0.5)],
        full=dict(estimate=1.0, interval=[0, 2], seeds=8, verdict=None, notes=words),
    )  # fmt: skip
    return html.Page(
        words, words, f"{words}\n\n{words}", [html.Scrubber([case], words, words)], [claim],
        [html.Curve(words, [html.Series(words, [1.0, 2.0, 3.0])], words, words, words)],
        [html.HeatMap(words, np.eye(2), words, words, words, rows=[words, "2"], unit=words)],
        [html.Forest(words, [html.Effect(words, 1.0, 0.0, 2.0, 3, note=words)], words, words, 0.0, words)],
        [html.Table(words, [words, "b"], [[words, 1]], words)],
        [html.Picture(words, _png(), words, words)],
        [words], {words: words},
    )  # fmt: skip


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (9, 8, 7)).save(buffer, "PNG")
    return buffer.getvalue()


HOSTILE = [
    samples.HOSTILE,
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]></style><style>*{display:none}</style>",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "{{ 7*7 }}{% include 'x' %}{# #}${7*7}`",
    "a\u2028b\u2029c\x00d\ufeffe",
    "javascript:alert(1)",
    "&lt;img src=x&gt;",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_strings_from_data_stay_strings(words):
    plain = Reader(html.render(hostile_page("plain")))
    reader = Reader(html.render(hostile_page(words)))
    # the document has the same elements with the same attribute names, whatever the strings say
    outline = lambda r: [(tag, sorted(attributes)) for tag, attributes in r.tags]
    assert outline(reader) == outline(plain)
    assert reader.raw["script"][1] == plain.raw["script"][1] and reader.raw["style"] == plain.raw["style"]
    assert reader.payload()["scrubbers"][0]["cases"][0]["prompt"] == words
    assert reader.payload()["forests"][0]["arms"][0]["name"] == words
    shown = "".join(reader.words)
    if "\x00" not in words:  # html.parser passes NUL on, browsers replace it
        assert words.strip() in shown and "49" not in shown


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_json_between_script_tags_is_inert_and_whole(words):
    sent = _payload.inert_json({"a": words})
    assert not re.search("[<>&\u2028\u2029]", sent) and sent.isascii()
    assert json.loads(sent) == {"a": words}


def test_numbers_that_json_does_not_know_become_gaps():
    sent = _payload.page(html.Page("t", curves=[html.Curve("c", [html.Series("s", [1.0, np.nan, 2.0])])]))
    assert sent["curves"][0]["series"][0]["y"] == [1.0, None, 2.0]
    html.render(html.Page("t", maps=[html.HeatMap("m", [[np.nan, 1.0]])]))


# ---- what the reader is told -----------------------------------------------------------------------------------------


def test_claims_are_shown_with_verdict_estimate_interval_null_and_n(text):
    words = " ".join("".join(Reader(text).words).split())
    for claim in samples.CLAIMS:
        assert claim.statement in words and claim.notes in words and claim.statistic in words
    assert (
        "2.83" in words and "2.61 to 3.05" in words and "2.1 (2.05 to 2.15)" in words and "1 750" in words
    )  # split() takes the thin space too
    assert "−0.022" in words and "−0.041 to −0.003" in words
    chips = [a["class"] for _, a in Reader(text).tags if a.get("class", "").startswith("card claim")]
    assert chips == ["card claim yes", "card claim open", "card claim no", "card claim open"]
    assert "not tested" in words and "gate: entrant: solved 0.004, must be 0.6 to 0.97" in words
    assert "−0.03, −0.01, −0.02, −0.03, −0.02" in words and "own colour lost" in words and "untrained" in words
    quick = replace(samples.CLAIMS[0], verdict=None)
    assert "numbers only" in html.render(html.Page("t", claims=[quick]))


@pytest.mark.parametrize(
    "marks, low, high",
    [((0.83, 0.61, 1.05, 0.0, None, None), "null", "high"), ((-0.02, -0.04, 0.0, 0.01, 0.0, 0.02), "low", "null_high")],
)
def test_interval_plots_order_their_marks(marks, low, high):
    given = {
        k: v
        for k, v in zip(("estimate", "low", "high", "null", "null_low", "null_high"), marks, strict=True)
        if v is not None
    }
    plot = _payload._interval_plot(given, min(given.values()), max(given.values()))["plot"]
    assert sorted(given, key=given.get) == sorted(given, key=lambda k: (plot[k], given[k]))
    assert plot[low] == 6 and plot[high] == 94 and 6 <= plot["zero"] <= 94


def test_intervals_of_one_unit_share_one_scale():
    base = replace(samples.CLAIMS[1], unit="of mazes")  # -0.02 to 0.24, null 0.14
    narrow = replace(base, id="b", estimate=0.2, interval=(0.19, 0.21), null=0.0)
    wide = replace(base, id="c", estimate=9.0, interval=(2.0, 16.0), null=0.0)
    other = replace(base, id="d", unit="steps", estimate=3.0, interval=(2.0, 4.0), null=0.0)
    first, second, third, fourth = _payload.claims([base, narrow, wide, other])
    assert [one["apart"] for one in (first, second, third, fourth)] == [False, False, True, False]
    bare = _payload.claims([replace(base, unit=""), replace(narrow, unit="")])
    assert (bare[0]["from"], bare[1]["from"]) == (-0.02, 0.0)  # no unit is not one unit
    at = lambda value: 6 + 88 * (value + 0.02) / 0.26
    assert first["plot"]["low"] == pytest.approx(at(-0.02)) and first["plot"]["high"] == pytest.approx(
        at(0.24), abs=0.01
    )
    assert second["plot"]["estimate"] == pytest.approx(at(0.2), abs=0.01)  # one number, one place
    assert (first["from"], first["to"]) == (second["from"], second["to"]) == (-0.02, 0.24)
    assert third["plot"]["low"] < third["plot"]["high"] == 94 and third["to"] == 16


def test_the_verdict_of_the_full_run_stands_beside_a_quick_number():
    full = Published(0.11, (0.02, 0.2), 8, "reproduced")
    quick = replace(samples.CLAIMS[1], verdict=None, full=full)
    words = " ".join("".join(Reader(html.render(html.Page("t", claims=[quick]))).words).split())
    assert (
        "this run: numbers only" in words
        and "full run: reproduced" in words
        and "0.11 [0.02, 0.2], reproduced" in words
    )


def test_a_control_does_not_squash_the_curve_of_interest():
    model = html.Series("model", [0.1, 0.2, 0.3], low=[0.05, 0.15, 0.25], high=[0.15, 0.25, 0.35])
    wild = html.Series("control", [0.0, 5.0, -7.0], role="control")
    low, high = html.Curve("t", [model, wild]).y_range
    assert high - low < 4 * 0.3 and low < 0.05 and high > 0.35
    calm = html.Series("control", [0.2, 0.4, 0.3], role="control")
    assert html.Curve("t", [model, calm]).y_range[1] > 0.4  # what is near is shown whole
    assert html.Curve("t", [wild]).y_range[1] > 5 and html.Curve("t", [html.Series("s", [np.nan])]).y_range is None


def test_each_report_speaks_for_itself():
    curve = html.Curve("c", [html.Series("s", [1.0, 2.0])], sync=False)
    page = html.Page("t", curves=[curve], alerts=["<b>stop</b>"], ledes={"curves": "Over updates & more."})
    words = "".join(Reader(html.render(page)).words)
    assert "Over updates & more." in words and "<b>stop</b>" in words
    assert "their null" not in words and "amber" not in words


@pytest.mark.parametrize(
    "value, words",
    [(None, "–"), (1750, "1\u202f750"), (-0.0225, "−0.0225"), (1234.5, "1234"), (0.00001, "1e−05"), (1.0, "1"),
     ("x", "x"), (float("nan"), "–"), (float("inf"), "∞"), (np.float32(0.5), "0.5"), (np.int64(-2), "−2"),
     (True, "True")],
)  # fmt: skip
def test_numbers_are_written_for_people(value, words):
    assert html.number(value) == words


def test_missing_parts_are_left_out():
    bare = html.render(html.Page("Only a title"))
    assert "data-scrubber" not in Reader(bare).raw["script"][0]
    tags = Reader(bare).tags
    assert not [t for t, a in tags if "data-scrubber" in a or "data-plot" in a or t in ("table", "ol", "details")]
    case = html.Case("c", "p", np.zeros((1, 1, 1, 4, 4, 3)))
    sent = _payload.case(case)
    assert sent["truth"] is None and sent["noisy"] is None and sent["sigma"] is None and sent["solved"] is None
    html.render(html.Page("t", scrubbers=[html.Scrubber([case])]))


def test_a_full_page_stays_small():
    page = samples.page(6)
    assert page.scrubbers[0].cases[0].x0.shape == (3, 20, 9, 40, 40, 3)
    assert len(html.render(page).encode()) < 4e6


def test_even_without_blocks_a_page_of_guesses_stays_under_six_megabytes():
    # smooth x0 of a real VAE: full 40 x 40 resolution, 8-bit noise in the last bits only
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    x0 = np.broadcast_to(still, (3, 20, 9, 40, 40, 3)).copy()
    x0[..., 10:20, 10:20, :] = rng.integers(0, 256, (3, 20, 9, 10, 10, 3))
    page = html.Page("t", scrubbers=[html.Scrubber([html.Case(str(i), "p", x0) for i in range(6)])])
    assert len(html.render(page).encode()) < 6e6


# ---- writing and refusing --------------------------------------------------------------------------------------------


def test_write_takes_a_folder_or_a_file(tmp_path):
    page = html.Page("t")
    assert html.write(tmp_path / "run", page) == tmp_path / "run" / "report.html"
    assert html.write(str(tmp_path / "other.html"), page) == tmp_path / "other.html"
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == html.render(page)
    assert (tmp_path / "other.html").stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_half_a_surrogate_pair_from_a_json_file_does_not_stop_the_report(tmp_path):
    prompt = json.loads('"a \\ud800 b"')
    path = html.write(tmp_path, html.Page(prompt, scrubbers=[html.Scrubber([html.Case("c", prompt, X0)])]))
    assert "<title>a ? b</title>" in path.read_text(encoding="utf-8")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    html.write(tmp_path, html.Page("old"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(OSError, match="report.html not written: no space left"):
        html.write(tmp_path, html.Page("new"))
    assert os.listdir(tmp_path) == ["report.html"] and "old" in (tmp_path / "report.html").read_text()


X0 = np.zeros((2, 3, 4, 8, 8, 3), np.float32)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: html.Case("maze 7", "p", X0[0]), r"case 'maze 7': x0 must be \(seed, step, frame, h, w, 3\)"),
        (lambda: html.Case("c", "p", np.where(X0 == 0, np.nan, X0)), "x0: 4608 of 4608 values are not finite"),
        (lambda: html.Case("c", "p", X0.astype(int)), "uint8, found dtype int64"),
        (lambda: html.Case("c", "p", X0, truth=X0[0, 0, 1:]), r"truth has shape \(3, 8, .*, expected \(4, 8, 8, 3\)"),
        (lambda: html.Case("c", "p", X0, noisy=X0[:1]), "noisy has shape"),
        (lambda: html.Case("c", "p", X0, steps=[0, 2, 1]), "3 increasing integers"),
        (lambda: html.Case("c", "p", X0, sigma=[1.0, 0.5]), "sigma must be 3 finite numbers"),
        (lambda: html.Case("c", "p", X0, solved=[True]), "1 solved for 2 seeds"),
        (lambda: html.Case("c", "p", X0, seeds=["a"]), "1 seeds for 2 seeds"),
        (lambda: html.Case("c", "p", X0, events=[html.Event(0, "e", 5)]), "names seed 5 of 2"),
        (lambda: html.Case("c", "p", X0, maps=[html.LayerMap("m", np.ones((2, 9, 1, 4)))]), "must start with"),
        (lambda: html.Case("c", "p", X0, curves=[html.Curve("k", [html.Series("s", np.eye(3))])]), "3 rows for 2"),
        (lambda: html.LayerMap("m", np.ones((2, 3, 4))), "4 or 6 axes"),
        (lambda: html.LayerMap("m", np.full((1, 1, 2, 2), np.nan)), "all of them are NaN"),
        (lambda: html.Series("s", [1.0, 2.0], low=[1.0, 1.0]), "both low and high"),
        (lambda: html.Series("s", [1.0, 2.0], low=[1.0, 3.0], high=[2.0, 2.0]), "low <= high"),
        (lambda: html.Series("s", [1.0, 2.0], x=[1, 1]), "strictly increasing"),
        (lambda: html.Series("s", "ab"), "expected numbers"),
        (lambda: html.Curve("c", []), "no series"),
        (lambda: html.Curve("c", [html.Series("s", [1.0])], y_range=(1, 1)), "bottom, top"),
        (lambda: html.HeatMap("m", np.eye(2), rows=["a"]), "1 row labels"),
        (lambda: html.Effect("a", 2.0, 0.0, 1.0), "low <= estimate <= high"),
        (lambda: html.Table("t", ["a", "b"], [[1]]), "row 0 has 1 cells for 2 columns"),
        (lambda: html.Scrubber([]), "no cases"),
        (lambda: html.render(html.Page("t", pictures=[html.Picture("p", b"<svg onload=x>", "a")])), "not a PNG"),
    ],
)  # fmt: skip
def test_bad_parts_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_too_long_a_sheet_is_refused_with_advice():
    x0 = np.zeros((1, 100, 1, 200, 2, 3), np.uint8)
    x0[..., ::2, :, :] = 1
    with pytest.raises(ValueError, match="keep fewer steps"):
        _payload.case(html.Case("c", "p", x0))
