"""The page is one file that asks for nothing else; the figures show the numbers that they should."""

import base64
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from conftest import chromium
from vitalsynth.reporting import figures, page, write
from vitalsynth.reporting.figures import limits
from vitalsynth.reporting.figures.channels import time_axis
from vitalsynth.sequences import Column, Schema, Sequences

SECTIONS = ["asked", "scores", "sequences", "heat-maps", "marginals", "autocorrelation", "gaps", "learning"]
HOSTILE = '<script>alert("1")</script> & $\\frac{$'
ROW = {
    "metric": "two-sample AUROC",
    "value": 0.71,
    "low": 0.66,
    "high": 0.76,
    "floor": 0.5,
    "floor_low": 0.45,
    "floor_high": 0.55,
    "baseline": None,
    "better": "near floor",
    "about": "How often a classifier picks the synthetic one.",
}


def icu():
    """The embedded ICU vitals, first 200 stays."""
    with (resources.files("vitalsynth") / "data" / "icu_demo.npz").open("rb") as file:
        data = {name: array[:200] for name, array in np.load(file).items() if name != "variables"}
        file.seek(0)
        names = np.load(file)["variables"]
    schema = Schema(
        tuple(Column(str(name), unit="1/min" if name in ("hr", "resp") else "mmHg") for name in names),
        (
            Column("died", "binary"),
            Column("age", unit="years"),
            Column("sex", "categorical", categories=("Female", "Male")),
        ),
        step_unit="h",
        time="hour",
    )
    static = np.stack([data["died"], data["age"], data["sex"] == "Male"], axis=1).astype(np.float32)
    return Sequences(data["x"], schema, static=static, subject=data["stay_id"])


