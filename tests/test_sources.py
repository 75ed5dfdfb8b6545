"""Sources: toy processes obey their closed-form laws; images come back as drawn; every bad file is named."""

import gzip
import inspect
import re
import struct

import jsonargparse
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import shared_data
from vitalsynth import frames, sources
from vitalsynth.preparation import Preparation
from vitalsynth.reporting import figures
from vitalsynth.sequences import Schema, Sequences
from vitalsynth.sequences.pictures import fold, reading, unfold
from vitalsynth.sources import images

PLAIN = ["ar1", "digits", "ecg5000", "icu-demo", "ornstein-uhlenbeck", "sines"]  # need no file


@pytest.mark.parametrize("name", PLAIN)
def test_a_source_gives_sequences_that_can_be_prepared_and_saved(name, tmp_path):
    s = sources.read(name).take(slice(0, 40))
    back = Preparation.fit(s).decode(Preparation.fit(s).encode(s))
    np.testing.assert_allclose(back.values, s.values, atol=2e-5 * np.nanmax(np.abs(s.values)))
    frames.save(s, tmp_path / "s.parquet")
    assert frames.load(tmp_path / "s.parquet").digest() == s.digest()


@pytest.mark.parametrize("name", sources.__all__)
def test_every_setting_is_documented(name):
    source = getattr(sources, name)
    text = inspect.getdoc(source)
    assert text.splitlines()[0].endswith(".")
    assert re.search(r"licen[cs]e|CC BY|your own", text)
    for setting in inspect.signature(source).parameters:
        assert re.search(rf"^    {setting}: ", text, re.MULTILINE), setting


def test_names_are_what_find_takes():
    assert {"icu-demo", "fashion-mnist", "table"} <= set(sources.names())
    for name in sources.names():
        assert sources.find(name) is sources.find(name.replace("-", "_"))


def test_a_file_is_a_table_and_a_folder_is_of_images(tmp_path):
    frame = frames.to_frame(sources.ar1(3, 5))
    frame.to_csv(tmp_path / "mine.csv.gz", index=False)
    assert sources.read(str(tmp_path / "mine.csv.gz")).values.shape == (3, 5, 1)
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "a.png")
    assert sources.read(str(tmp_path), height=3, width=2).values.shape == (1, 3, 2)


def test_the_command_line_can_read_the_settings_of_a_file(tmp_path):
    (tmp_path / "mine.csv").write_text("id,time,x\n")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(sources.find(str(tmp_path / "mine.csv")), "source")
    settings = parser.parse_args(["--source.step", "0.5"]).source.as_dict()
    assert settings["step"] == 0.5
    assert "path" not in settings


