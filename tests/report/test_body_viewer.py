"""Motions in a real Chromium: what is drawn is the array that was given, it turns, and all moves under one clock."""

import base64
import io
import os
import pathlib
from dataclasses import replace

import numpy as np
import pytest
import report_samples as samples
import test_browser
from PIL import Image
from test_browser import SIZES, no_overflow, opened, place, slide, until
from test_skeletons import at_joints, everywhere, hostile_body_page, pinhole

from vrjax.report import html

pytestmark = pytest.mark.browser
browser = test_browser.browser
TONES = [(10, 95, 180), (176, 48, 122), (20, 32, 46)]  # left, right, middle, in the light scheme
LARGE, MIDDLE = 1.25, 0.9


@pytest.fixture(scope="module")
def body():
    return samples.body(0, seeds=3, steps=5, frames=20)


@pytest.fixture(scope="module")
def report(body, tmp_path_factory):
    """Two motions, the second without truth, sigma and guesses, with one seed and one step."""
    bare = html.Body("Bare", "p", samples.walk(6)[None, None])
    page = html.Page("Motions", scrubbers=[html.Scrubber([body, bare])])
    return html.write(tmp_path_factory.mktemp("bodies"), page)


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """Three arms side by side, without steps."""
    one = samples.body(0, seeds=3, steps=1, guesses=None, sigma=None, maps=(), curves=(), events=(), world="")
    one = replace(one, seeds=["T2M", "M2M", "gate"], solved=[True, False, True], outcomes=None)
    page = html.Page("Arms", scrubbers=[html.Scrubber([one], compare="Arms, one noise")])
    return html.write(tmp_path_factory.mktemp("arms"), page)


def pixels(page, ref="big") -> np.ndarray:
    uri = page.eval_on_selector(f"[data-ref={ref}]", "canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")).astype(int)


def alone(page):
    """Nothing but the body, its floor and its way."""
    for name in ("Other seeds", "Truth", "Feet"):
        page.click(f"[data-ref=shows] >> text={name}")


def seen(page, pose, floor, shape, whole=None):
    """Where the joints of a pose should be in the view that the page says it has."""
    at = place(page)
    centre, radius = whole or ([pose[0, 0], pose[0, 1], floor + MIDDLE], LARGE)
    return pinhole(
        pose, float(at["azimuth"]), float(at["elevation"]), centre, radius, shape[1], shape[0], float(at["zoom"])
    )


def bones_of(image):
    return (np.abs(image[:, :, None] - np.array(TONES)).max(-1) < 45).any(-1)


def test_what_is_drawn_is_the_array_that_was_given(browser, report, body):
    with opened(browser, report) as page:
        alone(page)
        for seed, step, frame in ((0, 4, 0), (2, 0, 11), (1, 2, 19)):
            page.click(f".seeds label:nth-of-type({seed + 1})")
            slide(page, "step", step)
            slide(page, "frame", frame)
            image = pixels(page)
            strong = bones_of(image)
            places = seen(page, body.joints[seed, step, frame], body.floor, image.shape)
            metre = min(image.shape[:2]) / (2 * LARGE)
            assert at_joints(strong, places) == 1.0
            assert everywhere(strong, places, 0.085 * metre * 1.25 + 2)
            other = seen(page, body.joints[(seed + 1) % 3, step, (frame + 9) % 20], body.floor, image.shape)
            assert not everywhere(strong, other - other[0] + places[0], 0.085 * metre * 1.25 + 2)  # another pose there
        truth = pixels(page, "truth")
        places = seen(page, body.truth[19], body.floor, truth.shape)
        assert at_joints(bones_of(truth), places) == 1.0


def test_a_screen_of_more_dots_has_the_same_picture(browser, report, body):
    with opened(browser, report, device_scale_factor=2) as page:
        alone(page)
        image = pixels(page)
        assert image.shape[1] == pytest.approx(2 * page.locator("[data-ref=big]").bounding_box()["width"], abs=2)
        places = seen(page, body.joints[0, 4, 0], body.floor, image.shape)
        assert at_joints(bones_of(image), places) == 1.0
        assert everywhere(bones_of(image), places, 0.085 * min(image.shape[:2]) / (2 * LARGE) * 1.25 + 3)