def log(steps=300):
    k = np.arange(1, steps + 1)
    return pd.DataFrame(
        {
            "step": k,
            "discriminator.adversarial": 0.7 + 0.1 * np.sin(k),
            "discriminator.r1": np.where(k % 4, np.nan, 1.0 / k),
            "discriminator.gradient_norm": 10.0 ** (-k / 100),
            "generator.adversarial": 1.0 / k,
            "generator.gradient_norm": 0.1 + 0.0 * k,
            "host": "here",
        }
    )


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.ids, self.addresses, self.images, self.text = Counter(), [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags[tag] += 1
        self.ids += [attributes["id"]] if tag == "section" else []
        self.addresses += [
            attributes[a] for a in ("src", "href", "action", "data", "srcset", "poster") if a in attributes
        ]
        self.images += [attributes] if tag == "img" else []
        assert not any(name.startswith("on") for name in attributes)

    def handle_data(self, data):
        self.text.append(data)


def assert_self_contained(path):
    """No script, no address but anchors and data; every figure is whole and has a text for those who cannot see it."""
    seen = Page(path)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(seen.tags)
    source = path.read_text(encoding="utf-8")
    written = re.sub(r"base64,[A-Za-z0-9+/=]+", "", source).lower()
    assert not {"http", "@import", "url("} & {word for word in ("http", "@import", "url(") if word in written}
    assert all(address.startswith(("#", "data:image/")) for address in seen.addresses)
    assert {address[1:] for address in seen.addresses if address.startswith("#")} <= set(seen.ids)
    for image in seen.images:
        kind, _, data = image["src"].partition(";base64,")
        content = base64.b64decode(data, validate=True)
        assert content.startswith(b"\x89PNG") if kind.endswith("png") else b"</svg>" in content
        assert image["alt"]
        assert int(image["width"]) > 100
        assert int(image["height"]) > 50
    return seen


def write_page(tmp_path, real, synthetic=None, **settings):
    settings = {"title": "A run", "asked": {}, "log": None, "scores": [], **settings}
    path = tmp_path / "report.html"
    write(path, real=real, synthetic=real if synthetic is None else synthetic, **settings)
    return path


@pytest.fixture(scope="module")
def vitals():
    whole = icu()
    return whole.take(slice(100)), whole.take(slice(100, 200))


def test_the_page_of_icu_vitals(tmp_path, vitals):
    asked = {
        "steps": 300,
        "condition": ["died", "sex"],
        "generator": {"hidden": 64, "kind": "LSTM"},
        "averaged": True,
        "seed": None,
    }
    path = write_page(tmp_path, *vitals, log=log(), scores=[ROW], asked=asked, notes=["Seen & approved"])
    seen = assert_self_contained(path)
    assert seen.ids == SECTIONS
    assert (
        len(seen.images) == 5 * 7 + 3 + 2 + 3
    )  # five kinds for seven channels, statics, losses coloured, terms of the log
    for text in (
        "100 real and 100 synthetic sequences of 25 steps",
        "generator.hidden",
        "died, sex",
        "Seen & approved",
    ):
        assert text in seen.text
    for text in ("0.710", "[0.660, 0.760]", "0.500", "[0.450, 0.550]", "Differs from real data", ROW["about"]):
        assert text in seen.text
    assert "seed" not in seen.text
    assert path.stat().st_size < 3_000_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html"]


def test_the_same_input_gives_the_same_page(tmp_path, vitals):
    real, synthetic = (s.drop(["resp", "map", "sbp", "dbp"]) for s in vitals)
    first, second = (write_page(tmp_path, real, synthetic, log=log()).read_bytes() for _ in range(2))
    assert first == second


def test_hostile_names_stay_text(tmp_path, rng):
    schema = Schema(
        (Column(HOSTILE, unit=HOSTILE), Column("a\nb\x00c")),
        (Column("<img src=x>", "categorical", categories=(HOSTILE, "b")),),
    )
    s = Sequences(rng.standard_normal((20, 6, 2)), schema, static=rng.integers(0, 2, (20, 1)).astype(float))
    scores = [{**ROW, "metric": HOSTILE, "about": HOSTILE}]
    history = pd.DataFrame({"step": [1, 2], f"{HOSTILE}.<b>": [1.0, 2.0]})
    names = {"title": HOSTILE, "asked": {HOSTILE: HOSTILE}, "notes": [HOSTILE]}
    path = write_page(tmp_path, s, scores=scores, log=history, **names)
    seen = assert_self_contained(path)
    assert seen.text.count(HOSTILE) == 7  # the title twice
    assert any(HOSTILE in image["alt"] for image in seen.images)
    for image in seen.images:
        assert b"<script" not in base64.b64decode(image["src"].partition(",")[2])


def test_one_channel_one_step_no_statics_no_log(tmp_path, rng):
    s = Sequences(rng.standard_normal((1, 1, 1)), Schema((Column("x"),)))
    seen = assert_self_contained(write_page(tmp_path, s))
    assert seen.ids == SECTIONS
    for text in (
        "1 channel, 0 static columns",
        "Nothing is on record",
        "not been judged",
        "no log",
        "No channel has gaps",
        "one step",
    ):
        assert text in seen.text


def test_every_kind_of_column_gaps_lengths_and_many_channels(tmp_path, rng):
    values = rng.standard_normal((30, 10, 15))
    values[:, :, 0] = rng.integers(0, 3, (30, 10))
    values[:, :, 1] = rng.random((30, 10)) < 0.3
    values[:, :, 2] = 4.0
    values[:, :, 3] = np.nan
    values[rng.random((30, 10)) < 0.5, 4] = np.nan
    channels = (
        Column("c", "categorical", categories=("a", "b", "c")),
        Column("b", "binary"),
        Column("constant"),
        Column("empty"),
    )
    schema = Schema(channels + tuple(Column(f"x{j}") for j in range(11)), (Column("unknown"),))
    s = Sequences(values, schema, rng.integers(2, 11, 30), np.full((30, 1), np.nan))
    seen = assert_self_contained(write_page(tmp_path, s, replace(s, values=1e9 * values)))
    assert seen.text.count("3 more channels are not drawn.") == 4
    assert "still running" in seen.text
    assert len(seen.images) == 4 * page.CHANNELS + 2 + 1  # two channels with gaps, and the lengths


@pytest.mark.parametrize("colours", [1, 3])
def test_images_are_drawn_as_images(tmp_path, rng, colours):
    values = rng.uniform(0, 255, (30, 6, 5 * colours))
    schema = Schema(
        tuple(Column(f"p{j}") for j in range(5 * colours)), (Column("digit", "binary"),), image=(6, 5, colours)
    )
    s = Sequences(values, schema, static=rng.integers(0, 2, (30, 1)).astype(float))
    seen = assert_self_contained(write_page(tmp_path, s, scores=[{**ROW, "value": None, "low": None, "high": None}]))
    assert seen.ids == [name for name in SECTIONS if name != "heat-maps"]
    assert len(seen.images) == 5
    assert "Not computed" in seen.text


def test_nothing_is_left_of_a_page_that_fails(tmp_path, vitals):
    real, synthetic = vitals
    with pytest.raises(ValueError, match="no synthetic sequence to show"):
        write_page(tmp_path, real, synthetic.take(slice(0)))
    with pytest.raises(ValueError, match="10 columns of 25 steps against 9 of 25"):
        write_page(tmp_path, real, synthetic.drop(["hr"]))
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "nowhere", real.take(slice(5)).drop([c.name for c in real.schema.channels[1:]]))
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_the_users_settings_alone(vitals):
    with mpl.rc_context({"font.size": 33.0, "axes.titlesize": 44.0}):
        before = dict(mpl.rcParams)
        figure = figures.marginal(*vitals, "hr")
        assert dict(mpl.rcParams) == before
        assert figure.axes[0].xaxis.get_label().get_size() < 12


