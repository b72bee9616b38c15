"""Tables, picture and page of the inverse study from made-up tables whose answers are known."""

import dataclasses
import json
import math

import numpy as np
import pytest
from inverse_tables import MEASURED, POSTERIOR, PRIOR, SEEDS, STUDY, WOBBLE, made_up
from PIL import Image
from scipy import stats

from experiments.inverse import (
    cloud_rows,
    drawing,
    films,
    listings,
    names,
    page,
    panels,
    rows,
    sampled_rows,
    video_rows,
)
from experiments.inverse.guided_names import ARMS, LATENT
from vrjax.report import html
from vrjax.study import listing, readme
from vrjax.study import page as common


@pytest.fixture(scope="module")
def kept():
    return made_up()


@pytest.fixture(scope="module")
def listed(kept):
    return listings.listed(STUDY, kept)


def found(listed, table, **which):
    """The one row of a table with these entries."""
    (row,) = [row for row in listed[table][1] if all(row[name] == value for name, value in which.items())]
    return row


def student(values):
    """Ends of Student's interval, by SciPy."""
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


# ---------------------------------------------------------------------------------------------------------------- rows


def test_planted_rates_are_found_with_an_interval_over_seeds(listed):
    row = found(listed, "line", arm=names.EMPIRICAL, y=0.1, noise_std=0.4)
    assert row["prior"]["value"] == pytest.approx(PRIOR, abs=1e-9)
    assert row["posterior"]["value"] == pytest.approx(POSTERIOR, abs=1e-9)
    each = np.array(WOBBLE) + POSTERIOR - PRIOR  # the posterior's slope moves twice as far as the prior's
    np.testing.assert_allclose(row["difference"]["per seed"], each, atol=1e-9)
    low, high = student(each)  # of so few seeds it is the outer one of the two
    np.testing.assert_allclose(row["difference"]["interval"], (low, high), atol=1e-9)
    for distance, slope in (("w2", PRIOR), ("sliced w1", POSTERIOR)):
        row = found(listed, "gaussian", d=8, distance=distance)
        assert row["posterior"]["value"] == pytest.approx(slope, abs=1e-9)
        assert row["difference"]["value"] == pytest.approx(slope - PRIOR, abs=1e-9)


def test_sizes_below_n_z_or_ruled_by_the_optimiser_are_left_out(listed):
    few = found(listed, "line", arm=names.EMPIRICAL, y=0.1, noise_std=0.1)  # Z = .02: from 512 on
    assert few["sizes"] == [512, 2048] and few["n Z"] == pytest.approx(10.24)
    assert few["posterior"]["value"] == pytest.approx(POSTERIOR, abs=1e-9)  # what is off its rate is not in it
    fitted = found(listed, "line", arm=names.GENERATOR, y=0.1, noise_std=0.4)
    assert fitted["sizes"] == [32, 512]
    assert fitted["floor"] == pytest.approx(1e-3 / (0.8 * np.mean([512 ** (POSTERIOR + 2 * w) for w in WOBBLE])))
    alone = found(listed, "line", arm=names.GENERATOR, y=0.9, noise_std=0.1)  # Z = .01: 512 alone is left
    assert "prior" not in alone and alone["n Z"] == pytest.approx(5.12)
    text = dict(zip(listings.LINE, listing.cells(listings.LINE, [alone])[0], strict=True))
    assert text["prior slope [95 %]"] == "" and text["n"] == ""


def test_a_gap_shows_in_w2_alone(listed):
    whole, gap = (found(listed, "priors", arm=arm) for arm in (names.EMPIRICAL, rows.GAP))
    slopes = [row[distance]["value"] for row in (whole, gap) for distance in ("w1", "w2")]
    np.testing.assert_allclose(slopes, [-0.5, -0.5, -0.5, -0.25], atol=1e-9)


def test_the_best_init_is_chosen_by_training_and_floors_cut_widths(listed):
    best, median = (found(listed, "width", activation="tanh", choice=choice) for choice in ("best", "median"))
    assert best["sizes"] == [2, 8] and best["prior"]["value"] == pytest.approx(-1, abs=1e-9)
    assert best["prior", "widest"] == pytest.approx(0.02) and median["prior", "widest"] == pytest.approx(0.04)