def test_a_function_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_lab_of_tests.py").write_text(
        "from vitalsynth.sources import ar1\ndef cohort(count=4): return ar1(count, 3)\n"
        "def wrong(): return 7\nnumber = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(sources.read("my_lab_of_tests.cohort", count=2)) == 2
    for name, message in (
        ("wrong", "returned a int; a source must return Sequences"),
        ("number", "is a int; a source is a function"),
        ("cohrt", "did you mean 'cohort'"),
    ):
        with pytest.raises(ValueError, match=message):
            sources.read(f"my_lab_of_tests.{name}")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("icu-dmeo", {}, "no such source, file or folder; sources: did you mean 'icu-demo'"),
        ("cohort.csv", {}, "no such file or folder"),
        ("no_such_lab.cohort", {}, "cannot import 'no_such_lab'"),
        ("sines", {"lenght": 3}, "source sines has no setting 'lenght'; did you mean 'length'"),
        ("table", {}, "source table needs the setting 'path'"),
        ("sines", {"count": 0}, "count must be at least 1, got 0"),
        ("ar1", {"coefficient": 1.0}, "coefficient must lie between -1 and 1"),
        ("ornstein-uhlenbeck", {"gap": 1.0}, "gap must be at least 0 and less than 1"),
    ],
)
def test_wrong_sources_are_named(name, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sources.read(name, **settings)


# Laws of the toys


def test_sines_are_sines():
    x = 2 * sources.sines(2000, 24, 3, seed=1).values - 1
    inner = np.abs(x[:, 1:-1]) > 0.1
    cosine = ((x[:, 2:] + x[:, :-2]) / 2)[inner] / x[:, 1:-1][inner]  # x[t+1] + x[t-1] = 2 cos(f) x[t]
    frequency = np.arccos(np.clip(cosine, -1, 1))
    assert frequency.max() < 0.1 + 1e-6
    phase = np.arcsin(x[:, 0])
    assert phase.min() >= 0
    assert phase.max() <= 0.1
    # E sin(f t + p) over f, p ~ U(0, a) is (sin(at) + sin(a) - sin(at + a)) / (a^2 t)
    a, t = 0.1, np.arange(1, 24)
    law = (np.sin(a * t) + np.sin(a) - np.sin(a * t + a)) / (a * a * t)
    np.testing.assert_allclose(x[:, 1:].mean(axis=(0, 2)), law, atol=4 * 0.35 / np.sqrt(6000))


def test_sines_have_independent_channels_and_seeds():
    x = sources.sines(3000, 24, 2).values[:, -1]
    assert abs(np.corrcoef(x.T)[0, 1]) < 4 / np.sqrt(3000)
    assert not np.array_equal(sources.sines(5).values, sources.sines(5, seed=1).values)
    np.testing.assert_array_equal(sources.sines(5).values, sources.sines(5).values)


def assert_law(x, variance, correlation):
    """Within 5 standard errors at every step and lag: the start is stationary, and correlation falls geometrically."""
    count, length = x.shape
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=5 * np.sqrt(variance / count))
    np.testing.assert_allclose(x.var(axis=0), variance, rtol=5 * np.sqrt(2 / count))
    for lag in (1, 2, 5):
        measured = [np.corrcoef(x[:, t], x[:, t + lag])[0, 1] for t in range(length - lag)]
        np.testing.assert_allclose(measured, correlation**lag, atol=5 / np.sqrt(count))


@pytest.mark.parametrize("coefficient", [-0.5, 0.0, 0.9])
def test_ar1_obeys_its_law(coefficient):
    x = sources.ar1(10_000, 12, coefficient, noise=2.0).values[..., 0]
    assert_law(x, 4 / (1 - coefficient**2), coefficient)


def test_ornstein_uhlenbeck_obeys_its_law():
    s = sources.ornstein_uhlenbeck(10_000, 12, rate=0.5, volatility=3.0, step=0.25, gap=0.0)
    assert s.schema.step == 0.25
    assert_law(s.values[..., 0], 9 / (2 * 0.5), np.exp(-0.5 * 0.25))


def test_gaps_are_at_random_and_change_nothing_else():
    whole = sources.ornstein_uhlenbeck(2000, gap=0.0).values
    holed = sources.ornstein_uhlenbeck(2000, gap=0.3).values
    missing = np.isnan(holed)
    np.testing.assert_array_equal(holed[~missing], whole[~missing])
    assert abs(missing.mean() - 0.3) < 5 * np.sqrt(0.21 / missing.size)
    assert abs(np.corrcoef(missing.ravel(), whole.ravel())[0, 1]) < 5 / np.sqrt(missing.size)


# Clinical


def test_icu_demo_is_what_its_attribution_says():
    s = sources.icu_demo()
    assert s.values.shape == (1367, 25, 7)
    assert s.static_column("died").sum() == 70
    assert [c.title for c in s.schema.channels][2:4] == ["o2sat (%)", "map (mmHg)"]
    missing = np.isnan(s.values).mean(axis=(0, 1))
    np.testing.assert_allclose(missing[[0, 1, 2, 3, 6]], [0.05, 0.15, 0.10, 0.12, 0.72], atol=0.006)
    for j, column in enumerate(s.schema.channels):
        measured = s.values[..., j][~np.isnan(s.values[..., j])]
        np.testing.assert_allclose(measured / column.resolution, np.round(measured / column.resolution), atol=1e-9)
        assert measured.min() >= column.low
        assert column.high is None or measured.max() <= column.high
    with np.load(shared_data("icu-demo-hourly", "eicu_demo_vitals_24h.npz")) as raw:
        difference = np.abs(s.values - raw["x"])
        assert np.nanmax(difference) <= 0.25 + 1e-5
        assert (difference[..., :6] > 1e-4).sum() == 40
        np.testing.assert_array_equal(s.static_column("sex") == 1, raw["sex"] == "Male")