def test_examples_break_at_gaps_and_dot_the_lonely():
    row = np.array([[1, 2, np.nan, 5, np.nan, 7, 8.0]])
    s = Sequences(row[..., None], Schema((Column("hr", unit="1/min"),), step=0.5, step_unit="h", start=2.0))
    real, synthetic = figures.examples(s, replace(s, values=s.values + 100), "hr").axes
    line, dot = real.lines
    np.testing.assert_array_equal(line.get_ydata(), row[0])
    np.testing.assert_array_equal(line.get_xdata(), 2 + 0.5 * np.arange(7))
    assert list(dot.get_ydata()) == [5]
    assert list(dot.get_xdata()) == [3.5]
    assert real.get_ylim() == synthetic.get_ylim()
    assert real.get_ylabel() == "hr (1/min)"
    assert real.get_xlabel() == "time (h)"
    assert real.get_ylim()[1] < 20  # one real span beyond, so that the real ones can still be seen


def test_heat_maps_have_one_scale_set_by_the_real(vitals):
    real, synthetic = vitals
    figure = figures.heat_map(real, replace(synthetic, values=synthetic.values * 5), "hr", count=40)
    pictures = [ax.images[0] for ax in figure.axes[:2]]
    low, high = np.nanquantile(real.channel("hr"), [0.02, 0.98])
    for picture in pictures:
        assert picture.get_clim() == pytest.approx((low, high))
        assert picture.get_array().shape == (40, 25)
        assert to_hex(picture.cmap.get_bad()).upper() == figures.MISSING
    means = np.ma.mean(pictures[0].get_array(), axis=1).compressed()
    assert (np.diff(means) >= 0).all()


def test_both_sides_of_a_heat_map_have_as_many_rows_and_say_of_how_many(vitals):
    real, synthetic = vitals
    sides = figures.heat_map(real.take(slice(65)), synthetic, "hr").axes[:2]
    assert [ax.images[0].get_array().shape[0] for ax in sides] == [65, 65]
    assert [ax.get_ylabel() for ax in sides] == ["65 of 65 sequences", "65 of 100 sequences"]


@pytest.mark.parametrize(
    ("unit", "time", "expected"),
    [("", "time", "time (steps)"), ("", "hour", "hour"), ("h", "time", "time (h)"), ("h", "hour", "hour (h)")],
)
def test_what_is_below_a_time_axis(vitals, unit, time, expected):
    schema = replace(vitals[0].schema, step_unit=unit, time=time)
    assert time_axis(replace(vitals[0], schema=schema))[1] == expected


def test_a_static_of_one_value_has_no_bar_plot(tmp_path, vitals):
    def of_one(s):
        static = s.static.copy()
        static[:, 2] = 0
        return replace(s, static=static)

    shown = write_page(tmp_path, *map(of_one, vitals))
    assert "sex is always Female." in Page(shown).text and "sex: distribution" not in shown.read_text()
    assert "sex: distribution" in write_page(tmp_path, of_one(vitals[0]), vitals[1]).read_text()