def test_ratios_over_the_evidence(listed):
    empirical, fitted, worst = (
        found(listed, "evidence", arm=arm) for arm in (names.EMPIRICAL, names.GENERATOR, rows.WORST)
    )
    assert empirical["rank"]["value"] == pytest.approx(1) and fitted["rank"]["value"] == pytest.approx(-1)
    assert empirical["rank, equal noise"]["value"] == pytest.approx(1) and empirical["rank"]["interval"] is None
    assert (empirical["of C"], worst["of C"]) == pytest.approx((0.125, 0.5))
    assert empirical["of worst"] == pytest.approx(0.25) and empirical["most"] == pytest.approx(0.5 * math.exp(11 / 3))


def test_the_counterexample_grows_and_a_planted_break_is_counted(listed):
    last = found(listed, "counterexample", K=None)
    assert last["over prior w1"]["value"] == pytest.approx(1, abs=1e-9)
    assert last["over prior w2"]["value"] == pytest.approx(0, abs=1e-9)
    middle = found(listed, "counterexample", K=16.0)
    assert (middle["violations"], middle["pairs"], middle["tightness"]) == (1, 20, pytest.approx(2.0))
    t3 = found(listed, "bounds", bound="T3", where="partial observation")
    assert (t3["violations"], t3["pairs"], t3["median"]) == (1, 60, pytest.approx(0.25))
    t1 = found(listed, "bounds", bound="T1", where="random pairs")
    assert (t1["violations"], t1["largest"], t1["median"]) == (0, pytest.approx(0.9), pytest.approx(0.5))
    assert found(listed, "bounds", bound="T1", where="rates: generator")["pairs"] == len(SEEDS) * 4 * 2 * 4
    ratio = found(listed, "bounds", bound="T1", where="evidence: empirical")
    assert ratio["largest"] == pytest.approx(0.125)


def test_clouds_fall_alike_where_data_are_expected_and_w1_sees_dimensions(listed, kept):
    row = found(listed, "dimension", d=8, arm=names.GENERATOR)
    assert row["prior"]["value"] == pytest.approx(PRIOR, abs=1e-9)
    assert row["difference"]["value"] == pytest.approx(POSTERIOR - PRIOR, abs=1e-9)
    assert (row["observations"], row["of"], row["debiased"]) == (1, 2, 0.01)
    assert row["posterior", "floor"] == pytest.approx(3e-3) and row["sizes"] == [32, 2048]
    one, eight = (found(listed, "dimension", d=d, arm=names.EMPIRICAL) for d in (1, 8))
    assert one["w1"]["value"] == pytest.approx(-0.5, abs=1e-9)
    assert eight["w1"]["value"] == pytest.approx(-0.15, abs=1e-9) and "debiased" not in eight
    np.testing.assert_allclose(eight["w1 bounds"], [-0.15, -0.15], atol=1e-9)
    assert found(listed, "dimension", d=1, arm="restricted")["bound"]["value"] == pytest.approx(-0.3, abs=1e-9)
    table = kept[names.part(SEEDS[0], names.DIMENSION)]
    assert cloud_rows.flattened(table) == pytest.approx(0.35)
    assert cloud_rows.restricted(table) == pytest.approx(-0.2 + WOBBLE[0])
    assert cloud_rows.apart(table, names.GENERATOR) == pytest.approx(POSTERIOR - PRIOR + WOBBLE[0])
    assert {row["arm"] for row in listed["moons"][1]} == {names.EMPIRICAL, names.GENERATOR}
    few = table | {"evidence": np.full((2, 2), 1e-4)}
    assert np.isnan(cloud_rows.apart(few, names.GENERATOR))