def test_ecg5000_labels_and_splits(monkeypatch):
    train = sources.ecg5000()
    assert train.values.shape == (500, 140, 1)
    counts = dict(zip(*np.unique(train.static_column("label"), return_counts=True), strict=True))
    assert counts[0] == 292
    assert train.schema.statics[0].categories[0] == "normal"
    shared = shared_data("ecg5000").parent
    monkeypatch.setenv("VITALSYNTH_DATA", "/nowhere")
    with pytest.raises(ValueError, match=r"/nowhere/ecg5000/ECG5000.npz: no such file; set VITALSYNTH_DATA"):
        sources.ecg5000("test")
    monkeypatch.setenv("VITALSYNTH_DATA", str(shared))
    counts = np.unique(sources.ecg5000("all").static_column("label"), return_counts=True)[1]
    assert counts.tolist() == [2919, 1767, 96, 194, 24]


# Images


def test_digits_are_drawn_as_they_were():
    from sklearn.datasets import load_digits

    s = sources.digits()
    drawn = images.draw(s)
    np.testing.assert_array_equal(drawn[..., 0], np.round(load_digits().images / 16 * 255))
    np.testing.assert_array_equal(s.static_column("label"), load_digits().target)
    assert s.schema.image == (8, 8, 1)
    assert s.schema.statics[0].categories == tuple(range(10))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_sets(name, monkeypatch):
    folder = shared_data(name)
    monkeypatch.setenv("VITALSYNTH_DATA", str(folder.parent))
    s = sources.read(name, split="test")
    assert s.values.shape == (10_000, 28, 28)
    raw = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert images.draw(s).tobytes() == raw
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert s.static_column("label").astype(np.uint8).tobytes() == labels


def write_idx(path, array):
    content = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def idx_folder(tmp_path, rng):
    for part, count in (("train", 6), ("t10k", 3)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (count, 5, 4), dtype=np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", rng.integers(0, 10, count, dtype=np.uint8))
    return tmp_path


def test_idx_files_plain_or_gzipped_and_rectangular(idx_folder):
    for split, count in (("train", 6), ("test", 3), ("all", 9)):
        s = sources.mnist(str(idx_folder), split)
        assert s.values.shape == (count, 5, 4)
        assert s.schema.image == (5, 4, 1)


def cut(path, end=-3):
    path.write_bytes(path.read_bytes()[:end])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: (f / "train-images-idx3-ubyte").unlink(),
            r"{f}: no file train-images-idx3-ubyte or .*set VITALSYNTH_DATA",
        ),
        (
            lambda f: cut(f / "train-images-idx3-ubyte"),
            r"train-images-idx3-ubyte: has 133 bytes, expected 136; it is trunc",
        ),
        (lambda f: cut(f / "train-labels-idx1-ubyte.gz"), r"train-labels-idx1-ubyte.gz: is truncated or no gzip file"),
        (
            lambda f: write_idx(f / "train-images-idx3-ubyte", np.zeros(6, np.uint8)),
            "begins with the number 0x00000801, expected 0x00000803",
        ),
        (lambda f: (f / "train-images-idx3-ubyte").write_bytes(b""), "has 0 bytes, expected at least 16"),
        (
            lambda f: write_idx(f / "train-labels-idx1-ubyte.gz", np.zeros(5, np.uint8)),
            "train-labels-idx1-ubyte.gz: has 5 labels for 6 images",
        ),
        (lambda f: write_idx(f / "train-labels-idx1-ubyte.gz", np.full(6, 10, np.uint8)), "has a label 10; 0 to 9"),
    ],
)
def test_bad_idx_files_are_named(idx_folder, damage, message):
    damage(idx_folder)
    with pytest.raises(ValueError, match=message.replace("{f}", re.escape(str(idx_folder)))):
        sources.mnist(str(idx_folder))


