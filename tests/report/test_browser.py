"""The page in a real Chromium: it moves when asked, asks the network for nothing, and no string in it acts."""

import base64
import contextlib
import io
import os
import pathlib
import time
from dataclasses import replace

import numpy as np
import pytest
import report_samples as samples
from PIL import Image
from test_html import X0, hostile_page

from tests.chromium import browser as browser
from vrjax.report import html

pytestmark = pytest.mark.browser

SIZES = [(1320, 1000), (768, 1024), (390, 844), (320, 600)]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two cases, the second without truth, maps and sigma, with one seed and few steps."""
    bare = replace(
        samples.case(1, seeds=1, steps=4, maps=False),
        name="Bare", truth=None, noisy=None, sigma=None, solved=None, guesses=None, outcomes=None, events=(),
    )  # fmt: skip
    cases = [samples.case(0, seeds=2, steps=12), bare]
    return html.write(tmp_path_factory.mktemp("run"), samples.page(1, scrubbers=[html.Scrubber(cases)]))


@contextlib.contextmanager
def opened(browser, path, size=(1320, 1000), ready=True, at="", **options):
    """A page on which any console message, error, refused policy or request but the file itself fails the test."""
    options = {"reduced_motion": "reduce", **options}  # else it plays once when it opens
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = context.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri() + at)
    if ready:
        page.wait_for_selector("[data-scrubber][data-ready=true]")
    try:
        yield page
        page.wait_for_timeout(30)
        assert trouble == []
        assert [url.split("#")[0] for url in asked if not url.startswith("data:image/")] == [path.as_uri()]
    finally:
        context.close()


def place(page):
    return page.eval_on_selector("[data-scrubber]", "node => ({...node.dataset})")


def big(page) -> np.ndarray:
    """Pixels of the big view, (h, w, 3) uint8."""
    uri = page.eval_on_selector("[data-ref=big]", "canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def looks(page) -> dict[str, str]:
    """What each panel shows now."""
    return page.evaluate(
        """() => {
          const url = (name) => document.querySelector(`[data-ref=${name}]`).toDataURL();
          const paint = (node) => [...node.querySelectorAll('.cell')].map((c) => c.getAttribute('fill')).join();
          const maps = [...document.querySelectorAll('[data-layermap]')];
          const x = (sel) => document.querySelector(sel + ' .cursor-line')?.getAttribute('x1') ?? '';
          return {big: url('big'), sheet: url('sheetCanvas'), truth: url('truth'), noisy: url('noisy'),
            energy: maps.length ? paint(maps[0]) : '',
            tokens: [...document.querySelectorAll('.tiles canvas')].map((c) => c.toDataURL()).join(),
            caseCurve: x('[data-curve]'), pageCurve: x('[data-plot=curve]'),
            pageMap: document.querySelector('[data-plot=map] .cell-mark')?.getAttribute('x') ?? ''};
        }"""
    )


def until(true):
    """Waits until it is so; the page's policy allows no evaluation inside it."""
    for _ in range(100):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that in five seconds")


def slide(page, name, value):
    page.eval_on_selector(
        f"[data-ref={name}]",
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input', {bubbles: true})); }",
        str(value),
    )


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def no_overflow(page):
    wide, seen, culprits = page.evaluate(
        """() => [document.documentElement.scrollWidth, document.documentElement.clientWidth,
          [...document.querySelectorAll('body *')]
            .filter((n) => n.getBoundingClientRect().right > innerWidth + 1)
            .filter((n) => !n.closest('.cases, .table-box, pre, svg, .unseen, .prompt'))
            .map((n) => n.tagName + '.' + n.className).slice(0, 9)]"""
    )
    assert wide <= seen and culprits == [], (wide, seen, culprits)


def test_the_guess_in_view_is_the_array_that_was_given(browser, report):
    case = samples.case(0, seeds=2, steps=12)
    with opened(browser, report) as page:
        for step, frame in ((0, 0), (5, 8), (11, 3)):
            slide(page, "step", step)
            slide(page, "frame", frame)
            np.testing.assert_array_equal(big(page), case.x0[0, step, frame, ::4, ::4])