def test_clips_are_told_where_particles_passed(listed, kept):
    world, network = (found(listed, "video_calibration", prior=prior) for prior in reversed(video_rows.PRIORS))
    assert (world["truths"], world["pooled"], network["pooled"]) == (120, pytest.approx(0.9), pytest.approx(0.7))
    assert world["low"] < 0.9 < world["high"] and network["coverage"]["value"] == pytest.approx(0.7)
    first = found(listed, "video_priors", n=256)
    assert (first["passed"], first["gates"]) == (11, 12)
    own = found(listed, "video_samplers", prior=video_rows.PRIORS[1], task="dropped", sampler="tempered particles")
    assert own["chance"]["value"] == pytest.approx(0.02) and own["observations"] == 40
    guided = found(listed, "video_samplers", prior=video_rows.PRIORS[0], task="blurred", sampler="smc")
    assert guided["size"]["value"] == pytest.approx(0.05) and guided["observations"] == 8
    pool = found(listed, "video_samplers", prior=video_rows.PRIORS[0], task="blurred", sampler="weighted pool")
    assert pool["w1"] is None and pool["chance"]["value"] == pytest.approx(0, abs=1e-12)
    settled = found(listed, "video_along", sampler="smc", task="averaged")
    assert settled["settled"]["value"] == pytest.approx(18 / 20)  # .3 + .7 * 17 / 19 is the first above .9
    tables = [kept[names.part(seed, names.VIDEO)] for seed in SEEDS]
    for table, wobble in zip(tables, WOBBLE, strict=True):
        assert video_rows.slope(table, "prior") == pytest.approx(-0.3 + wobble)
        assert video_rows.slope(table, "posterior") == pytest.approx(-0.2 + wobble)
        assert video_rows.guided_gap(table) == pytest.approx(np.log10(5))
        assert video_rows.chance_error(table, 1) == pytest.approx(0.02 + wobble)
    assert video_rows.errors(tables[0])[1].shape == (3, 6) and video_rows.errors(tables[-1])[1].shape == (3, 4)
    assert video_rows.passed(tables[-1]) == pytest.approx(11 / 12)
    assert video_rows.passed(tables[-1], video_rows.WORLD) == 1
    lost = tables[0] | {"guided w1": np.full((2, 2, 3, 2), np.nan), "latent ranks": np.full((4, 3, 10, 4), -1)}
    assert np.isnan(video_rows.guided_gap(lost)) and np.isnan(video_rows.coverage(lost))


def test_known_posteriors_are_told_by_their_worst(listed):
    row = found(listed, "known", group="mixtures")
    assert (row["problems"], row["truths"], row["mode ess"]) == (12, 240, 7000)
    assert row["mode error"] == pytest.approx(0.03) and row["coverage"] == pytest.approx(0.95)
    assert row["low"] < 0.95 < row["high"]
    signals, every = found(listed, "known", group="signals"), found(listed, "known", group="all")
    assert "mode error" not in signals and (every["truths"], every["problems"]) == (400, 20)


def test_a_strip_is_read_frame_by_frame():
    clip = np.arange(256.0)
    image = films.strip(clip)
    assert image.shape == (8, 35) and np.isnan(image[:, 8]).all()
    assert image[0, 0] == 0 and image[0, 9] == 64 and image[7, 34] == 255


def test_fields_are_told_where_gates_passed(listed):
    fitted = found(listed, "elliptic", arm=sampled_rows.GENERATOR, n=256)
    assert (fitted["passed"], fitted["compared"], fitted["truths"]) == (8, 7, 8)
    each = [256 ** (-0.2 + w) * (1.0 if seed != SEEDS[-1] else 0.9) for seed, w in zip(SEEDS, WOBBLE, strict=True)]
    np.testing.assert_allclose(fitted["posterior"]["per seed"], each)
    true = found(listed, "elliptic", arm=sampled_rows.TRUE, n=None)
    assert true["passed"] == 7 and "compared" not in true and true["rhat"] == pytest.approx(1.201)
    rate = found(listed, "elliptic_rates", arm=sampled_rows.GENERATOR)
    assert rate["prior"]["value"] == pytest.approx(-0.3, abs=1e-9)
    assert rate["difference"]["value"] == pytest.approx(0.1, abs=1e-9)
    assert rate["floor"] == pytest.approx(0.2) and rate["sizes"] == [64, 256]


def test_calibrated_samplers_come_first_and_exact_ones_are_told_from_narrow_ones(listed):
    best = {row["arm"]: row for row in listed["guided"][1]}
    assert best["pigdm"]["mixtures 2", "passed"] is False and best["smc"]["mixtures 2", "over_floor"] == 1.5
    assert best["pigdm"]["mixtures 2", "coverage"] == 0 and best["dps"]["mixtures 2", "passed"] is False
    assert best["flowdps"]["mixtures 2", "setting"] == "chosen" and best["flowdps"]["mixtures 2", "over_floor"] == 2.0
    assert math.isinf(best["dps"]["mixtures 2", "over_floor"])
    order = [row["arm"] for row in listed["guided"][1]]
    assert {*order} == {*MEASURED} and ARMS[order[-1]].kind == "map"
    calibrated = [sum(v is True for n, v in row.items() if n[1:] == ("passed",)) for row in listed["guided"][1][:-1]]
    assert calibrated == sorted(calibrated, reverse=True) and calibrated[0] == 2
    every = [row for row in listed["guided_all"][1] if row["group"] == "mixtures 2" and row["arm"] == "flowdps"]
    assert {row["setting"]: row["over_floor"] for row in every} == {"published": 20.0, "chosen": 2.0}
    lost = next(row for row in listed["guided_all"][1] if row["group"] == "mixtures 2" and row["arm"] == "dps")
    assert lost["lost"] == lost["pairs"] == len(SEEDS) * 3 * 20