def test_each_side_has_its_colour_and_the_nearer_bone_lies_above(browser, report, body):
    with opened(browser, report) as page:
        alone(page)
        page.click("[data-ref=views] >> text=Front")
        for frame in (0, 6, 17):
            slide(page, "frame", frame)
            image = pixels(page)
            places = seen(page, body.joints[0, 4, frame], body.floor, image.shape)
            for joint, parent, tone in ((7, 4, TONES[0]), (8, 5, TONES[1]), (20, 18, TONES[0]), (12, 9, TONES[2])):
                x, y = ((places[joint] + places[parent]) / 2).astype(int)
                assert np.abs(image[y, x] - tone).max() < 12, (frame, joint)
            assert places[7, 0] > places[8, 0]  # its left is on the right of who looks at its face
        page.click("[data-ref=views] >> text=Side")
        image = pixels(page)
        places = seen(page, body.joints[0, 4, 17], body.floor, image.shape)
        x, y = places[1].astype(int)  # the hips in one line: from its right side the right one is nearer
        assert np.hypot(*(places[1] - places[2])) < 5 and np.abs(image[y, x] - TONES[1]).max() < 60


def test_a_drag_turns_and_moves_nothing_else(browser, report, body):
    with opened(browser, report) as page:
        alone(page)
        before = place(page)
        box = page.locator("[data-ref=big]").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y + 40, steps=4)
        page.mouse.up()
        after = place(page)
        turned = (float(before["azimuth"]) - float(after["azimuth"])) / 220 * box["width"]
        tilted = (float(after["elevation"]) - float(before["elevation"])) / 150 * box["width"]
        assert (turned, tilted) == pytest.approx((90, 40), abs=1)
        assert {k: after[k] for k in ("seed", "step", "frame")} == {k: before[k] for k in ("seed", "step", "frame")}
        image = pixels(page)
        assert at_joints(bones_of(image), seen(page, body.joints[0, 4, 0], body.floor, image.shape)) == 1.0
        page.mouse.click(x, y)  # no drag: it plays
        assert page.get_attribute("[data-ref=playFrame]", "aria-pressed") == "true"


def test_keys_turn_and_move(browser, report):
    with opened(browser, report) as page:
        page.focus("[data-ref=view]")
        for key, name, value in (
            ("ArrowRight", "azimuth", "45.0"), ("ArrowLeft", "azimuth", "35.0"), ("ArrowUp", "elevation", "17.0"),
            ("+", "zoom", "1.250"), ("-", "zoom", "1.000"), ("ArrowDown", "elevation", "12.0"),
            ("ArrowDown", "elevation", "7.0"), ("0", "elevation", "12.0"), ("Home", "step", "0"), ("End", "step", "4"),
            ("2", "seed", "1"), ("3", "seed", "2"),
        ):  # fmt: skip
            page.keyboard.press(key)
            assert place(page)[name] == value, key
        for key, word in (("g", "seeds"), ("t", "truth"), ("c", "contacts"), ("f", "follow")):
            assert word in place(page)["shows"]
            page.keyboard.press(key)
            assert word not in place(page)["shows"] and not page.is_checked(f"[data-ref=shows] input[value={word}]")
        page.keyboard.press(" ")
        assert page.get_attribute("[data-ref=playFrame]", "aria-pressed") == "true"
        page.keyboard.press(" ")
        page.focus("[data-ref=sheet]")
        slide(page, "frame", 4)
        for key, name, value in (
            ("ArrowLeft", "step", "3"),
            ("ArrowDown", "frame", "5"),
            ("Shift+ArrowRight", "azimuth", "45.0"),
        ):
            page.keyboard.press(key)
            assert place(page)[name] == value, key
        assert place(page)["step"] == "3"
        spoken = page.inner_text("[role=status]")
        assert "seed 2, step 3" in spoken and "left foot" in spoken and "metres a second" in spoken


def changes(page, name):
    before = pixels(page)
    page.click(f"[data-ref=shows] >> text={name}")
    after = pixels(page)
    page.click(f"[data-ref=shows] >> text={name}")
    np.testing.assert_array_equal(pixels(page), before)
    return np.abs(after - before).max(-1) > 8