def test_the_step_slider_moves_everything(browser, report):
    with opened(browser, report) as page:
        slide(page, "step", 1)
        before = looks(page)
        slide(page, "step", 6)
        after = looks(page)
        assert changed(before, after) == set(before) - {"truth"}
        assert place(page)["step"] == "6"
        sigma = samples.case(0, steps=12, seeds=1).sigma[6]
        assert page.inner_text("[data-ref=stepOut]").split() == ["step", "6", "σ", f"{sigma:.3f}"]
        slide(page, "frame", 2)
        assert changed(after, looks(page)) == {"big", "sheet", "truth", "noisy", "tokens"}
        slide(page, "step", 1)
        slide(page, "frame", 8)
        assert looks(page) == before


def test_the_cursor_stands_at_the_step(browser, report):
    with opened(browser, report) as page:
        found = []
        for step in (0, 4, 11):
            slide(page, "step", step)
            found.append(float(looks(page)["caseCurve"]))
        assert (found[1] - found[0]) / (found[2] - found[0]) == pytest.approx(4 / 11, abs=1e-3)
        value = page.inner_text("[data-curve] .value")
        assert float(value.replace("−", "-")) >= 0


def test_keys_move_between_cells(browser, report):
    with opened(browser, report) as page:
        slide(page, "step", 3)
        slide(page, "frame", 4)
        page.focus("[data-ref=sheet]")
        for key, wanted in (
            ("ArrowRight", ("4", "4")), ("ArrowDown", ("4", "5")), ("ArrowLeft", ("3", "5")), ("ArrowUp", ("3", "4")),
            ("Home", ("0", "4")), ("ArrowLeft", ("0", "4")), ("End", ("11", "4")), ("ArrowRight", ("11", "4")),
        ):  # fmt: skip
            page.keyboard.press(key)
            assert (place(page)["step"], place(page)["frame"]) == wanted, key
        page.keyboard.press("2")
        assert place(page)["seed"] == "1"
        page.keyboard.press("o")
        assert place(page)["overlay"] == "ink" and page.is_checked("input[value=ink]")
        page.focus("[data-ref=step]")
        page.keyboard.press("ArrowLeft")
        assert place(page)["step"] == "10"
        assert "step 10" in page.inner_text("[role=status]") and "seed 1" in page.inner_text("[role=status]")


def test_everything_is_reached_by_tab(browser, report):
    with opened(browser, report) as page:
        reached = set()
        for _ in range(30):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate("(n => n.dataset.ref || n.name || n.className || n.tagName)(document.activeElement)")
            )
        wanted = {"skip", "tally", "case-0", "playStep", "step", "playFrame", "frame", "seed-0", "overlay-0", "sheet"}
        assert wanted <= reached
        unnamed = page.evaluate(
            """[...document.querySelectorAll('button, input, select, [tabindex], canvas[role], svg[role]')]
              .filter((n) => !(n.getAttribute('aria-label') || n.closest('label')?.textContent.trim()))
              .map((n) => n.outerHTML.slice(0, 90))"""
        )
        assert unnamed == []


def test_it_opens_at_the_first_step_and_plays_once(browser, report):
    with opened(browser, report) as page:  # less motion is wanted: it stays
        page.wait_for_timeout(900)
        assert place(page)["step"] == "0" and place(page)["frame"] == "8"
    with opened(browser, report, reduced_motion="no-preference") as page:
        assert page.get_attribute("[data-ref=playStep]", "aria-pressed") == "true"
        page.wait_for_selector("[data-scrubber][data-step='11']", timeout=8000)
        page.wait_for_selector("[data-ref=playStep][aria-pressed=false]", timeout=5000)
        assert page.evaluate("location.hash") == ""  # nobody has moved yet
    with opened(browser, report, reduced_motion="no-preference") as page:
        page.focus("[data-ref=sheet]")
        page.keyboard.press("Home")
        page.wait_for_timeout(900)
        assert place(page)["step"] == "0"  # whoever takes over is not played on


@pytest.mark.parametrize("size", [(1400, 900), (390, 844)])
def test_what_can_be_moved_is_in_the_first_screen(browser, report, size):
    with opened(browser, report, size) as page:
        for name in ("big", "noisy", "playStep", "step", "ticks", "frame", "guess"):
            box = page.locator(f"[data-ref={name}]").first.bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= size[1], (name, box)
        assert page.evaluate("scrollY") == 0