def test_no_distance_is_told_of_chains_that_failed_their_gate(kept):
    """Of a seed's second problem R-hat is too large and of its third there are too few draws; of the other group every
    problem of every seed is lost."""
    lost = {part: dict(table) for part, table in kept.items() if part.endswith(names.GUIDED)}
    at, few = LATENT.index("latent elliptical_slice"), list(ARMS).index("latent elliptical_slice")
    for table in lost.values():
        table["mixtures 2 rhat"], table["mixtures 2 ess"] = (
            table[f"mixtures 2 {name}"].copy() for name in ("rhat", "ess")
        )
        table["mixtures 2 rhat"][at, 1], table["mixtures 2 ess"][at, 2] = 1.01, 399
        table["mixtures 2 distance"] = table["mixtures 2 distance"].copy()
        table["mixtures 2 distance"][few] = np.array([1.2, 50.0, 50.0])
        table["signals rhat"] = np.full_like(table["signals rhat"], 2.0)
    told = listings.listed(STUDY, lost)
    row = next(row for row in told["guided"][1] if row["arm"] == "latent elliptical_slice")
    assert row["mixtures 2", "over_floor"] == pytest.approx(1.2) and math.isnan(row["signals", "over_floor"])
    assert "not tested; " in listing.told(told)["guided"] and "not tested" in listing.told(told)["guided_all"]
    gates = [row for row in told["latent"][1] if row["arm"] == "latent elliptical_slice"]
    assert [(row["passed"], row["runs"]) for row in gates] == [(4, 12), (0, 8)]


def test_of_one_seed_there_are_numbers_and_no_intervals(kept):
    alone = {name: table for name, table in kept.items() if name == names.part(2, names.LINE)}
    row = found(listings.listed(STUDY, alone), "line", arm=names.EMPIRICAL, y=0.1, noise_std=0.4)
    assert row["prior"]["value"] == pytest.approx(PRIOR + WOBBLE[2]) and row["prior"]["interval"] is None
    assert "-0.470 [ - ]" in listing.cells(listings.LINE, [row])[0]


# ---------------------------------------------------------------------------------------------------------------- text


def test_tables_are_markdown_of_one_width_and_rows_are_json(listed):
    for name, text in listing.told(listed).items():
        lines = text.rstrip().split("\n")
        cells = [line.replace("\\|", "").count("|") for line in lines]
        assert len(lines) == 2 + len(listed[name][1]) and len({*cells}) == 1
        plain = listings.plain(listed[name][1])
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert readme.blocks(f"<!-- {name} -->\n\n<!-- end -->\n")
    assert "infinite" in listing.told(listed)["guided"]


def test_what_was_not_measured_is_left_out(kept, tmp_path):
    assert listings.listed(STUDY, {}) == {}
    some = {name: table for name, table in kept.items() if names.LINE in name}
    few = listings.listed(STUDY, some)
    assert {*few} == {"line", "priors", "bounds"}
    page.write(tmp_path, STUDY, some, [], few)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Rates on the line" in text and "Guided samplers, all settings" not in text
    assert not (tmp_path / "figures").exists()
    common.draw(tmp_path / "none.png", *page.drawn(STUDY, {}))


def test_a_study_without_a_generator_of_fields(kept):
    part = names.part(0, names.ELLIPTIC)
    bare = {part: {name: value for name, value in kept[part].items() if not name.startswith("generator ")}}
    told = listings.listed(STUDY, bare)
    assert {*told} == {"elliptic", "elliptic_rates"}
    assert [row["arm"] for row in told["elliptic"][1]] == ["true", "matern", "gaussian", "gaussian", "gaussian"]
    assert [arm for arm, _, _ in panels.shown(bare[part])] == ["true", "gaussian", "matern"]


# ---------------------------------------------------------------------------------------------------------------- page


