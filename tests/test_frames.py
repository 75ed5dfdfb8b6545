"""Laws: what is saved is read back exactly; rows may come in any order; bad input is named by row and column."""

import json
import logging
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_preparation import sequences as plain_sequences
from vitalsynth import frames, sources
from vitalsynth.frames.columns import resolution
from vitalsynth.frames.doubts import far_out
from vitalsynth.sequences import Column, Schema, Sequences
from vitalsynth.storage import atomic_path

CLOCKS = [
    {},
    {"step": 0.25, "start": -1.5},
    {"step": 1 / 6, "step_unit": "h", "time_kind": "timedelta", "start": 2.0},
    {"step": 1 / 360, "step_unit": "s"},
    {"step": 24.0, "step_unit": "h", "time_kind": "datetime"},
    {"id": "stay", "time": "hour", "image": (3, 2, 1)},
]


@st.composite
def any_sequences(draw):
    """Of all kinds, gaps, lengths and clocks; subjects with one or several sequences, numbers or text; float32 too."""
    s = draw(plain_sequences())
    columns = s.schema.channels
    if draw(st.booleans()):
        columns = tuple(replace(c, resolution=1.0, low=-1e9) if c.kind == "continuous" else c for c in columns)
    schema = replace(s.schema, channels=columns, **draw(st.sampled_from(CLOCKS)))
    subject = draw(
        st.sampled_from([np.arange(len(s)), np.arange(len(s)) // 2, np.array([f"p{j % 3}" for j in range(len(s))])])
    )
    longer = np.concatenate([s.values, np.full((len(s), draw(st.integers(0, 2)), s.values.shape[2]), np.nan)], axis=1)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return replace(s, values=longer.astype(dtype), schema=schema, subject=subject, static=s.static.astype(dtype))


def assert_identical(back, s):
    assert back.schema == s.schema
    for name in ("values", "lengths", "static", "subject"):
        ours, theirs = getattr(back, name), getattr(s, name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert name == "subject" or ours.dtype == theirs.dtype
    assert back.digest() == s.digest()


@given(any_sequences())
def test_load_undoes_save(tmp_path_factory, s):
    path = tmp_path_factory.mktemp("save") / "s.parquet"
    frames.save(s, path)
    assert_identical(frames.load(path), s)
    assert [each.name for each in path.parent.iterdir()] == ["s.parquet"]


@given(any_sequences(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_rows_may_come_in_any_order(s, random):
    frame = frames.to_frame(s)
    rows = list(range(len(frame)))
    random.shuffle(rows)
    back = frames.from_frame(frame.iloc[rows], schema=s.schema)
    where = {key: j for j, key in enumerate(map(str, back.subject))}
    if len(where) == len(s):
        order = np.array([where[str(subject)] for subject in s.subject])
        np.testing.assert_array_equal(back.take(order).values, s.values[:, : back.length])
        np.testing.assert_array_equal(back.take(order).static, s.static)
    assert sorted(back.lengths) == sorted(s.lengths)


def test_icu_survives_csv(tmp_path):
    """Nothing is told: names, kinds, half units, and what is static, are all found again."""
    s = sources.icu_demo()
    path = tmp_path / "icu.csv"
    frames.to_frame(s).to_csv(path, index=False)
    back = sources.read(str(path))
    assert back.digest() == s.digest()
    for ours, theirs in zip(back.schema.columns, s.schema.columns, strict=True):
        assert (ours.name, ours.kind, ours.categories, ours.resolution) == (
            theirs.name,
            theirs.kind,
            theirs.categories,
            theirs.resolution,
        )


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "id": ["b", "a", "b", "a", "b"],
            "time": [2, 0, 0, 4, 6],
            "hr": [70.5, 80.0, np.nan, 81.25, 72.0],
            "alarm": [True, False, True, False, False],
            "rhythm": ["AF", "SR", "SR", "VT", None],
            "mode": ["on", "off", "on", "on", "on"],
            "ward": [3, 4, 3, 4, 3],
            "sex": ["M", "F", "M", "F", "M"],
        }
    )


def test_a_table_by_hand(table):
    s = frames.from_frame(table, categorical=["ward"])
    assert s.subject.tolist() == ["b", "a"]
    assert (s.schema.step, s.schema.start, s.schema.time_kind, s.schema.step_unit) == (2.0, 0.0, "number", "")
    assert s.schema.channels == (
        Column("hr", low=0.0),
        Column("alarm", "binary"),
        Column("rhythm", "categorical", categories=("AF", "SR", "VT")),
        Column("mode", "binary", categories=("off", "on")),
    )
    assert s.schema.statics == (
        Column("ward", "categorical", categories=(3, 4)),
        Column("sex", "binary", categories=("F", "M")),
    )
    nan = np.nan
    expected = [
        [[nan, 1, 1, 1], [70.5, 1, 0, 1], [nan] * 4, [72, 0, nan, 1]],
        [[80, 0, 1, 0], [nan] * 4, [81.25, 0, 2, 1], [nan] * 4],
    ]
    np.testing.assert_array_equal(s.values, expected)
    np.testing.assert_array_equal(s.static, [[0, 1], [1, 0]])
    assert s.lengths.tolist() == [4, 3]


def test_to_frame_writes_what_it_read(table):
    back = frames.to_frame(frames.from_frame(table))
    assert list(back) == list(table)
    merged = table.merge(back, on=["id", "time"], suffixes=("", "_back"))
    assert len(merged) == len(table)
    for name in table.columns[2:]:
        assert (merged[name].isna() == merged[f"{name}_back"].isna()).all()
        known = merged.dropna(subset=name)
        assert (known[name] == known[f"{name}_back"]).all(), name


@pytest.mark.parametrize(
    ("times", "step", "start"),
    [
        ([0, 3, 9, 12], 3.0, 0.0),
        ([0.1, 0.2, 0.30000000000000004, 0.6], 0.1, 0.1),
        ([-1.0, 0.5, 1.0], 0.5, -1.0),
        ([0, 1 / 3, 2 / 3, 2], 1 / 3, 0.0),
        ([0, 2 / 3, 1], 1 / 3, 0.0),
        ([7, 7.004, 7.008], 0.004, 7.0),
        (pd.to_timedelta([90, 100, 130], unit="min"), 1 / 6, 1.5),
        (["01:30", "02:00", "03:30"], 0.5, 1.5),
        (["0", "5", "10"], 5.0, 0.0),
        (pd.to_datetime(["2024-03-01 07:00", "2024-03-01 07:15", "2024-03-01 08:00"]), 0.25, 0.0),
        (["2024-03-01", "2024-03-02", "2024-03-05"], 24.0, 0.0),
        (pd.to_datetime(["2024-03-01 07:00", "2024-03-01 07:15"]).tz_localize("Europe/Vienna"), 0.25, 0.0),
    ],
)
def test_the_step_is_found(times, step, start):
    frame = pd.DataFrame({"id": 1, "time": times, "x": np.arange(len(times)) + 0.5})
    s = frames.from_frame(frame)
    assert s.schema.step == pytest.approx(step, rel=1e-9)
    assert s.schema.start == pytest.approx(start)
    assert s.length > 1
    at = np.flatnonzero(~np.isnan(s.values[0, :, 0]))
    np.testing.assert_array_equal(s.values[0, at, 0], frame["x"])
    if isinstance(times, list) and not isinstance(times[0], str):
        np.testing.assert_allclose(start + step * at, times)


def test_dates_count_from_each_id_and_are_never_written_back():
    days = pd.to_datetime(["2011-02-03 04:00", "2011-02-03 05:00", "1999-01-01 10:00", "1999-01-01 12:00"])
    s = frames.from_frame(pd.DataFrame({"id": [1, 1, 2, 2], "time": days, "x": [1.0, 2, 3, 4]}))
    np.testing.assert_array_equal(s.values[..., 0], [[1, 2, np.nan], [3, np.nan, 4]])
    written = frames.to_frame(s)["time"]
    assert written.min() == pd.Timestamp("2100-01-01")
    assert written.max() == pd.Timestamp("2100-01-01 02:00")


def test_binning_averages_numbers_and_keeps_the_last_of_the_others():
    frame = pd.DataFrame(
        {
            "id": [1] * 4,
            "time": [0.9, 0.1, 0.5, 2.2],
            "x": [4.0, 1.0, np.nan, 9.0],
            "kind": ["c", "a", "b", None],
            "on": [0, 1, 1, 1],
        }
    )
    s = frames.from_frame(frame, step=1)
    assert s.schema.start == 0.1  # bins begin at the first time
    np.testing.assert_array_equal(s.values[0], [[2.5, 2, 0], [np.nan] * 3, [9.0, np.nan, 1]])


def test_means_of_a_bin_are_rounded_as_the_column_is(rng):
    """Whole beats stay whole, half degrees half, a converter's counts counts; single values stay to the last bit."""
    n = 600
    raw = {"hr": rng.integers(50, 120, n), "temp": rng.integers(70, 80, n) / 2, "spo2": rng.integers(900, 1000, n) / 10}
    raw |= {"volts": np.round(-0.3 + 0.067 * rng.integers(-20, 20, n), 3), "free": rng.normal(size=n)}
    frame = pd.DataFrame({"id": np.arange(n) // 30, "time": np.tile(np.arange(30) / 3, 20), **raw})
    single = frames.from_frame(frame, step=1 / 3)
    np.testing.assert_array_equal(single.values.reshape(n, -1), frame.drop(columns=["id", "time"]))
    s = frames.from_frame(frame, step=1)
    assert s.length == 10
    steps = [column.resolution for column in s.schema.channels]
    assert steps == [1.0, 0.5, 0.1, pytest.approx(0.067, rel=1e-3), None]
    means = frame.groupby(["id", frame["time"].floordiv(1 - 1e-9)]).mean().to_numpy()[:, 1:].reshape(20, 10, 5)
    for j, column in enumerate(s.schema.channels):
        values, step = s.values[:, :, j], column.resolution
        if step is None:
            np.testing.assert_allclose(values, means[:, :, j])
            continue
        assert np.abs(values - means[:, :, j]).max() <= step / 2 + 1e-9
        places = (values - column.origin) / step
        np.testing.assert_allclose(places, np.round(places), atol=1e-6)
    assert frames.to_frame(s)["hr"].dtype == "Int64"
    np.testing.assert_array_equal(np.round(s.channel("spo2"), 1), s.channel("spo2"))  # 97.3, not 97.30000000000001


def test_a_subject_may_have_several_sequences(table):
    table["patient"] = ["p", "p", "p", "p", "p"]
    s = frames.from_frame(table, subject="patient")
    assert s.subject.tolist() == ["p", "p"]
    back = frames.to_frame(s, first_id=10)
    assert back["id"].unique().tolist() == [10, 11]
    assert (back["patient"] == "p").all()
    assert_identical(frames.from_frame(back, schema=s.schema), s)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(20.0), 1.0),
        (np.arange(20.0) / 2, 0.5),
        (np.arange(20.0) / 10, 0.1),
        ((np.arange(20.0) / 10 + 36).astype(np.float32), 0.1),
        (np.arange(20.0) / 100, 0.01),
        (np.arange(20.0) / 3, None),
        (np.arange(19.0), None),
        (np.arange(20.0) * 1e-9, None),
    ],
)
def test_resolution(values, expected):
    assert resolution(values) == (expected, 0.0)


def test_steps_of_a_converter_are_found_where_values_recur(rng):
    counts = rng.integers(-40, 60, 2000)
    step, origin = resolution(np.round(-0.3 + 0.067 * counts, 3))  # rounded once more when it was written
    assert step == pytest.approx(0.067, rel=1e-4)
    assert (origin + 0.3) / step == pytest.approx(round((origin + 0.3) / step), abs=0.02)
    assert resolution(rng.choice(rng.normal(size=60), 2000)) == (None, 0.0)  # they recur, but keep to no step
    assert resolution(-0.3 + 0.067 * np.arange(100.0)) == (None, 0.0)  # they keep to one, but none recurs


def with_cell(row, column, value):
    def change(frame):
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda f: f, {"id": "idd"}, "no column 'idd'; did you mean 'id'?"),
        (lambda f: f, {"time": "tme"}, "no column 'tme'; did you mean 'time'?"),
        (lambda f: f, {"time": "id"}, "id and time are both 'id'"),
        (lambda f: f, {"subject": "patient"}, "no column 'patient'"),
        (lambda f: f, {"subject": "mode"}, "row 4, column 'mode' changes within an id"),
        (lambda f: f, {"categorical": ["wrd"]}, "no column 'wrd' to take as categorical; did you mean 'ward'"),
        (lambda f: f.iloc[:0], {}, "the table is empty"),
        (with_cell(2, "hr", "high"), {}, "row 3, column 'hr' holds numbers, but here the text 'high'"),
        (with_cell(3, "time", 0), {}, "row 4, column 'time' repeats row 2 (id a, time 0)"),
        (with_cell(1, "id", None), {}, "row 2, column 'id' is missing"),
        (with_cell(1, "id", " "), {}, "row 2, column 'id' is missing"),
        (with_cell(4, "time", None), {}, "row 5, column 'time' is missing"),
        (with_cell(4, "time", np.inf), {}, "row 5, column 'time' is infinite"),
        (with_cell(4, "time", "soon"), {}, "row 5, column 'time' is 'soon', which is no time"),
        (with_cell(3, "hr", np.inf), {}, "row 4, column 'hr' is infinite"),
        (lambda f: f.assign(hr=np.nan), {}, "column 'hr' is empty; drop it"),
        (lambda f: f.assign(hr=pd.Timestamp("2020-01-01")), {}, "column 'hr' holds dates"),
        (lambda f: f.rename(columns={"hr": "mode"}), {}, "column 'mode' is there twice"),
        (lambda f: f[["id", "time", "sex"]], {}, "no column changes with time; the columns are sex"),
        (
            lambda f: f.assign(time=[0, 0, 1, 1000.5, 3]),
            {},
            "fit only a grid of 2,002 steps, for at most 3 rows an id; step=20 (--source.step 20) makes steps with the",
        ),
        (lambda f: f.assign(time=[0, np.pi, 1, np.e, 3]), {}, "lie on no even grid"),
        (lambda f: f, {"step": 0.0}, "step must be greater than 0, got 0.0"),
        (
            lambda f: f,
            {"step": 1e-9},
            "step=1e-09 makes 2 sequences of 6,000,000,001 steps, too many; give a larger step",
        ),
    ],
)
def test_bad_tables_are_named(table, change, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        frames.from_frame(change(table), origin="my.csv", **settings)
    text = str(caught.value)
    assert text.startswith("my.csv: ")
    assert "\n" not in text


def test_all_cells_that_cannot_be_read_are_told_at_once(table):
    bad = with_cell(0, "hr", "88 bpm")(with_cell(4, "ward", "<0.5")(with_cell(3, "time", 0)(table)))
    with pytest.raises(ValueError, match="3 cells cannot be read: ") as caught:
        frames.from_frame(bad)
    told = str(caught.value)
    for cell in (
        "row 1, column 'hr' holds numbers, but here the text '88 bpm'; ",
        "row 4, column 'time' repeats row 2 (id a, time 0); ",
        "row 5, column 'ward' holds numbers, but here the text '<0.5'; ",
    ):
        assert cell in told
    assert told.index("row 1,") < told.index("row 4,") < told.index("row 5,")
    assert told.count("empty the cell where nothing was measured") == 1

    with pytest.raises(ValueError, match=r"2 cells cannot be read: row 2, rhythm has no category 'XX'.*row 4, column"):
        frames.from_frame(
            with_cell(3, "hr", np.inf)(with_cell(1, "rhythm", "XX")(table)), schema=frames.from_frame(table).schema
        )


def test_of_many_unreadable_cells_ten_are_named():
    frame = pd.DataFrame({"id": np.arange(40) // 4, "time": np.arange(40) % 4, "x": ["low"] * 33 + ["1"] * 7})
    with pytest.raises(ValueError, match="34 cells cannot be read") as caught:
        frames.from_frame(frame.assign(time=[*range(39), "soon"]))
    assert str(caught.value).count("but here the text 'low'") == 10
    with pytest.raises(
        ValueError, match="row 10, column 'x' holds numbers, but here the text 'low'; and 23 more; empty"
    ):
        frames.from_frame(frame)


@pytest.mark.parametrize(("unit", "advised"), [(None, "1"), ("h", "1"), ("min", "0.01667"), ("D", "24")])
def test_rows_at_any_time_are_told_a_step_that_makes_a_sensible_grid(rng, unit, advised):
    """Some rows in 48 hours, written to the hundredth: not steps of a hundredth."""
    times = np.concatenate([np.sort(rng.choice(4800, 33, replace=False)) / 100 for _ in range(50)])
    frame = pd.DataFrame({"id": np.arange(len(times)) // 33, "time": times, "x": rng.normal(size=len(times))})
    frame["time"] = frame["time"] if unit is None else pd.to_timedelta(frame["time"], unit=unit)
    with pytest.raises(ValueError, match=r"events=True \(--source.events true\)") as caught:
        frames.from_frame(frame)
    assert f"step={advised} (--source.step {advised}) " in str(caught.value)
    length = frames.from_frame(frame, step=float(advised)).length
    assert 33 <= length <= 20 * 33
    assert frames.from_frame(frame, events=True).length == 33


def test_too_many_texts_are_refused():
    frame = pd.DataFrame(
        {"id": np.arange(202) // 2, "time": np.arange(202) % 2, "note": [f"n{j % 101}" for j in range(202)]}
    )
    with pytest.raises(ValueError, match="column 'note' has 101 distinct categories; at most 100"):
        frames.from_frame(frame)
    few = frame.assign(note=[f"n{j % 100}" for j in range(202)])
    assert len(frames.from_frame(few).schema.channels[0].categories) == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="hr"), "no column 'hr', which the schema has"),
        (lambda f: f.assign(extra=1), "column 'extra' is not in the schema; drop it"),
        (with_cell(2, "rhythm", "XX"), "row 3, rhythm has no category 'XX'; it has AF, SR, VT"),
        (with_cell(2, "alarm", 0.5), "row 3, alarm has no category 0.5"),
        (with_cell(2, "hr", "high"), "row 3, column 'hr' holds numbers"),
        (with_cell(2, "sex", "F"), "row 3, column 'sex' is static in the schema, but changes within an id"),
        (with_cell(2, "time", 1), "row 3, column 'time' lies between the steps of the schema"),
        (with_cell(2, "time", -2), "row 3, column 'time' lies before the start"),
        (
            lambda f: f.assign(time=pd.to_timedelta(f["time"], unit="h")),
            "holds a timedelta; the schema expects a number",
        ),
    ],
)
def test_a_table_must_fit_its_schema(table, change, message):
    schema = frames.from_frame(table).schema
    with pytest.raises(ValueError, match=re.escape(message)):
        frames.from_frame(change(table), schema=schema)


def test_to_frame_needs_names_of_its_own():
    s = Sequences(np.zeros((1, 2, 1)), Schema((Column("time"),)))
    with pytest.raises(ValueError, match="column 'time' has the name of the id, time or subject column"):
        frames.to_frame(s)


def test_load_names_files_that_it_did_not_write(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 torn")
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "other.parquet")
    for name, message in (
        ("broken", "no Parquet file, or damaged"),
        ("other", "was not saved by"),
        ("none", "no such file"),
    ):
        with pytest.raises(ValueError, match=rf"{name}\.parquet: .*{message}"):
            frames.load(tmp_path / f"{name}.parquet")


def test_a_truncated_file_is_noticed(tmp_path):
    path = tmp_path / "s.parquet"
    frames.save(sources.sines(20), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"s\.parquet: is no Parquet file, or damaged"):
        frames.load(path)


@pytest.fixture
def cohort():
    return sources.icu_demo().take(slice(0, 50))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_writers_stream_what_from_frame_and_table_read(tmp_path, cohort, suffix):
    path = tmp_path / f"cohort{suffix}"
    with frames.writer(path, cohort.schema) as out:
        for first in range(0, 50, 20):
            out.write(cohort.take(slice(first, first + 20)))
        assert not path.exists()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    back = frames.from_frame(pd.read_csv(path), schema=cohort.schema) if suffix == ".csv" else sources.read(str(path))
    expected = cohort.values if suffix != ".npz" else cohort.values.astype(np.float32)
    np.testing.assert_array_equal(back.values, expected)
    np.testing.assert_array_equal(back.static, cohort.static)
    assert back.schema == cohort.schema
    assert back.subject.tolist() == list(range(50))


def test_npz_holds_the_arrays_it_promises(tmp_path, table):
    s = frames.from_frame(table)
    with frames.writer(tmp_path / "s.npz", s.schema) as out:
        out.write(s)
        out.write(s)
    with np.load(tmp_path / "s.npz", allow_pickle=False) as arrays:
        assert arrays["x"].dtype == np.float32
        assert arrays["x"].shape == (4, 4, 4)
        assert arrays["lengths"].tolist() == [4, 3, 4, 3]
        assert arrays["channels"].tolist() == ["hr", "alarm", "rhythm", "mode"]
        assert arrays["sex"].tolist() == ["M", "F", "M", "F"]
        assert arrays["ward"].tolist() == [3, 4, 3, 4]
        assert arrays["id"].tolist() == [0, 1, 2, 3]
        assert json.loads(str(arrays["schema"])) == json.loads(json.dumps(s.schema.to_json()))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_nothing_half_written(tmp_path, cohort, suffix):
    path = tmp_path / f"cohort{suffix}"
    with pytest.raises(KeyboardInterrupt), frames.writer(path, cohort.schema) as out:  # noqa: PT012
        out.write(cohort)
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="no sequences were written"), frames.writer(path, cohort.schema):
        pass
    with pytest.raises(ValueError, match="another schema"), frames.writer(path, cohort.schema) as out:
        out.write(cohort.drop(["hr"]))
    assert list(tmp_path.iterdir()) == []


def test_writer_names_the_suffixes_it_knows(tmp_path, cohort):
    with (
        pytest.raises(ValueError, match=r"cannot write \.xlsx; allowed are \.parquet, \.csv, \.npz"),
        frames.writer(tmp_path / "a.xlsx", cohort.schema),
    ):
        pass


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    """Neither is /dev/null then, which root may rename over."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a device or a pipe: name a file"), atomic_path(tmp_path / "pipe"):
        pytest.fail("the work was done first")
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1


def test_atomic_path_keeps_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "notes.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(OSError, match="No space") as caught, atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise OSError(28, os.strerror(28))
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_parquet_is_a_plain_table(tmp_path, cohort):
    frames.save(cohort, tmp_path / "c.parquet")
    plain = pq.read_table(tmp_path / "c.parquet").to_pandas()
    assert list(plain)[:3] == ["id", "time", "hr"]
    assert set(plain["sex"]) == {"Female", "Male"}
    assert len(plain) == 50 * 25


def test_a_form_of_ones_own_is_a_folder_written_whole_or_not_at_all(tmp_path):
    class Notes(frames.Writer):
        def _append(self, sequences):
            for subject in sequences.subject:
                (self.path / f"{subject}.txt").write_text("here")

        def close(self, complete):
            if complete:
                (self.path / "RECORDS").write_text(str(self.count))

    cohort = sources.icu_demo().take(slice(0, 5))
    with frames.writer(tmp_path / "notes", cohort.schema, Notes) as out:
        out.write(cohort)
    assert (tmp_path / "notes" / "RECORDS").read_text() == str(len(cohort))
    with pytest.raises(ValueError, match="exists"), frames.writer(tmp_path / "notes", cohort.schema, Notes):
        pass
    with (
        pytest.raises(ValueError, match="or the name of a folder"),
        frames.writer(tmp_path / "a.x", cohort.schema, Notes),
    ):
        pass
    with pytest.raises(KeyboardInterrupt), frames.writer(tmp_path / "half", cohort.schema, Notes) as out:  # noqa: PT012
        out.write(cohort)
        raise KeyboardInterrupt
    assert [place.name for place in tmp_path.iterdir()] == ["notes"]


EVENTS = pd.DataFrame(
    {
        "stay": ["b", "a", "a", "b", "a"],
        "at": [7.5, 1.0, 1.75, 2.0, 9.0],
        "lactate": [2.1, 1.0, np.nan, 3.0, 1.2],
        "glucose": [5, 6, 7, 8, 9],
        "age": [60, 50, 50, 60, 50],
    }
)


@pytest.mark.parametrize("kind", ["number", "timedelta", "datetime"])
def test_events_keep_their_times(kind):
    table = EVENTS.copy()
    if kind != "number":
        table["at"] = pd.to_timedelta(table["at"], unit="h")
    if kind == "datetime":
        table["at"] += pd.Timestamp("2024-05-01")
    s = frames.from_frame(table, id="stay", time="at", events=True)
    first = {"datetime": (0.0, 0.0)}.get(kind, (1.0, 0.0))  # of b and a, since the start of the table; dates begin anew
    assert s.schema.gap == "gap" and [column.name for column in s.schema.channels] == ["lactate", "glucose", "gap"]
    assert s.lengths.tolist() == [2, 3]
    np.testing.assert_allclose(s.channel("gap"), [[first[0], 5.5, np.nan], [first[1], 0.75, 7.25]])
    np.testing.assert_array_equal(s.channel("glucose"), [[8, 5, np.nan], [6, 7, 9]])

    written = frames.to_frame(s)
    expected = table.sort_values(["stay", "at"], ascending=[False, True]).reset_index(drop=True)
    if kind == "datetime":
        since = lambda times, ids: times - times.groupby(ids).transform("first")  # noqa: E731
        assert since(written["at"], written["stay"]).tolist() == since(expected["at"], expected["stay"]).tolist()
    else:
        assert written["at"].tolist() == expected["at"].tolist()
    assert "gap" not in written
    again = frames.from_frame(written, schema=s.schema)
    np.testing.assert_allclose(again.values, s.values)
    assert again.schema == s.schema
    assert s.drop(["gap"]).schema.gap is None


def test_events_are_saved_sampled_and_written_like_any_other(tmp_path):
    EVENTS.to_csv(tmp_path / "events.csv", index=False)
    s = sources.table(str(tmp_path / "events.csv"), id="stay", time="at", events=True)
    frames.save(s, tmp_path / "s.parquet")
    back = frames.load(tmp_path / "s.parquet")
    np.testing.assert_array_equal(back.values, s.values)
    assert back.schema == s.schema


def test_a_gap_has_a_name_of_its_own():
    s = frames.from_frame(EVENTS.rename(columns={"glucose": "gap"}), id="stay", time="at", events=True)
    assert s.schema.gap == "gap_"


def test_events_are_refused_where_they_make_no_sense():
    with pytest.raises(ValueError, match="give one of the two"):
        frames.from_frame(EVENTS, id="stay", time="at", events=True, step=1.0)
    twice = pd.concat([EVENTS, EVENTS.iloc[:1]])
    with pytest.raises(ValueError, match="row 6, column 'at' repeats row 1"):
        frames.from_frame(twice, id="stay", time="at", events=True)
    s = frames.from_frame(EVENTS, id="stay", time="at", events=True)
    early = EVENTS.assign(at=EVENTS["at"] - 2)
    with pytest.raises(ValueError, match="row 2, column 'at' lies before the start of the schema"):
        frames.from_frame(early, schema=s.schema)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 500), st.floats(-5, 5)),
        min_size=2,
        max_size=30,
        unique_by=lambda r: r[:2],
    )
)
def test_any_events_come_back(rows):
    table = pd.DataFrame(rows, columns=["id", "time", "x"]).assign(
        time=lambda t: t["time"] / 8, y=lambda t: range(len(t))
    )
    s = frames.from_frame(table, events=True)
    written = frames.to_frame(s)[["id", "time"]].sort_values(["id", "time"])
    assert written.to_numpy().tolist() == table[["id", "time"]].sort_values(["id", "time"]).to_numpy().tolist()


@given(
    st.lists(st.sampled_from([0.0, np.nan, 1e-12, 0.01, 0.25, 1.0, 37.0]), min_size=2, max_size=12),
    st.sampled_from([None, 0.01, 1.0]),
    st.sampled_from(["number", "timedelta", "datetime"]),
    st.sampled_from([0.0, -2.0, 1 / 3, 4800.0]),
)
def test_whatever_gaps_are_drawn_the_times_written_are_read_again(tmp_path_factory, gaps, resolution, kind, start):
    gaps = np.array(gaps) if resolution is None else np.round(np.array(gaps) / resolution) * resolution
    values = np.stack([np.arange(len(gaps)), gaps], axis=1)[None].repeat(2, axis=0)
    values[1, 0, 1] = 0.0
    schema = Schema((Column("x"), Column("gap", low=0.0, resolution=resolution)), gap="gap", time_kind=kind)
    schema = replace(schema, step_unit="" if kind == "number" else "h", start=0.0 if kind == "datetime" else start)
    path = tmp_path_factory.mktemp("events") / "ev.csv"
    with frames.writer(path, schema) as out:
        out.write(Sequences(values, schema))
    back = sources.table(str(path), events=True)
    np.testing.assert_array_equal(back.channel("x"), values[:, :, 0])
    least = 1e-6 if resolution is None else resolution
    wanted = np.where(np.nan_to_num(gaps[1:]) < 1e-9, least, gaps[1:])
    np.testing.assert_allclose(back.channel("gap")[:, 1:], np.stack([wanted, wanted]), rtol=1e-6, atol=1e-9)


def stays(rng, n=100, rows=10):
    """A table in which nothing looks wrong, though laboratory values have long tails and some are 0."""
    count = n * rows
    return pd.DataFrame(
        {
            "stay": np.arange(count) // rows,
            "hour": np.tile(np.arange(rows), n),
            "hr": rng.normal(85, 15, count).round(),
            "temp": rng.normal(37, 0.6, count).round(1),
            "spo2": rng.integers(90, 101, count).astype(float),
            "troponin": np.where(rng.random(count) < 0.3, np.exp(rng.normal(-3, 2.5, count)), np.nan),
            "excess": rng.normal(0, 3, count),
            "urine": np.where(rng.random(count) < 0.9, 0.0, rng.exponential(200, count)),
            "lactate": np.where(rng.random(count) < 0.05, rng.normal(2, 0.5, count), np.nan),
            "ward": np.where(np.arange(count) // rows % 2, "Surgical", "medical"),
            "died": (np.arange(count) // rows % 7 == 0).astype(int),
        }
    )


def warned(caplog, table, **settings):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        s = frames.from_frame(table, id="stay", time="hour", origin="my.csv", **settings)
    return s, [record.getMessage() for record in caplog.records]


def put(column, rows, value):
    def change(table):
        table = table.astype({column: object}) if isinstance(value, str) else table.astype({column: float})
        table.loc[rows, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (put("hr", [41, 77], 8800), "hr has 2 values far out (first 8800 in row 42; median 8"),
        (put("temp", [*range(70, 120)], 98.6), "temp has 50 values far out (first 98.6 in row 71; median 37"),
        (put("spo2", 3, -1), "spo2 has 1 value below 0 (-1 in row 4), where the others are not"),
        (
            put("ward", [*range(20, 30)], "Medical"),
            "ward has 'Medical' (10 rows, first in row 21) beside 'medical' (490 rows), which differ only in case",
        ),
        (
            put("hour", [30, 40], -2),
            "hour has 2 times before 0 (first -2 in row 31), where 98 of 100 ids begin at 0 or",
        ),
        (put("died", 94, 1), "died changes within 1 of 100 ids (stay 9, row 95): taken as a channel"),
        (put("died", [94, 110], 1), "died changes within 2 of 100 ids (first stay 9, row 95): taken as a channel"),
        (put("died", 94, np.nan), "died changes within 1 of 100 ids (stay 9, row 95): taken as a channel"),
    ],
)
def test_what_looks_wrong_in_a_table_is_told_and_left_as_it_is(rng, caplog, change, doubt):
    clean = stays(rng)
    s, said = warned(caplog, clean)
    assert said == [] and [column.name for column in s.schema.statics] == ["ward", "died"]
    messy = change(clean)
    s, said = warned(caplog, messy)
    assert len(said) == 1 and said[0].startswith(f"my.csv: {doubt}")
    assert frames.to_frame(s).shape[0] >= len(messy)
    again, said = warned(caplog, messy, schema=s.schema)
    assert said == [] and again.digest() == s.digest()  # of known columns nothing is asked


def test_doubts_have_a_rule(rng):
    """Far out is 20 interquartile ranges and, in logarithms, 6, and fewer than one in ten; gaps are not."""
    even = np.linspace(-1, 1, 1001)  # an interquartile range of 1
    assert far_out(np.append(even, [-19.5, 19.5, np.nan])).sum() == 0
    assert np.flatnonzero(far_out(np.append(even, [-20.5, np.nan, 20.5]))).tolist() == [1001, 1003]
    assert not far_out(np.exp(rng.normal(0, 3, 100_000))).any()  # however long the tail
    assert not far_out(np.append(even, np.full(120, 1e6))).any()  # a second kind of patient, not a mistake
    assert not far_out(np.append(np.zeros(1000), 5.0)).any()  # mostly one value: nothing is known of the spread
    assert not far_out(np.full(5, np.nan)).any()


def test_dates_and_most_negative_times_are_in_no_doubt(rng, caplog):
    table = stays(rng)
    assert warned(caplog, table.assign(hour=table["hour"] - 24))[1] == []  # hours before surgery
    since = pd.to_timedelta(table["hour"], unit="h")
    assert warned(caplog, table.assign(hour=pd.Timestamp("1950-01-01") + since))[1] == []
    early = pd.to_timedelta(put("hour", 30, -2)(table)["hour"], unit="h")
    (said,) = warned(caplog, table.assign(hour=early))[1]
    assert said.startswith("my.csv: hour has 1 time before 0 (-2 in row 31)")