def test_a_missing_folder_and_a_wrong_word_are_named(monkeypatch):
    monkeypatch.delenv("VITALSYNTH_DATA", raising=False)
    with pytest.raises(ValueError, match="set VITALSYNTH_DATA to the folder that holds mnist/"):
        sources.mnist()
    with pytest.raises(ValueError, match="split is 'tset'; allowed are train, test, all"):
        images._parts("tset")
    with pytest.raises(ValueError, match="order is 'rings'; allowed are rows, columns, patches"):
        images._tile("rings", 2, 4, 4)


@pytest.fixture
def people(tmp_path, rng):
    for person, count in (("Ada", 2), ("Ben", 1)):
        (tmp_path / person).mkdir()
        for j in range(count):
            Image.fromarray(rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)).save(tmp_path / person / f"{j}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_faces_from_a_folder(people):
    colourful = sources.faces(str(people), colour=True)
    assert colourful.values.shape == (3, 6, 12)
    assert colourful.schema.image == (6, 4, 3)
    assert colourful.subject.tolist() == ["Ada", "Ada", "Ben"]
    np.testing.assert_array_equal(images.draw(colourful)[0], np.asarray(Image.open(people / "Ada" / "0.png")))
    grey = sources.faces(str(people), height=3, width=5)
    assert grey.schema.image == (3, 5, 1)
    assert sources.faces(str(people), size=4).schema.image == (4, 4, 1)
    Image.fromarray((np.arange(24).reshape(6, 4) * 2730).astype(np.uint16)).save(people / "deep.png")
    deep = images.draw(sources.faces(str(people)))[-1, ..., 0]
    np.testing.assert_allclose(deep.astype(int), np.arange(24).reshape(6, 4) * 2730 / 257, atol=1)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            lambda f: Image.new("L", (5, 6)).save(f / "Ben" / "1.png"),
            {},
            r"Ben/1.png: is 5x6 .*0.png is 4x6; give size",
        ),
        (lambda f: (f / "Ada" / "1.png").write_bytes(b"\x89PNG torn"), {}, r"Ada/1.png: cannot be read as an image"),
        (lambda f: cut(f / "Ada" / "1.png", 60), {}, r"Ada/1.png: cannot be read as an image"),
        (lambda f: [image.unlink() for image in f.rglob("*.png")], {}, "no image in it or below"),
        (lambda f: None, {"height": 3}, "give height and width together"),
        (lambda f: None, {"height": 3, "width": 0}, "give height and width together, both at least 1"),
        (lambda f: None, {"size": 3, "width": 3}, "give size, or height and width, not both"),
        (lambda f: None, {"crop": 0.0}, "crop must be more than 0 and at most 1, got 0.0"),
        (lambda f: None, {"order": "patches"}, "patches of 4 x 4 do not cover 6 x 4 pixels; 1, 2 do"),
    ],
)
def test_bad_folders_of_images_are_named(people, change, settings, message):
    change(people)
    with pytest.raises(ValueError, match=message):
        sources.faces(str(people), **settings)


def test_the_sample_of_faces_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    from skimage.data import lfw_subset

    s = sources.faces()
    np.testing.assert_allclose(s.values, lfw_subset()[:100], atol=1e-7)
    assert sources.faces(height=10, width=8).schema.image == (10, 8, 1)
    with pytest.raises(ValueError, match="the sample of faces is grey"):
        sources.faces(colour=True)
    with pytest.raises(ValueError, match="the sample of faces is cut already; give a folder"):
        sources.faces(crop=0.5)


def test_faces_are_read_from_scikit_learns_cache(tmp_path, monkeypatch, rng):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    home = tmp_path / "lfw_home"
    for person in ("Ada_L", "Ben_K"):
        (home / "lfw_funneled" / person).mkdir(parents=True)
        picture = Image.fromarray(rng.integers(0, 256, (250, 250, 3), dtype=np.uint8))
        picture.save(home / "lfw_funneled" / person / f"{person}_0001.jpg")
    for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (home / name).write_text("")
    s = sources.faces(colour=True)
    assert s.schema.image == (62, 47, 3)
    assert sorted(s.subject.tolist()) == ["Ada L", "Ben K"]
    assert sources.faces(height=20, width=15).values.shape == (2, 20, 15)
    middle = np.asarray(Image.open(home / "lfw_funneled" / "Ada_L" / "Ada_L_0001.jpg").convert("L"))[62:187, 62:187]
    np.testing.assert_array_equal(images.draw(sources.faces(crop=0.5))[0, ..., 0], middle)
    np.testing.assert_array_equal(sources.faces(size=125).values, sources.faces(crop=0.5).values)