def test_each_tick_says_what_the_guess_is(browser, report):
    case = samples.case(0, seeds=2, steps=12)
    with opened(browser, report) as page:
        for seed in (0, 1):
            page.click(f".seeds label:nth-of-type({seed + 1})")
            kinds = page.eval_on_selector_all("[data-ref=ticks] .tick", "all => all.map((n) => n.classList[1])")
            assert kinds == [g.kind for g in case.guesses[seed]]
        tall = page.eval_on_selector_all(".guess-key .tick", "all => all.map((n) => n.offsetHeight)")
        assert len(set(tall)) == 3  # the height says it too
        assert page.inner_text(".guess-key").split("\n") == ["right", "other path", "unreadable"]
        for step, words in ((0, ["unreadable"]), (11, ["other path", "into the dead end"])):
            slide(page, "step", step)
            assert page.locator("[data-ref=guess] > *").all_inner_texts()[1:] == words
            spoken = ": ".join(words)
            assert spoken in page.get_attribute("[data-ref=step]", "aria-valuetext")
            assert spoken in page.inner_text("[role=status]")
        under = page.evaluate(
            """() => [...document.querySelectorAll('[data-ref=ticks] .tick')].map((n) => n.getBoundingClientRect().x)"""
        )
        ends = page.locator("[data-ref=step]").bounding_box()
        assert under[0] == pytest.approx(ends["x"] + 6, abs=1.5)  # the thumb's middle, less half a tick
        assert under[-1] == pytest.approx(ends["x"] + ends["width"] - 12, abs=1.5)


def test_the_address_keeps_the_place(browser, report):
    with opened(browser, report) as page:
        slide(page, "step", 5)
        page.click(".seeds label:nth-of-type(2)")
        slide(page, "step", 7)
        slide(page, "frame", 3)
        until(lambda: page.evaluate("location.hash") == "#case=0&seed=1&step=7&frame=3")
        page.click(".cases label:nth-of-type(2)")
        page.wait_for_selector("[data-scrubber][data-case='1']")
        until(lambda: page.evaluate("location.hash").startswith("#case=1"))
        page.go_back()
        page.wait_for_selector("[data-scrubber][data-case='0'][data-seed='1'][data-step='7'][data-frame='3']")
        assert page.is_checked(".cases input[value='0']")
        page.go_back()
        page.wait_for_selector("[data-scrubber][data-case='0'][data-seed='0'][data-step='5']")
        page.go_forward()
        page.wait_for_selector("[data-scrubber][data-seed='1'][data-step='7'][data-frame='3']")
    with opened(browser, report, at="#case=0&seed=1&step=9&frame=2", reduced_motion="no-preference") as page:
        assert place(page) | {"case": "0", "seed": "1", "step": "9", "frame": "2"} == place(page)
        page.wait_for_timeout(700)
        assert place(page)["step"] == "9"  # who was sent to a place is left there
    with opened(browser, report, at="#case=99&seed=-4&step=x&frame=1e9") as page:
        assert place(page) | {"case": "1", "seed": "0", "step": "0"} == place(page)


def test_keys_work_before_anything_has_the_focus(browser, report):
    with opened(browser, report) as page:
        for key, step in (("ArrowRight", "1"), ("End", "11"), ("ArrowLeft", "10"), ("Home", "0")):
            page.keyboard.press(key)
            assert place(page)["step"] == step, key
        page.keyboard.press(" ")
        assert page.get_attribute("[data-ref=playStep]", "aria-pressed") == "true"
        page.keyboard.press(" ")
        page.keyboard.press("ArrowDown")  # scrolls, as everywhere
        page.keyboard.press("2")
        assert place(page)["frame"] == "8" and place(page)["seed"] == "0"


def test_a_finger_moves_through_the_steps(browser, report):
    with opened(browser, report, (390, 844), has_touch=True) as page:
        box = page.locator("[data-ref=big]").bounding_box()
        middle = box["y"] + box["height"] / 2
        wire = page.context.new_cdp_session(page)
        touch = lambda kind, x: wire.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if x is None else [{"x": x, "y": middle}]}
        )
        touch("touchStart", box["x"] + 20)
        for share in (0.2, 0.3, 0.4, 0.5):
            touch("touchMove", box["x"] + 20 + share * box["width"])
        touch("touchEnd", None)
        page.wait_for_selector("[data-scrubber][data-step='6']")
        assert place(page)["step"] == "6"
        for pressed in ("true", "false"):
            page.touchscreen.tap(box["x"] + 30, middle)
            page.wait_for_selector(f"[data-ref=playStep][aria-pressed={pressed}]")
            assert page.get_attribute("[data-ref=playStep]", "aria-pressed") == pressed