def test_ghosts_are_the_other_seeds_and_the_truth_and_all_is_in_view_when_it_does_not_follow(browser, report, body):
    last = np.concatenate([body.joints[:, -1].reshape(-1, 3), body.truth.reshape(-1, 3)])
    low, high = last.min(0), last.max(0)
    low[2] = min(low[2], body.floor)
    whole = ((low + high) / 2, max(1.05, 0.55 * np.linalg.norm(high - low)))
    with opened(browser, report) as page:
        slide(page, "step", 3)
        slide(page, "frame", 17)
        page.click("[data-ref=shows] >> text=Follow")
        shape = pixels(page).shape
        metre = min(shape[:2]) / (2 * whole[1])
        at = lambda pose: seen(page, pose, body.floor, shape, whole)
        drawn = changes(page, "Other seeds")
        two = [at(body.joints[seed, 3, 17]) for seed in (1, 2)]
        assert min(at_joints(drawn, places) for places in two) > 0.6  # the rest lies behind the body in front
        ys, xs = np.nonzero(drawn)
        spots = np.stack([xs, ys], -1)
        both = np.concatenate(two)
        assert np.linalg.norm(spots[:, None] - both, axis=-1).min(1).max() < 0.3 * metre
        drawn = changes(page, "Truth")
        assert at_joints(drawn, at(body.truth[17])) > 0.6
        assert everywhere(drawn, at(body.truth[17]), 0.085 * metre * 1.3 + 2)
        alone(page)
        for frame in (0, 19):
            slide(page, "frame", frame)
            places = at(body.joints[0, 3, frame])
            assert (places > 0).all() and (places < shape[1::-1]).all()
            assert at_joints(bones_of(pixels(page)), places) == 1.0


def test_feet_that_stand_and_slide_are_marked_apart(browser, tmp_path):
    still = np.repeat(samples.REST[None], 4, 0)
    slides = still.copy()
    slides[1:, 10, 1] += np.array([0.1, 0.2, 0.3])  # the left toe, at 2 m/s on the floor
    flies = still + np.float32([0, 0, 0.4])
    body = html.Body("b", "p", np.stack([still, slides, flies])[:, None], floor=0.0)
    path = html.write(tmp_path, html.Page("t", scrubbers=[html.Scrubber([body])]))
    green, orange = (0, 112, 92), (178, 58, 8)
    with opened(browser, path) as page:
        page.click("[data-ref=shows] >> text=Other motions")
        page.click("[data-ref=views] >> text=Top")
        found = {}
        for seed in range(3):
            page.click(f".seeds label:nth-of-type({seed + 1})")
            image = pixels(page)
            toes = seen(page, body.joints[seed, 0, 0][[0, 10, 11]] * [1, 1, 0], 0.0, image.shape)[1:]
            marked = changes(page, "Feet")
            spots = np.stack(np.nonzero(marked)[::-1], -1)
            reach = np.linalg.norm(toes[0] - toes[1]) / 2
            found[seed] = [image[marked][np.linalg.norm(spots - toe, axis=-1) < reach] for toe in toes]
            found[seed, "words"] = page.get_attribute("[data-ref=big]", "aria-label")
        share = lambda spots, tone: (np.abs(spots - np.array(tone)).max(-1) < 70).sum()
        assert share(found[0][0], green) > 80 and share(found[0][1], green) > 80
        assert share(found[1][0], orange) > 60 and share(found[1][0], green) < 20 and share(found[1][1], green) > 80
        assert len(found[2][0]) == len(found[2][1]) == 0
        assert "left foot slides, right foot stands" in found[1, "words"]
        assert "left foot in the air, right foot in the air" in found[2, "words"]


def test_arrows_show_the_velocity(browser, tmp_path):
    moving = samples.REST[None] + np.arange(6)[:, None, None] * np.float32([0.15, 0, 0])  # 3 m/s along x
    path = html.write(
        tmp_path, html.Page("t", scrubbers=[html.Scrubber([html.Body("b", "p", moving[None, None], floor=0.0)])])
    )
    with opened(browser, path) as page:
        page.click("[data-ref=views] >> text=Front")
        slide(page, "frame", 2)
        drawn = changes(page, "Velocity")
        pose = moving[2]
        for joint in (15, 20):  # the tip: 0.2 s ahead
            tip = seen(page, np.stack([pose[0], pose[joint] + [0.57, 0, 0]]), 0.0, drawn.shape)[1].astype(int)
            assert drawn[tip[1] - 3 : tip[1] + 4, tip[0] - 3 : tip[0] + 4].any()
        assert "pelvis 3.00 m/s" in page.inner_text("[data-ref=overlayKey]")
        wide = np.nonzero(drawn)[1]
        hands = seen(page, pose[[0, 20, 21]], 0.0, drawn.shape)
        assert wide.min() < hands[:, 0].min() - 30 and wide.max() <= hands[:, 0].max() + 2  # only ahead of the joints