@given(st.lists(st.integers(1, 4), min_size=6, max_size=6), st.integers(0, 2**32 - 1))
def test_a_picture_becomes_sequences_and_the_same_picture(sizes, seed):
    n, down, across, rows, columns, colours = sizes
    pixels = np.random.default_rng(seed).uniform(size=(n, rows * down, columns * across, colours))
    values = unfold(pixels, (down, across))
    assert values.shape == (n, rows * columns, down * across * colours)
    for step in range(rows * columns):
        top, left = down * (step // columns), across * (step % columns)
        np.testing.assert_array_equal(values[:, step], pixels[:, top : top + down, left : left + across].reshape(n, -1))
    channels = tuple(images.Column(f"c{j}") for j in range(values.shape[2]))
    schema = Schema(channels, image=pixels.shape[1:], tile=(down, across))
    np.testing.assert_array_equal(fold(Sequences(values, schema)), pixels)


ORDERS = [
    ("rows", (6, 4), "row by row"),
    ("columns", (4, 6), "column by column"),
    ("patches", (6, 4), "patches of 2 x 2"),
]


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("order", "shape", "words"), ORDERS)
def test_every_order_is_drawn_alike(people, tmp_path, order, shape, words, colour):
    by_rows, s = (sources.faces(str(people), colour=colour, order=o, patch=2) for o in ("rows", order))
    assert s.values.shape == (3, shape[0], shape[1] * (3 if colour else 1))
    assert words in reading(s.schema)
    for back in (s, frames.load(_saved(s, tmp_path / "s.parquet")), sources.read(_saved(s, tmp_path / "s.npz"))):
        np.testing.assert_array_equal(images.draw(back), images.draw(by_rows))
        sheets = [figures.mosaic(each, (0, 1)).axes[0].images[0].get_array() for each in (back, by_rows)]
        np.testing.assert_array_equal(*sheets)
        np.testing.assert_array_equal(figures.pooled_pixels(back).values, figures.pooled_pixels(by_rows).values)


def _saved(sequences, path):
    with frames.writer(path, sequences.schema) as writer:
        writer.write(sequences)
    return str(path)


def test_channels_are_named_by_their_place_and_without_one_there_is_no_picture():
    assert [c.name for c in sources.digits("patches", 2).schema.channels] == ["y0x0", "y0x1", "y1x0", "y1x1"]
    assert [c.name for c in sources.digits("columns").schema.channels] == [f"y{i}" for i in range(8)]
    s = sources.digits().take(slice(0, 3))
    assert s.drop(["x3"]).schema.image is None
    with pytest.raises(ValueError, match="are not images: their schema has no image shape"):
        images.draw(s.drop(["x3"]))


def test_a_schema_saved_before_there_were_tiles_is_read_by_rows():
    s = sources.digits()
    record = {key: value for key, value in s.schema.to_json().items() if key != "tile"}
    assert Schema.from_json(record) == s.schema
    patches = sources.digits("patches", 2).schema
    assert Schema.from_json(patches.to_json()) == patches