def test_playing_runs_to_the_last_step_and_stops(browser, report):
    with opened(browser, report) as page:
        slide(page, "step", 8)
        page.click("[data-ref=playStep]")
        assert page.get_attribute("[data-ref=playStep]", "aria-pressed") == "true"
        page.wait_for_selector("[data-scrubber][data-step='11']", timeout=5000)
        page.wait_for_selector("[data-ref=playStep][aria-pressed=false]", timeout=5000)
        # It plays in a circle, and on a busy machine a frame may pass between two looks: the page itself takes note.
        page.evaluate(
            """() => {
                const scrubber = document.querySelector("[data-scrubber]");
                window.seen = [];
                new MutationObserver(() => window.seen.push(scrubber.dataset.frame))
                    .observe(scrubber, { attributeFilter: ["data-frame"] });
            }"""
        )
        page.click("[data-ref=playFrame]")
        page.wait_for_function("() => window.seen.includes('2')", timeout=5000)
        page.click("[data-ref=playFrame]")
        here = place(page)["frame"]
        page.wait_for_timeout(400)
        assert place(page)["frame"] == here


def test_seeds_and_cases_switch(browser, report):
    with opened(browser, report) as page:
        slide(page, "step", 11)
        before = looks(page)
        assert "solved" in page.inner_text("[data-ref=outcome]") and "not" not in page.inner_text("[data-ref=outcome]")
        page.click(".seeds label:nth-of-type(2)")
        assert {"big", "sheet", "noisy", "energy", "tokens"} <= changed(before, looks(page))
        assert "not solved" in page.inner_text("[data-ref=outcome]")
        page.click(".cases label:nth-of-type(2)")
        page.wait_for_selector("[data-scrubber][data-case='1']")
        for name in ("truthFigure", "noisyFigure", "overlay", "seeds", "outcome", "eventLine"):
            assert not page.is_visible(f"[data-ref={name}]"), name
        assert page.query_selector("[data-layermap]") is None
        assert place(page) | {} and place(page)["step"] == "3"
        np.testing.assert_array_equal(big(page), samples.case(1, seeds=1, steps=4).x0[0, 3, 8, ::4, ::4])
        no_overflow(page)
        page.click(".cases label:nth-of-type(1)")
        page.wait_for_selector("[data-layermap]")


def test_clicks_on_the_sheet_and_on_a_plot_go_there(browser, report):
    with opened(browser, report) as page:
        slide(page, "step", 0)
        slide(page, "frame", 0)
        page.locator("[data-ref=sheet]").scroll_into_view_if_needed()
        box = page.locator("[data-ref=sheet]").bounding_box()
        page.mouse.click(box["x"] + 60, box["y"] + box["height"] - 12)
        assert place(page)["frame"] == "8" and place(page)["step"] == "0"
        page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + 60)
        assert int(place(page)["step"]) > 6 and place(page)["frame"] in "01"
        page.locator("[data-plot=curve] .plot-box").first.scroll_into_view_if_needed()
        plot = page.locator("[data-plot=curve] .plot-box").first.bounding_box()
        page.mouse.click(plot["x"] + plot["width"] - 14, plot["y"] + 60)
        assert place(page)["step"] == "11"