def test_it_opens_at_the_end_and_plays_the_motion_once(browser, report):
    with opened(browser, report) as page:  # less motion is wanted: it stays
        page.wait_for_timeout(300)
        assert place(page)["step"] == "4" and place(page)["frame"] == "0"
    with opened(browser, report, reduced_motion="no-preference") as page:
        page.wait_for_selector("[data-scrubber][data-frame='19']", timeout=8000)
        page.wait_for_selector("[data-ref=playFrame][aria-pressed=false]", timeout=5000)
        assert place(page)["step"] == "4" and page.evaluate("location.hash") == ""


def test_a_sheet_below_the_screen_is_drawn_when_the_motion_stops(browser, report):
    with opened(browser, report, (390, 844)) as page:
        slide(page, "frame", 3)
        before = pixels(page, "sheetCanvas")
        page.click("[data-ref=playFrame]")
        until(lambda: place(page)["frame"] != "3")
        page.click("[data-ref=playFrame]")
        assert page.get_attribute("[data-ref=playFrame]", "aria-pressed") == "false"
        stopped = pixels(page, "sheetCanvas")
        assert (stopped != before).any()
        slide(page, "frame", place(page)["frame"])
        np.testing.assert_array_equal(pixels(page, "sheetCanvas"), stopped)


def test_the_address_keeps_the_place_of_a_motion(browser, report):
    with opened(browser, report, at="#case=0&seed=2&step=3&frame=12", reduced_motion="no-preference") as page:
        assert place(page) | {"case": "0", "seed": "2", "step": "3", "frame": "12"} == place(page)
        slide(page, "frame", 15)
        until(lambda: page.evaluate("location.hash") == "#case=0&seed=2&step=3&frame=15")


def test_a_motion_without_truth_steps_and_seeds(browser, report):
    with opened(browser, report) as page:
        page.click(".cases label:nth-of-type(2)")
        page.wait_for_selector("[data-scrubber][data-case='1']")
        for name in ("truthFigure", "seeds", "outcome", "guessRow"):
            assert not page.is_visible(f"[data-ref={name}]"), name
        assert not page.is_visible("[data-ref=shows] >> text=Truth") and page.is_visible(
            "[data-ref=shows] >> text=Feet"
        )
        image = pixels(page)
        joints = samples.walk(6)
        floor = float(np.median(joints[..., 2].min(-1)))
        frame = int(place(page)["frame"])
        assert at_joints(bones_of(image), seen(page, joints[frame], floor, image.shape)) > 0.9
        no_overflow(page)


def test_a_motion_of_a_file_is_large_and_nobodys_guess(browser, tmp_path):
    one = html.Body("walk.npy", "", samples.walk(6)[None, None], seeds=["walk.npy"])
    path = html.write(tmp_path, html.Page("walk.npy", scrubbers=[html.Scrubber([one])]))
    with opened(browser, path, (1400, 900)) as page:
        for name in ("prompt", "sheetFigure", "seeds", "step"):
            assert not page.is_visible(f"[data-ref={name}]"), name
        view, clock = (page.locator(f"[data-ref={name}]").bounding_box() for name in ("view", "playFrame"))
        assert view["width"] > 600 and view["y"] + view["height"] <= 900
        assert clock["x"] > view["x"] + view["width"] and clock["y"] < 300
        assert page.inner_text("[data-ref=bigLabel]") == "walk.npy"
        assert page.get_attribute("[data-ref=big]", "aria-label").startswith("walk.npy, frame 0; left foot ")
        told = page.inner_text(".keys")
        assert "truth" not in told and "seed" not in told and "zoom" in told
        assert "guess" not in page.inner_text("main")
        page.set_viewport_size({"width": 390, "height": 844})
        until(lambda: abs(pixels(page).shape[1] - page.locator("[data-ref=view]").bounding_box()["width"]) <= 1)
        clock = page.locator("[data-ref=playFrame]").bounding_box()
        assert clock["y"] + clock["height"] <= 844
        no_overflow(page)


def test_motions_side_by_side_move_under_one_clock_and_turn_together(browser, arms):
    shots = "() => [...document.querySelectorAll('.seeds canvas')].map((c) => c.toDataURL())"
    for size, least in (((1400, 900), 200), ((390, 844), 140)):
        with opened(browser, arms, size) as page:
            assert page.locator(".seeds .name").all_inner_texts() == ["T2M", "M2M", "gate"]
            canvases = page.locator(".seeds canvas").all()
            assert len(canvases) == 4 and all(c.bounding_box()["width"] >= least for c in canvases)  # and the truth
            before = page.evaluate(shots)
            slide(page, "frame", 17)
            moved = page.evaluate(shots)
            assert all(a != b for a, b in zip(before, moved, strict=True))
            box = canvases[1].bounding_box()
            page.mouse.move(box["x"] + 60, box["y"] + 60)
            page.mouse.down()
            page.mouse.move(box["x"] + 100, box["y"] + 60, steps=3)
            page.mouse.up()
            assert float(place(page)["azimuth"]) < 35
            assert all(a != b for a, b in zip(moved, page.evaluate(shots), strict=True))
            no_overflow(page)