def test_a_page_without_real_sequences_is_of_the_synthetic_alone(tmp_path, vitals):
    synthetic = vitals[1].drop(["resp", "map", "sbp", "dbp"])
    settings = {"title": "A run", "asked": {}, "log": log(), "scores": [ROW]}
    write(tmp_path / "report.html", real=None, synthetic=synthetic, **settings)
    seen = assert_self_contained(tmp_path / "report.html")
    assert seen.ids == ["asked", "scores", "sequences", "marginals", "learning"]
    assert "100 synthetic sequences of 25 steps" in seen.text and "Differs from real data" in seen.text
    assert not any("real" in image["alt"] for image in seen.images)
    drawn = figures.marginal(None, synthetic, "hr").axes[0]
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["synthetic"]
    assert len(figures.marginal(None, synthetic, "died").axes[0].patches) == 2


def test_figures_of_a_page_are_files(tmp_path, vitals):
    real, synthetic = (s.drop(["resp", "map", "sbp", "dbp"]) for s in vitals)
    shown = write_page(tmp_path, real, synthetic, log=log(), figures_in=tmp_path / "figures")
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert len(files) == 2 * len(Page(shown).images)
    for name in ("sequences-hr", "heat-maps-hr", "marginals-hr", "marginals-died", "learning-r1"):
        assert files[f"{name}.pdf"].startswith(b"%PDF") and files[f"{name}.png"].startswith(b"\x89PNG")


def test_marginals_are_shares(vitals):
    real, synthetic = vitals
    for name in ("hr", "temp", "age"):
        shares = [patch.get_data().values.sum() for patch in figures.marginal(real, synthetic, name).axes[0].patches]
        assert shares == pytest.approx([100] * 4), name
    bars = figures.marginal(real, synthetic, "died").axes[0].patches
    died = [100 * s.static_column("died").mean() for s in vitals]
    assert [bar.get_height() for bar in bars] == pytest.approx([100 - died[0], died[0], 100 - died[1], died[1]])


def test_bins_fall_between_recordable_values(rng):
    """Whole numbers, a few halves among them: no bin holds twice as many of them as its neighbour."""
    values = rng.integers(60, 120, 5000) + 0.5 * (rng.random(5000) < 0.1)
    edges = limits.bin_edges(Column("hr"), values, values + 0.1)
    counts = [np.sum((edges[:-1] <= v) & (v < edges[1:])) for v in range(60, 120)]
    assert set(counts) == {1}
    inside = np.histogram(np.arange(60, 120), edges)[0]
    assert set(inside[1:-1]) == {inside[1]}


def test_lagged_correlations(rng):
    rows = np.zeros((400, 30))
    for t in range(1, 30):
        rows[:, t] = 0.8 * rows[:, t - 1] + 0.6 * rng.standard_normal(400)
    rows = rows[:, 10:]
    np.testing.assert_allclose(figures.lagged_correlations(rows)[:4], 0.8 ** np.arange(4), atol=0.05)
    holed = np.where(rng.random(rows.shape) < 0.5, np.nan, rows)
    np.testing.assert_allclose(figures.lagged_correlations(holed)[:4], 0.8 ** np.arange(4), atol=0.06)
    now, later = holed[:, :-2].ravel(), holed[:, 2:].ravel()
    pairs = pd.DataFrame({"now": now, "later": later}).dropna()
    assert figures.lagged_correlations(holed)[2] == pytest.approx(pairs.corr().iloc[0, 1])
    assert np.isnan(figures.lagged_correlations(np.full((5, 8), 3.0))).all()
    assert len(figures.lagged_correlations(rows, most=3)) == 4
    assert len(figures.lagged_correlations(rows)) == 11


def test_measured_counts_running_sequences_only():
    values = np.array([[1, np.nan, 1, np.nan], [1, 1, np.nan, np.nan]])[..., None]
    s = Sequences(values, Schema((Column("x"),)), np.array([3, 2]))
    shares = figures.measured(s, s, "x").axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(shares, [100, 50, 100, np.nan])
    np.testing.assert_allclose(figures.running(s, s).axes[0].lines[0].get_ydata(), [100, 100, 50, 0])


def test_terms_of_a_log_are_grouped_by_what_they_measure():
    assert figures.terms(log()) == {
        "adversarial": ["discriminator.adversarial", "generator.adversarial"],
        "r1": ["discriminator.r1"],
        "gradient_norm": ["discriminator.gradient_norm", "generator.gradient_norm"],
    }