def test_wrong_ink_is_tinted_where_the_truth_is_free(browser, report):
    case = samples.case(0, seeds=2, steps=12)
    truth, guess = case.truth[8, ::4, ::4].astype(int), case.x0[1, 11, 8, ::4, ::4].astype(int)
    first = case.truth[0, ::4, ::4].astype(int)
    wrong = (np.abs(guess - truth).max(-1) > 100) & (np.abs(truth - first).max(-1) == 0)
    missing = (np.abs(guess - truth).max(-1) > 100) & (np.abs(truth - first).max(-1) > 100)
    assert wrong.any() and missing.any()
    with opened(browser, report) as page:
        slide(page, "step", 11)
        page.click(".seeds label:nth-of-type(2)")
        page.click("text=Wrong ink")
        seen = big(page).astype(int)
        grey = np.ptp(seen, axis=-1) <= 2
        np.testing.assert_array_equal(grey, np.abs(guess - truth).max(-1) < 10)
        assert (seen[wrong] @ [1, 0, 0] > 200).all() and (seen[missing] @ [0, 0, 1] > 170).all()
        assert (seen[missing] @ [1, 0, 0] < 90).all()
        page.click("text=Difference")
        assert big(page)[wrong].mean() > big(page)[grey].mean() + 60


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_layout_overflows_and_colours_follow_the_scheme(browser, report, size, scheme):
    with opened(browser, report, size, color_scheme=scheme) as page:
        no_overflow(page)
        ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
        light = lambda colour: sum(int(v) for v in colour[4:-1].split(",")[:3]) / 765
        dark, bright = sorted((light(ground), light(ink)))
        assert dark < 0.2 and bright > 0.8 and (light(ground) > light(ink)) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser, report, scheme):
    """WCAG AA: 4.5 to 1 for every piece of text in HTML and in the plots."""
    with opened(browser, report, color_scheme=scheme) as page:
        faint = page.evaluate(
            """() => {
              const parse = (c) => c.match(/[\\d.]+/g).map(Number);
              const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
              const lum = (c) => {
                const [r, g, b] = parse(c).map((v) => linear(v / 255));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const clear = (c) => c === 'transparent' || (parse(c).length === 4 && parse(c)[3] === 0);
              const ground = (n) => {
                while (n && clear(getComputedStyle(n).backgroundColor)) n = n.parentElement;
                return n ? getComputedStyle(n).backgroundColor : 'rgb(255,255,255)';
              };
              const out = [];
              const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
              while (walk.nextNode()) {
                const n = walk.currentNode.parentElement;
                const words = walk.currentNode.textContent.trim().slice(0, 20);
                if (!words || n.closest('script, style, noscript, .unseen, .skip')) continue;
                if (!n.getClientRects().length) continue;
                const style = getComputedStyle(n);
                const two = [lum(n.closest('svg') ? style.fill : style.color), lum(ground(n))].sort((x, y) => y - x);
                const ratio = (two[0] + 0.05) / (two[1] + 0.05);
                if (ratio < 4.5) out.push(`${n.tagName} ${n.className.baseVal ?? n.className} ${words} ${ratio}`);
              }
              return [...new Set(out)];
            }"""
        )
        assert faint == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, report, scheme):
    """WCAG 2.2 A and AA and best practices, by axe-core: names, roles, contrast, landmarks, order of headings."""
    try:
        import axe_playwright_python as axe
    except ImportError:
        if "browser" in os.environ.get("VRJAX_REQUIRE", ""):
            raise
        pytest.skip("axe-playwright-python is not installed")
    source = pathlib.Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    for size in ((1400, 900), (390, 844)):
        with opened(browser, report, size, color_scheme=scheme, bypass_csp=True) as page:
            for step in (0, 11):
                slide(page, "step", step)
                page.evaluate(source)
                found = page.evaluate("axe.run()")
                assert len(found["passes"]) > 20 and "color-contrast" in {rule["id"] for rule in found["passes"]}
                told = [(v["id"], v["impact"], [n["html"][:90] for n in v["nodes"]][:3]) for v in found["violations"]]
                assert [one for one in told if one[1] in ("serious", "critical", "moderate")] == [], told


def test_arms_stand_side_by_side_and_move_together(browser, tmp_path):
    """All arms large and by name beside the truth, one frame slider for all; no steps, so no step slider."""
    one = samples.case(0, seeds=3, steps=2, maps=False)
    names = ["base", "SFT", "RealDPO"]
    case = replace(one, x0=one.x0[:, -1:], noisy=None, steps=None, sigma=None, guesses=None, events=(), seeds=names)
    path = html.write(tmp_path, html.Page("t", scrubbers=[html.Scrubber([case], compare="Arms, one noise")]))
    shots = """() => [...document.querySelectorAll('.seeds canvas')].map((c) => c.toDataURL())"""
    for size, least in (((1400, 900), 200), ((390, 844), 140)):
        with opened(browser, path, size) as page:
            assert page.locator(".seeds .name").all_inner_texts() == names
            assert page.locator(".outcome").all_inner_texts() == ["solved", "not solved", "solved"]
            assert all(
                box["width"] >= least for box in map(lambda n: n.bounding_box(), page.locator(".seeds canvas").all())
            )
            assert not page.is_visible("[data-ref=step]") and not page.is_visible(".screens")
            frame = page.locator("[data-ref=frame]").bounding_box()
            assert frame["y"] + frame["height"] < size[1]
            before = page.evaluate(shots)
            page.keyboard.press("Home")
            assert place(page)["frame"] == "0"
            assert all(a != b for a, b in zip(before, page.evaluate(shots), strict=True)) and len(before) == 4
            no_overflow(page)
    with opened(browser, path, ready=False, java_script_enabled=False) as page:
        assert page.locator(".contact li").all_inner_texts() == ["base: solved", "SFT: not solved", "RealDPO: solved"]