def test_every_table_has_a_title_and_every_section_is_on_the_page(kept, listed, tmp_path, monkeypatch):
    pages = []
    write = html.write
    monkeypatch.setattr(html, "write", lambda path, one: (pages.append(one), write(path, one)))
    page.write(tmp_path, STUDY, kept, [], listed)
    (one,) = pages
    assert {*listed} == {*page.TITLES} and len({table.title for table in one.tables}) == len(listed)
    assert [curve.title for curve in one.curves][:2] == ["Gaussian priors: W2 over n", one.curves[1].title]
    slopes = [series.name for series in one.curves[1].series]
    assert slopes[:2] == ["empirical, prior: slope −0.50", "empirical, posterior: slope −0.44"]
    first = one.curves[1].series[0]
    np.testing.assert_allclose(np.diff(first.y) / np.diff(first.x), np.full(3, PRIOR), atol=1e-9)
    assert ((first.low <= first.y) & (first.y <= first.high)).all()
    difference = next(forest for forest in one.forests if "the line" in forest.title)
    assert difference.arms[0].estimate == pytest.approx(POSTERIOR - PRIOR) and difference.reference == 0
    coverage = next(forest for forest in one.forests if forest.title == "Coverage: mixtures 2")
    assert {arm.name: arm.role for arm in coverage.arms}["pigdm"] == "control"
    assert [row for row in one.maps[0].rows] == [row["arm"] for row in listed["guided"][1]]
    assert [picture.title for picture in one.pictures] == [
        "Errors over the evidence", "Field 1 of the first seed", "Field 2 of the first seed", "The chains",
        "Clips of the first seed",
    ]  # fmt: skip
    assert all(picture.image.stat().st_size > 10_000 and picture.alt for picture in one.pictures)
    with Image.open(tmp_path / "inverse.png") as image:
        assert 1400 < image.width < 1700 and image.height < 1.1 * image.width
    text = (tmp_path / "report.html").read_text("utf-8")
    for said in ("Learned priors in inverse problems", "Fields behind 36 pressures", "Notes", "Wasserstein distance"):
        assert said in text
    assert text.count("data:image/png;base64,") == 5


def test_a_posterior_that_failed_its_gate_is_not_drawn_but_why(kept):
    part = kept[names.part(SEEDS[-1], names.ELLIPTIC)]
    figure = panels.maps(part, 1)
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert words == ["not told: R-hat 1.20"]
    images = [len(axis.images) for axis in figure.axes[: 5 * 5]]
    assert images[5:10] == [0] * 5 and images[10:15] == [1] * 5
    # First axis of a field is x: it goes to the right.
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), part["truth"][1].T)
    chains = panels.chains(part)
    titles = [axis.get_title(loc="left") for axis in chains.axes[:2]]
    assert titles == ["R-hat 1.001, ESS 900", "R-hat 1.201, ESS 30: refused"]
    assert len(chains.axes[1].lines) == 5


def test_a_line_is_drawn_of_whole_seeds_only():
    x = np.array([1.0, 10.0, 100.0])
    good, bad = x**-1.0, np.array([1.0, np.nan, 0.1])
    (line,) = drawing.series(STUDY, "", x, [good, bad, good / 100])
    np.testing.assert_allclose(line.y, [-1, -2, -3], atol=1e-12)
    assert drawing.series(STUDY, "", x, [bad]) == []
    reference = drawing.reference("", x, -0.5, 1.0)
    np.testing.assert_allclose((reference.x, reference.y), ([0, 2], [1, 0]))


def test_the_picture_is_of_kept_tables_with_the_sizes_they_were_measured_with(kept):
    """Twice the same picture, and another one of other numbers."""
    draw = lambda tables: np.asarray(figure_pixels(page.drawn(STUDY, tables)[0]))
    kept = {name: table for name, table in kept.items() if names.GUIDED not in name}  # to judge ranks takes seconds
    part = names.part(0, names.LINE)
    first = draw(kept)
    other = kept | {part: kept[part] | {"empirical prior w1": 2 * kept[part]["empirical prior w1"]}}
    np.testing.assert_array_equal(first, draw(kept))
    assert (first != draw(other)).any()
    assert len(panels.four(dataclasses.replace(STUDY, seeds=(0,)), kept).axes) == 3


def figure_pixels(figure):
    figure.canvas.draw()
    return figure.canvas.buffer_rgba()