def test_a_mosaic_holds_every_image(tmp_path):
    s = sources.digits().take(slice(0, 7))
    images.save_grid(s, tmp_path / "grid.png")
    mosaic = np.asarray(Image.open(tmp_path / "grid.png"))
    scale, drawn = 8, images.draw(s)[..., 0]
    for j in range(7):  # three across
        top, left = (j // 3) * 9 * scale, (j % 3) * 9 * scale
        np.testing.assert_array_equal(mosaic[top : top + 64 : scale, left : left + 64 : scale], drawn[j])
    with pytest.raises(ValueError, match="are not images"):
        images.save_grid(sources.ar1(2, 3), tmp_path / "no.png")


# Tables


def test_physionet_2012_through_table():
    path = shared_data("physionet2012", "set-a_hourly.npz")
    s = sources.read(str(path), categorical="ICUType", drop="survival,saps_i")
    with np.load(path) as raw:
        np.testing.assert_array_equal(s.values, raw["x"])
        assert [c.name for c in s.schema.channels] == raw["variables"].tolist()
        np.testing.assert_array_equal(s.subject, raw["record_id"])
        np.testing.assert_array_equal(s.static_column("in_hospital_death"), raw["in_hospital_death"])
        np.testing.assert_array_equal(s.static_column("static_Weight").astype(np.float32), raw["static"][:, 4])
    kinds = {c.name: c.kind for c in s.schema.columns}
    assert kinds["MechVent"] == kinds["Gender"] == "binary"
    assert kinds["HR"] == "continuous"
    assert s.schema.statics[s.schema.static_index("ICUType")].categories == (1, 2, 3, 4)
    assert "survival" not in kinds


@pytest.fixture
def arrays(rng):
    return {
        "x": rng.standard_normal((4, 3, 2)),
        "channels": np.array(["hr", "map"]),
        "lengths": np.array([3, 1, 2, 3]),
        "subject_id": np.array(["p", "p", "q", "r"]),
        "id": np.arange(4),
        "sex": np.array(["F", "M", "", "M"]),
        "extra": rng.standard_normal((4, 2)),
        "extra_names": np.array(["age", "hr"]),
    }


def test_npz_by_hand(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    s = sources.table(str(tmp_path / "a.npz"))
    assert [c.name for c in s.schema.statics] == ["sex", "age", "static_hr"]
    assert s.subject.tolist() == ["p", "p", "q", "r"]
    assert s.lengths.tolist() == [3, 1, 2, 3]
    np.testing.assert_array_equal(s.static_column("sex"), [0, 1, np.nan, 1])
    assert np.isnan(s.values[1, 1:]).all()
    assert not np.isnan(s.values[1, 0]).any()


def test_an_array_of_two_axes_is_one_channel(tmp_path):
    np.savez(tmp_path / "e.npz", beats=np.arange(12.0).reshape(3, 4), y=np.array([1, 2, 3]))
    s = sources.table(str(tmp_path / "e.npz"), array="beats", categorical="y")
    assert s.values.shape == (3, 4, 1)
    assert s.schema.channels[0].name == "x0"
    assert s.schema.statics[0].categories == (1, 2, 3)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"channels": np.array(["hr"])}, {}, "'channels' names 1 channels, but the array has 2; both must agree"),
        ({"extra_names": np.array(["age"])}, {}, "'extra_names' names 1 columns, but 'extra' has 2"),
        ({"sex": np.array(["F", "M"])}, {}, "array 'sex' has shape (2,); 4 values"),
        ({"subject_id": np.arange(3)}, {}, "array 'subject_id' has 3 entries for 4 sequences"),
        ({"lengths": np.array([3, 1, 4, 3])}, {}, "array 'lengths' has values from 1 to 4; allowed are 1 to 3"),
        ({"sex": np.array(["F", 1, None, "M"], dtype=object)}, {}, "array 'sex' holds Python objects"),
        ({"x": np.full((4, 3, 2), np.inf)}, {}, "array 'x' is infinite at [0, 0, 0]"),
        ({"x": np.full((4, 3, 2), np.nan)}, {}, "column 'hr' is empty; drop it"),
        ({"x": np.full((4, 3, 2), "a")}, {}, "array 'x' holds <U1; numbers are needed"),
        ({}, {"array": "z", "drop": ""}, None),
        ({"z": np.zeros((4, 3, 2))}, {"array": "w"}, "no array 'w' of sequences x steps x channels"),
        ({}, {"subject": "who"}, "no array 'who' for the subject"),
        ({}, {"drop": "hrr"}, "no column 'hrr' to drop; did you mean 'hr'"),
        ({}, {"drop": "hr,map"}, "all channels were dropped"),
        ({}, {"categorical": "sexx"}, "no column 'sexx' to take as categorical; did you mean 'sex'"),
    ],
)
def test_bad_npz_files_are_named(tmp_path, arrays, change, settings, message):
    path = tmp_path / "a.npz"
    np.savez(path, **{**arrays, **change})
    if message is None:  # the only array of three axes is taken whatever its name
        assert isinstance(sources.table(str(path), **settings), Sequences)
        return
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        sources.table(str(path), **settings)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.csv", b"", {}, "the file is empty"),
        ("a.csv", b"id,time,x\n", {}, "the table is empty"),
        ("a.csv", b"id,time,x\n1,0,1\n1,1,2,3\n", {}, "row 2 (line 3) has 4 cells, the header 3"),
        ("a.csv", b"id,time,x\n1,0,1,5\n1,1,2,5\n", {}, "row 1 (line 2) has 4 cells, the header 3"),
        ("a.csv", b"id,time,x\n1,0,1\n1,1\n", {}, "row 2 (line 3) has 2 cells, the header 3"),
        ("a.csv", b"id,time,x\n1,0,\xff\xfe\n", {}, "cannot be read as CSV"),
        (
            "a.csv",
            b"id,time,x\n1,0,2\n1,1,3\n1,2,high\n",
            {},
            "row 3 (line 4), column 'x' holds numbers, but here the text 'high'",
        ),
        ("a.csv", b"id,time,x\n1,0,2\n1,1,3\n", {"drop": "y"}, "no column 'y' to drop"),
        ("a.csv.gz", b"no gzip", {}, "cannot be read as CSV"),
        ("a.csv.gz", gzip.compress(b"id,time,x\n1,0,2\n", mtime=0)[:-6], {}, "cannot be read as CSV"),
        ("a.npz", b"no zip", {}, "is no npz file, or damaged"),
        ("a.parquet", b"no parquet", {}, "is no Parquet file, or damaged"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, settings, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        sources.read(str(path), **settings)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


def test_rows_of_a_csv_are_named_with_their_lines(tmp_path):
    """Blank lines and cells of several lines count as lines, not as rows; what a user wrote is no row."""
    path = tmp_path / "a.csv"
    text = 'id,time,x,note\n1,0,2,"a\nb"\n\n1,1,high,row 1\n1,1,3,c\n1,2,row 2,c\n'
    for content in (text, text.replace("\n", "\r\n")):
        path.write_text(content, newline="")
        with pytest.raises(ValueError, match="3 cells cannot be read: ") as caught:
            sources.read(str(path))
        told = str(caught.value)
        assert "row 2 (line 5), column 'x' holds numbers, but here the text 'high'" in told
        assert "row 3 (line 6), column 'time' repeats row 2 (line 5) (id 1, time 1)" in told
        assert "row 4 (line 7), column 'x' holds numbers, but here the text 'row 2'; " in told
    path.write_text("id,time,x\n\n1,0,2\n1,1\n")
    with pytest.raises(ValueError, match=re.escape("row 2 (line 4) has 2 cells, the header 3")):
        sources.read(str(path))


def test_other_separators_and_other_peoples_parquet(tmp_path):
    frame = pd.DataFrame({"stay": [1, 1, 2, 2], "hour": [0, 1, 0, 1], "x": [0.5, 1.25, 2, 3], "note": list("abcd")})
    expected = frames.from_frame(frame, id="stay", time="hour")
    frame.to_csv(tmp_path / "a.psv", sep="|", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.psv", "a.parquet"):
        s = sources.read(str(tmp_path / name), id="stay", time="hour")
        assert s.digest() == expected.digest()
        assert s.schema == expected.schema
        assert [
            c.name for c in sources.read(str(tmp_path / name), id="stay", time="hour", drop="note").schema.columns
        ] == ["x"]


def test_our_own_parquet_describes_itself(tmp_path):
    s = sources.icu_demo().take(slice(0, 5))
    frames.save(s, tmp_path / "a.parquet")
    assert sources.read(str(tmp_path / "a.parquet")).schema == s.schema
    assert sources.read(str(tmp_path / "a.parquet"), drop="hr,age").schema == s.drop(["hr", "age"]).schema
    with pytest.raises(ValueError, match="describes itself; leave out subject, step and categorical"):
        sources.read(str(tmp_path / "a.parquet"), step=2.0)