def test_learning_curves_are_smooth_over_raw():
    rows = log(1000)
    raw, smooth = figures.learning(rows, ["discriminator.adversarial"]).axes[0].lines
    np.testing.assert_array_equal(raw.get_ydata(), rows["discriminator.adversarial"])
    assert smooth.get_ydata()[20:-20].std() < 0.2 * raw.get_ydata().std()
    assert raw.get_alpha() < 0.5
    ax = figures.learning(rows, ["discriminator.gradient_norm", "generator.gradient_norm"]).axes[0]
    assert ax.get_yscale() == "log"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["discriminator", "generator"]
    penalty = figures.learning(rows, ["discriminator.r1"]).axes[0].lines[0]
    assert len(penalty.get_xdata()) == 250


def test_a_mosaic_shows_every_pixel(rng):
    values = rng.uniform(0, 1, (4, 3, 2))
    s = Sequences(values, Schema((Column("a"), Column("b")), image=(3, 2, 1)))
    sheet = figures.mosaic(s, (0.0, 1.0), columns=2).axes[0].images[0].get_array()
    order = np.random.default_rng(0).permutation(4)
    assert sheet.shape == (3 + 1 + 3, 2 + 1 + 2)
    np.testing.assert_allclose(sheet[:3, :2], values[order[0]])
    np.testing.assert_allclose(sheet[4:, 3:], values[order[3]])
    assert (sheet[3] == 1).all()
    with pytest.raises(ValueError, match="no image shape"):
        figures.mosaic(replace(s, schema=replace(s.schema, image=None)), (0.0, 1.0))


def test_pooled_pixels_keep_columns_together(rng):
    values = rng.uniform(0, 1, (4, 3, 2))
    pooled = figures.pooled_pixels(Sequences(values, Schema((Column("a"), Column("b")), image=(3, 2, 1))))
    np.testing.assert_array_equal(pooled.values[3, :, 0], values[1, :, 1])


def test_bins_of_mostly_black_images_end():
    """Four in five values are 0, which lies on every grid."""
    values = np.where(np.arange(1000) % 5 == 0, np.arange(1000) % 256 / 255, 0.0)
    grain = limits.coarser(values, limits.grid_step(values))
    assert 1 / 256 < grain < 0.11
    assert limits.coarser(np.full(20, 5.0), 1.0) == 1.0


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_without_a_network_shows_all_of_it(tmp_path, vitals, width):
    """Every picture is decoded, nothing is wider than the screen, and what is drawn is not blank."""
    path = write_page(tmp_path, *vitals, log=log(), scores=[ROW])
    probe = (
        "<script>addEventListener('load', () => { const all = [...document.images];"
        "document.title = 'decoded ' + all.filter(i => i.complete && i.naturalWidth > 0).length + ' of ' + all.length"
        " + ', ' + document.documentElement.scrollWidth + ' in ' + innerWidth; })</script>"
    )
    probed = tmp_path / "probed.html"
    probed.write_text(path.read_text().replace("</body>", probe + "</body>"))
    dump = chromium(probed, tmp_path, f"--window-size={width},900", "--dump-dom").stdout
    decoded, count, across, inside = map(int, re.search(r"decoded (\d+) of (\d+), (\d+) in (\d+)", dump).groups())
    assert decoded == count > 10
    assert across <= inside
    shot = tmp_path / "shot.png"
    chromium(path, tmp_path, f"--window-size={width},2400", f"--screenshot={shot}")
    picture = np.asarray(Image.open(shot).convert("L"))
    assert picture.shape[0] == 2400 and picture.std() > 15


def test_a_curve_of_one_point_is_seen():
    log = pd.DataFrame({"step": [1, 2], "similarity.mmd": [np.nan, 0.1]})
    (line,) = [line for line in figures.learning(log, ["similarity.mmd"]).axes[0].lines if line.get_linewidth() > 1]
    assert line.get_marker() == "o" and len(np.asarray(line.get_xdata())) == 1


def test_a_loss_of_a_single_player_is_drawn_once(tmp_path, vitals):
    alone = log().drop(columns=[name for name in log() if name.startswith("discriminator")])
    seen = assert_self_contained(write_page(tmp_path, *vitals, log=alone, scores=[ROW], asked={}, notes=[]))
    assert sum("generator.adversarial" in image["alt"] for image in seen.images) == 1