def test_a_finger_turns_and_two_zoom(browser, report):
    with opened(browser, report, (390, 844), has_touch=True) as page:
        box = page.locator("[data-ref=big]").bounding_box()
        y = box["y"] + box["height"] / 2
        wire = page.context.new_cdp_session(page)
        at = lambda xs: [{"x": box["x"] + x, "y": y, "id": i} for i, x in enumerate(xs)]
        touch = lambda kind, *xs: wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at(xs)})
        touch("touchStart", 60)
        for x in (70, 85, 100):
            touch("touchMove", x)
        touch("touchEnd")
        until(lambda: float(place(page)["azimuth"]) == pytest.approx(35 - 40 / box["width"] * 220, abs=1.5))
        touch("touchStart", 60, 120)
        for gap in (70, 90):
            touch("touchMove", 60, 60 + gap)
        touch("touchEnd")
        until(lambda: float(place(page)["zoom"]) == pytest.approx(1.5, abs=0.05))
        assert page.get_attribute("[data-ref=playFrame]", "aria-pressed") == "false"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_window_has_the_body_and_its_clock_first_and_nothing_overflows(browser, report, scheme):
    """The window is resized, as a hand does it: the canvases follow."""
    with opened(browser, report, color_scheme=scheme) as page:
        for size in [*(SIZES[::2] if scheme == "light" else SIZES[1::2]), (1400, 900)]:
            page.set_viewport_size({"width": size[0], "height": size[1]})
            width = page.locator("[data-ref=view]").bounding_box()["width"]
            until(lambda width=width: abs(pixels(page).shape[1] - width) <= 1)
            no_overflow(page)
            light = pixels(page)[2, 2].sum() / 765
            assert light > 0.8 if scheme == "light" else light < 0.2
            for name in ("big", "playStep", "step", "ticks", "frame", "guess") if size[1] > 800 else ():
                box = page.locator(f"[data-ref={name}]").first.bounding_box()
                assert box["y"] >= 0 and box["y"] + box["height"] <= size[1], (size, name, box)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_viewer(browser, report, arms, scheme):
    try:
        import axe_playwright_python as axe
    except ImportError:
        if "browser" in os.environ.get("VRJAX_REQUIRE", ""):
            raise
        pytest.skip("axe-playwright-python is not installed")
    source = pathlib.Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    path, size = {"light": (report, (1400, 900)), "dark": (arms, (390, 844))}[scheme]
    with opened(browser, path, size, color_scheme=scheme, bypass_csp=True) as page:
        page.evaluate(source)
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 20 and "color-contrast" in {rule["id"] for rule in found["passes"]}
        told = [(v["id"], v["impact"], [n["html"][:90] for n in v["nodes"]][:3]) for v in found["violations"]]
        assert [one for one in told if one[1] in ("serious", "critical", "moderate")] == [], told


def test_everything_in_the_viewer_is_reached_by_tab(browser, report):
    with opened(browser, report) as page:
        reached = set()
        for _ in range(34):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("(n => n.dataset.ref || n.name || n.value || n.tagName)(document.activeElement)"))
        assert {
            "view",
            "playStep",
            "step",
            "playFrame",
            "frame",
            "seed-0",
            "velocity",
            "follow",
            "side",
            "in",
            "sheet",
        } <= reached


def test_hostile_strings_do_not_act_in_the_viewer(browser, tmp_path):
    path = html.write(tmp_path, hostile_body_page(samples.HOSTILE))
    with opened(browser, path, (390, 844)) as page:
        assert page.evaluate("window.hit") is None and page.evaluate("document.images.length") == 0
        no_overflow(page)


def test_without_scripts_the_strips_of_skeletons_are_there(browser, report, arms):
    with opened(browser, report, ready=False, java_script_enabled=False) as page:
        assert page.is_visible("noscript p") and not page.is_visible(".bench")
        assert page.locator(".contact img").first.evaluate("n => n.naturalWidth") == 9 * (96 + 6)
        no_overflow(page)
    with opened(browser, arms, ready=False, java_script_enabled=False) as page:
        assert page.locator(".contact li").all_inner_texts() == ["T2M: solved", "M2M: not solved", "gate: solved"]