def test_hostile_strings_neither_run_nor_break_the_layout(browser, tmp_path):
    words = samples.HOSTILE
    path = html.write(tmp_path, hostile_page(words))
    for size in ((1320, 1000), (390, 844)):
        with opened(browser, path, size) as page:
            assert page.evaluate("window.hit") is None
            assert page.evaluate("document.images.length") == 1  # the one picture of the page
            assert page.eval_on_selector("[data-ref=prompt]", "n => n.textContent") == words
            assert "49" not in page.inner_text("h1") and "{{ 7*7 }}" in page.inner_text("h1")
            no_overflow(page)
            page.focus("[data-ref=sheet]")
            page.keyboard.press("ArrowDown")
            assert page.evaluate("window.hit") is None


def test_a_script_that_did_get_in_would_not_run(browser, tmp_path):
    """The policy is a second wall: markup slipped into the file by hand stays dead."""
    path = html.write(tmp_path, html.Page("t"))
    inside = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'><img src='https://example.invalid/x'>"
    path.write_text(path.read_text().replace("<main", inside + "<main"))
    context = browser.new_context()
    page = context.new_page()
    sent = []
    page.on("response", lambda response: sent.append(response.url))
    page.goto(path.as_uri())
    page.wait_for_timeout(100)
    assert page.evaluate("window.hit") is None and sent == [path.as_uri()]
    context.close()


def test_the_smallest_and_the_longest_runs_are_drawn(browser, tmp_path):
    rng = np.random.default_rng(0)
    tiny = html.Case("one of each", "p", X0[:1, :1, :1])
    long_run = rng.integers(0, 255, (5, 50, 21, 6, 10, 3)).astype(np.uint8)
    maps = [html.LayerMap("latent frames", rng.random((5, 50, 40, 6)), relative="step")]
    steps = np.arange(0, 100, 2)
    case = html.Case(
        "long",
        "p " * 300,
        long_run,
        truth=long_run[0, -1],
        steps=steps,
        maps=maps,
        solved=[True, False, True, False, False],
    )
    path = html.write(tmp_path, html.Page("t", scrubbers=[html.Scrubber([tiny]), html.Scrubber([case])]))
    with opened(browser, path, (390, 844)) as page:
        page.wait_for_function("document.querySelectorAll('[data-ready=true]').length === 2")
        second = page.locator("[data-scrubber='1']")
        second.locator("[data-ref=sheet]").focus()
        page.keyboard.press("End")
        assert second.get_attribute("data-step") == "98"
        assert page.locator("[data-scrubber='0']").get_attribute("data-step") == "0"
        no_overflow(page)


def test_without_scripts_the_claims_and_tables_are_still_there(browser, report):
    with opened(browser, report, ready=False, java_script_enabled=False) as page:
        assert page.is_visible("noscript p") and not page.is_visible(".bench")
        shown = [(0, [round(11 * i / 7) for i in range(8)]), (1, [0, 1, 2, 3])]
        for i, steps in shown:
            rows = page.locator(".contact").nth(i).locator("li").all_inner_texts()
            assert [row.split(":")[0] for row in rows] == [f"step {step}" for step in steps]
            assert page.locator(".contact img").nth(i).evaluate("n => n.naturalWidth") == 9 * (10 + 1)
        assert "right, to the goal" in page.locator(".contact").nth(0).inner_text()
        no_overflow(page)
        assert page.locator(".claim").count() == 4 and page.is_visible("text=Commitment")
