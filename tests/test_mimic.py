"""MIMIC: read as a script written after the benchmark's own code reads it, in any order, and written back the same."""

import csv
import gzip
import logging
import re
import shutil
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import assert_same, shared_data, written
from vitalsynth import sources
from vitalsynth.cli import main
from vitalsynth.sources.grid import Grid, event_steps, steps
from vitalsynth.sources.mimic import events
from vitalsynth.sources.mimic.items import PACKAGED, read_items

EVENTS = ("CHARTEVENTS", "LABEVENTS", "OUTPUTEVENTS")
TABLES = ("PATIENTS", "ADMISSIONS", "ICUSTAYS", *EVENTS)
GCS = re.compile("Glascow")


@pytest.fixture(scope="module")
def demo():
    """The demo's tables, all cells as text."""
    folder = shared_data("mimic3-demo")
    read = lambda name: pd.read_csv(folder / f"{name}.csv.gz", dtype=str, keep_default_na=False)  # noqa: E731
    return {name: read(name) for name in (*TABLES, "D_ITEMS", "D_LABITEMS")}


@pytest.fixture(scope="module")
def small(demo, tmp_path_factory):
    """The tables of 30 patients and of the items that are wanted, as plain CSV."""
    folder = tmp_path_factory.mktemp("mimic3")
    write(folder, reduced(demo, 30))
    return folder


def reduced(demo, patients):
    chosen = demo["PATIENTS"]["subject_id"].head(patients)
    ids = set(pd.read_csv(PACKAGED, dtype=str)["itemid"])
    tables = {
        name: table[table["subject_id"].isin(chosen)] if name in TABLES else table for name, table in demo.items()
    }
    return tables | {name: tables[name][tables[name]["itemid"].isin(ids)] for name in EVENTS}


def write(folder, tables, suffix=".csv"):
    for name, table in tables.items():
        place = folder / f"{name}{suffix}"
        place.parent.mkdir(exist_ok=True)
        table.to_csv(place, index=False)


def changed(small, tmp_path, name, change):
    """A copy of the small folder with one table changed."""
    folder = tmp_path / "changed"
    shutil.copytree(small, folder)
    path = folder / f"{name}.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    return folder


# What the benchmark's scripts do (extract_subjects, validate_events, extract_episodes_from_subjects and the
# discretizer), in the order and with the rules of theirs, but for what docs/data/mimic.md says differs.
def benchmark_stays(demo):
    times = ["intime", "outtime", "admittime", "dischtime", "deathtime", "dob", "dod"]
    stays = demo["ICUSTAYS"]
    moved = (stays["first_wardid"] != stays["last_wardid"]) | (stays["first_careunit"] != stays["last_careunit"])
    stays = (
        stays[~moved].merge(demo["ADMISSIONS"], on=["subject_id", "hadm_id"]).merge(demo["PATIENTS"], on="subject_id")
    )
    stays = stays[stays.groupby("hadm_id")["icustay_id"].transform("count") == 1].copy()
    for name in times:
        stays[name] = pd.to_datetime(stays[name].replace("", None)).astype("datetime64[s]")
    days = (stays["intime"].to_numpy() - stays["dob"].to_numpy()).astype("timedelta64[D]").astype(int)
    stays = stays[days / 365 >= 18]
    dead = [(stays["admittime"] <= stays[name]) & (stays[name] <= stays["dischtime"]) for name in ("dod", "deathtime")]
    return stays.assign(mortality=dead[0] | dead[1]).sort_values(
        ["subject_id", "intime"], key=lambda c: c.astype("int64")
    )


def benchmark_hours(demo, stays):
    items = pd.read_csv(PACKAGED, dtype=str, keep_default_na=False)
    rows = pd.concat([demo[name].assign(table=name) for name in EVENTS])
    rows = rows[(rows["hadm_id"] != "") & (rows["value"] != "") & (rows["error"].fillna("") != "1")]
    rows = rows.merge(items[["itemid", "name", "label"]], on="itemid").merge(
        stays[["hadm_id", "icustay_id", "intime", "outtime"]], on="hadm_id", suffixes=("", "_of_stay")
    )
    rows = rows[rows["icustay_id"].fillna("").isin(["", *stays["icustay_id"]])]
    rows["time"] = pd.to_datetime(rows["charttime"])
    rows["hours"] = (rows["time"] - rows["intime"]).dt.total_seconds() / 3600
    rows = rows[(rows["hours"] >= 0) & (rows["hours"] <= 48) & (rows["time"] <= rows["outtime"])]
    return rows.assign(number=[benchmark_clean(*row) for row in zip(*(rows[c] for c in CLEANED), strict=True)])


CLEANED = ("name", "label", "value", "valuenum", "valueuom")


def benchmark_clean(name, label, value, valuenum, unit):
    if name == "Capillary refill rate":
        return {"Normal <3 secs": 0, "Brisk": 0, "Abnormal >3 secs": 1, "Delayed": 1}.get(value, np.nan)
    if GCS.match(name):
        return float(valuenum)
    if not re.match(r"^-?(\d+(\.\d*)?|\.\d+)$", value):
        return np.nan
    v = float(value)
    if name == "Fraction inspired oxygen":
        return v / 100 if v > 1 else v
    if name == "Oxygen saturation":
        return v * 100 if v <= 1 else v
    if name == "Temperature":
        return (v - 32) * 5 / 9 if "F" in unit or "F" in label or v >= 79 else v
    if name == "Weight":
        v = v / 16 if "oz" in label else v
        return v * 0.453592 if "oz" in label or "lb" in label else v
    if name == "Height":
        return v * 2.54 if unit == "Inch" else v
    return v


def test_the_demo_is_read_as_the_benchmark_reads_it(demo):
    s = sources.mimic3(str(shared_data("mimic3-demo")), ranges=False)
    stays = benchmark_stays(demo)
    rows = benchmark_hours(demo, stays)
    rows = rows[rows["number"].notna()].sort_values(["time", "number"])
    stays = stays[stays["hadm_id"].isin(rows["hadm_id"])]
    assert s.subject.tolist() == stays["subject_id"].astype(int).tolist()
    np.testing.assert_array_equal(s.static_column("died"), stays["mortality"])
    place = {hadm: n for n, hadm in enumerate(stays["hadm_id"])}
    expected = np.full(s.values.shape, np.nan)
    names = [column.name for column in s.schema.channels]
    for hadm, hours, name, number in zip(rows["hadm_id"], rows["hours"], rows["name"], rows["number"], strict=True):
        expected[place[hadm], max(int(hours - 1e-6), 0), names.index(name)] = number
    np.testing.assert_array_equal(np.isnan(s.values), np.isnan(expected))
    for j, column in enumerate(s.schema.channels):
        np.testing.assert_allclose(s.values[:, :, j], expected[:, :, j], atol=(column.resolution or 0) / 2 + 1e-4)
    assert (~np.isnan(s.values)).sum() > 20_000
    lasts = (stays["outtime"] - stays["intime"]).dt.total_seconds() / 3600
    np.testing.assert_array_equal(s.lengths, np.minimum(np.ceil(lasts), 48))


def test_limits_are_those_of_the_benchmark(small):
    free, limited = (sources.mimic3(str(small), ranges=ranges) for ranges in (False, True))
    for column in limited.schema.channels:
        if column.low is not None:
            values = limited.channel(column.name)
            measured = values[~np.isnan(values)]
            assert (measured >= column.low).all() and (measured <= column.high).all()
            assert not (np.isnan(free.channel(column.name)) & ~np.isnan(values)).any()
            inside = (free.channel(column.name) >= column.low) & (free.channel(column.name) <= column.high)
            np.testing.assert_array_equal(values[inside], free.channel(column.name)[inside])
    assert all(column.low is None for column in free.schema.channels)


def test_rows_may_come_in_any_order_and_tables_as_gz(demo, small, tmp_path, caplog):
    tables = reduced(demo, 30)
    write(
        tmp_path, {f"{name.lower()}": table.sample(frac=1, random_state=1) for name, table in tables.items()}, ".csv.gz"
    )
    caplog.set_level(logging.WARNING)
    for settings in ({}, {"step": 0, "hours": 12}):
        assert_same(sources.mimic3(str(tmp_path), **settings), sources.mimic3(str(small), **settings))
    told = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert told[0] == told[1] and "with a transfer" in told[0]


@given(st.data())
def test_a_grid_is_the_same_however_rows_are_ordered_and_cut(data):
    row = st.tuples(
        st.integers(0, 1), st.integers(0, 7200), st.integers(0, 2), st.integers(-5, 5).map(lambda v: v / 10)
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=30))
    mixed = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))

    def filled(*parts):
        grid = Grid(2, 2, ("last", "mean", "sum"))
        for part in parts:
            sequence, seconds, channel, value = (np.array(column) for column in zip(*part, strict=True))
            grid.add(sequence, steps(seconds, 3600, closed="right"), channel, value, seconds)
        return grid.values()

    together = filled(rows)
    np.testing.assert_array_equal(together, filled(*[part for part in (mixed[:cut], mixed[cut:]) if part]))
    for n, k, j in np.ndindex(together.shape):
        inside = [(t, v) for m, t, c, v in rows if (m, c) == (n, j) and max(0, -(-t // 3600) - 1) == k]
        values = [v for _, v in inside]
        expected = [max(inside)[1], np.mean(values), np.sum(values)][j] if inside else np.nan
        np.testing.assert_allclose(together[n, k, j], expected, atol=1e-6)


def test_times_of_events_are_kept(small):
    s = sources.mimic3(str(small), step=0, hours=24)
    hours = np.cumsum(np.nan_to_num(s.channel("hours_since_last")), axis=1)
    assert (np.diff(hours, axis=1)[s.alive[:, 1:]] > 0).all() and hours.max() <= 24
    assert (~np.isnan(s.values[s.alive][:, 1:])).any(axis=1).all()
    hourly = sources.mimic3(str(small), hours=24)
    n, k = np.nonzero(~np.isnan(s.channel("Heart Rate")))
    for sequence, at in zip(n[::7], k[::7], strict=True):  # the last of an hour is the hourly one
        hour = max(int(np.ceil(hours[sequence, at] - 1e-9)) - 1, 0)
        same = np.flatnonzero((n == sequence) & (np.maximum(np.ceil(hours[n, k] - 1e-9) - 1, 0) == hour))
        assert hourly.channel("Heart Rate")[sequence, hour] == s.channel("Heart Rate")[sequence, k[same[-1]]]
    step, count, at = event_steps(np.array([1, 1, 1]), np.array([7200, 0, 7200]), 2)
    assert step.tolist() == [1, 0, 1] and count.tolist() == [0, 2]
    np.testing.assert_array_equal(at[1], [0, 2])


def test_units_of_sequences(demo, small):
    read = {unit: sources.mimic3(str(small), unit=unit, include="all") for unit in ("icustay", "admission", "patient")}
    chosen = demo["PATIENTS"]["subject_id"].head(30)
    stays = demo["ICUSTAYS"][demo["ICUSTAYS"]["subject_id"].isin(chosen)]
    assert len(read["icustay"]) <= len(stays) and len(read["icustay"]) >= len(stays) - 2
    assert len(read["admission"]) <= stays["hadm_id"].nunique()
    assert len(np.unique(read["patient"].subject)) == len(read["patient"]) <= 30
    for s in read.values():
        assert set(s.subject) <= set(chosen.astype(int))


def test_labels_of_decompensation_and_length_of_stay(demo, small):
    rest = sources.mimic3(str(small), task="length-of-stay", hours=100)
    soon = sources.mimic3(str(small), task="decompensation", hours=100)
    stays = benchmark_stays(demo).set_index("subject_id")
    checked = 0
    for n, subject in enumerate(rest.subject):
        if (rest.subject == subject).sum() > 1:
            continue
        stay = stays.loc[str(subject)]
        los = (stay["outtime"] - stay["intime"]).total_seconds() / 3600
        lived = np.inf if pd.isna(stay["deathtime"]) else (stay["deathtime"] - stay["intime"]).total_seconds() / 3600
        for k in range(rest.length):
            t, seen = k + 1, (~np.isnan(rest.values[n, : k + 1, 1:])).any()
            if t <= 4 or t > los or not seen:
                assert np.isnan(rest.values[n, k, 0])
                continue
            if not np.isnan(rest.values[n, k, 0]):  # else the first event lies in the very end of the step
                assert rest.values[n, k, 0] == pytest.approx(los - t)
                expected = np.nan if t > lived else float(stay["mortality"] and lived - t < 24)
                np.testing.assert_equal(soon.values[n, k, 0], expected)
                checked += 1
    assert checked > 300 and np.nansum(soon.channel("decompensation")) > 10


DEFINITIONS = """
"Shock":
  use_in_benchmark: True
  codes: ["78551", "78552"]
"Essential hypertension":
  use_in_benchmark: True
  codes: ["4019"]
"Tuberculosis":
  use_in_benchmark: False
  codes: ["01000"]
"""


def test_phenotypes(small, tmp_path):
    definitions = tmp_path / "hcup.yaml"
    definitions.write_text(DEFINITIONS)
    folder = tmp_path / "tables"
    shutil.copytree(small, folder)
    admissions = pd.read_csv(folder / "ADMISSIONS.csv")
    codes = pd.DataFrame({"subject_id": admissions["subject_id"], "hadm_id": admissions["hadm_id"], "seq_num": 1})
    codes["icd9_code"] = ["78551", "4019", "01000", "V1201"] * (len(codes) // 4) + ["4019"] * (len(codes) % 4)
    codes.to_csv(folder / "DIAGNOSES_ICD.csv", index=False)
    settings = {"task": "phenotyping", "definitions": str(definitions)}
    s = sources.mimic3(str(folder), **settings)
    assert [column.name for column in s.schema.statics][-2:] == ["Shock", "Essential hypertension"]
    assert 0 < s.static_column("Shock").sum() < len(s)
    back = sources.mimic3(str(written(s, tmp_path / "back")), **settings)
    assert_same(back, s)
    s = sources.mimic3(str(folder), **settings, form="mimic3-benchmark", statics="died")
    back = sources.mimic3_benchmark(str(written(s, tmp_path / "benchmark")), task="phenotyping", split="all")
    back = back.take(np.argsort(back.subject))
    for name in ("Shock", "Essential hypertension", "died"):
        np.testing.assert_array_equal(back.static_column(name), s.static_column(name))
    np.testing.assert_array_equal(back.values, s.values)
    with pytest.raises(ValueError, match=r"no definitions: .* needs definitions=FILE"):
        sources.mimic3(str(folder), task="phenotyping")
    with pytest.raises(ValueError, match=r"no table DIAGNOSES_ICD"):
        sources.mimic3(str(small), **settings)
    definitions.write_text("Shock: [1]")
    with pytest.raises(ValueError, match="no definitions of phenotypes"):
        sources.mimic3(str(folder), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"task": "in-hospital-mortality"},
        {"task": "decompensation", "hours": 100},
        {"task": "length-of-stay", "hours": 100},
        {"step": 0, "hours": 24},
        {"step": 0.5, "unit": "patient", "include": "all"},
        {"unit": "admission", "include": "all", "statics": "died,height,weight"},
    ],
    ids=str,
)
def test_what_is_written_is_read_again(small, tmp_path, settings):
    s = sources.mimic3(str(small), **settings)
    assert_same(sources.mimic3(str(written(s, tmp_path / "back")), **settings), s)


def test_a_script_for_mimic_reads_what_is_written(small, tmp_path):
    s = sources.mimic3(str(small))
    folder = written(s, tmp_path / "back")
    stays = pd.read_csv(folder / "ICUSTAYS.csv.gz", parse_dates=["INTIME", "OUTTIME"])
    chart = pd.read_csv(folder / "CHARTEVENTS.csv.gz", parse_dates=["CHARTTIME"]).merge(stays, on="ICUSTAY_ID")
    rate = chart[chart["ITEMID"].isin([211, 220045])]
    assert (rate["VALUEUOM"] == "1/min").all() and rate["CHARTTIME"].between(rate["INTIME"], rate["OUTTIME"]).all()
    assert len(rate) == (~np.isnan(s.channel("Heart Rate"))).sum()
    assert rate["VALUENUM"].mean() == pytest.approx(np.nanmean(s.channel("Heart Rate")))
    oxygen = chart[chart["ITEMID"] == 223835]
    assert (oxygen["VALUEUOM"] == "%").all() and oxygen["VALUENUM"].between(21, 100).all()
    eyes = chart[chart["ITEMID"] == 220739]
    assert set(eyes["VALUE"].fillna("None")) <= {"None", "To Pain", "To Speech", "Spontaneously"}
    admissions = pd.read_csv(folder / "ADMISSIONS.csv.gz")
    assert admissions["HOSPITAL_EXPIRE_FLAG"].tolist() == s.static_column("died").tolist()
    assert chart["ROW_ID"].is_unique if "ROW_ID" in chart else chart["ROW_ID_x"].is_unique


# MIMIC-IV: its layout, filled with the MetaVision rows of the demo of MIMIC-III.
def mimic4_tables(tables):
    stay = {"icustay_id": "stay_id"}
    stays = tables["ICUSTAYS"].query("dbsource == 'metavision'")
    admissions = tables["ADMISSIONS"].rename(columns={"ethnicity": "race"})
    patients = tables["PATIENTS"].merge(stays.groupby("subject_id", as_index=False)["intime"].min(), on="subject_id")
    year = patients["intime"].str[:4].astype(int)
    age = (year - patients["dob"].str[:4].astype(int)).clip(upper=91)
    keep = lambda table: table[table["subject_id"].isin(stays["subject_id"])].drop(columns="row_id")  # noqa: E731
    new = lambda name: keep(tables[name]).rename(columns=stay).drop(columns=["error", "iserror"], errors="ignore")  # noqa: E731
    labs = keep(tables["LABEVENTS"])
    return {
        "hosp/patients": patients[["subject_id", "gender", "dod"]].assign(anchor_age=age, anchor_year=year),
        "hosp/admissions": keep(admissions),
        "hosp/labevents": labs.assign(hadm_id=""),
        "icu/icustays": keep(stays).rename(columns=stay).drop(columns=["first_wardid", "last_wardid", "dbsource"]),
        "icu/chartevents": new("CHARTEVENTS"),
        "icu/outputevents": new("OUTPUTEVENTS"),
    }


def test_mimic4_is_read_and_written(demo, tmp_path):
    tables = reduced(demo, 100)
    for name in ("CHARTEVENTS", "OUTPUTEVENTS"):
        flag = "error" if name == "CHARTEVENTS" else "iserror"
        tables[name] = tables[name][tables[name][flag] != "1"]
    (tmp_path / "iv").mkdir()
    write(tmp_path / "iv", mimic4_tables(tables), ".csv.gz")
    s = sources.mimic4(str(tmp_path / "iv"), include="all")
    assert s.schema.form == "mimic4" and len(s) > 50
    names = [column.name for column in s.schema.channels]
    assert "Heart Rate" in names and "Glascow coma scale total" not in names  # CareVue only
    old = tables | {"ICUSTAYS": tables["ICUSTAYS"].query("dbsource == 'metavision'")}
    (tmp_path / "iii").mkdir()
    write(tmp_path / "iii", old)
    three = sources.mimic3(str(tmp_path / "iii"), include="all")
    for folder, read, other in (("iii", sources.mimic4, "mimic3"), ("iv", sources.mimic3, "mimic4")):
        with pytest.raises(ValueError, match=f"if the tables are of {other}, read {other}"):
            read(str(tmp_path / folder))
    for name in ("Heart Rate", "Temperature", "Weight"):
        np.testing.assert_array_equal(s.channel(name), three.channel(name))
    np.testing.assert_array_equal(s.static_column("died"), three.static_column("died"))
    assert np.abs(s.static_column("age") - three.static_column("age")).max() <= 1
    back = written(s, tmp_path / "back")
    assert (back / "icu" / "chartevents.csv.gz").is_file()
    assert_same(sources.mimic4(str(back), include="all"), s)


@pytest.mark.parametrize("task", ["in-hospital-mortality", "decompensation", "length-of-stay", "root"])
def test_folders_of_the_benchmark(small, tmp_path, task):
    settings = {"task": "" if task == "root" else task, "hours": 72}
    s = sources.mimic3(str(small), form="mimic3-benchmark", statics="died,age,sex,ethnicity", **settings)
    back = sources.mimic3_benchmark(str(written(s, tmp_path / "back")), task=task, hours=72, split="all")
    if task == "in-hospital-mortality":
        s = sources.mimic3(str(small), form="mimic3-benchmark", statics="died,age,sex,ethnicity", task=task)
    order = np.argsort(back.subject)
    s, back = s.take(back.subject[order] - 1), back.take(order)
    if task != "in-hospital-mortality":
        assert_same(back, s, atol=1e-6)
    else:  # the task sees 48 hours
        np.testing.assert_array_equal(back.values[:, :48], s.values)
    assert back.schema.form == "mimic3-benchmark"


def test_readers_of_the_benchmark_take_what_is_written(small, tmp_path):
    s = sources.mimic3(str(small), form="mimic3-benchmark", task="in-hospital-mortality")
    folder = written(s.drop(["Height"]), tmp_path / "back") / "in-hospital-mortality"
    listed = []
    for split in ("train", "test"):
        names, *rows = csv.reader((folder / split / "listfile.csv").open())
        assert names == ["stay", "y_true"]
        listed += [(split, *row) for row in rows]
    assert len(listed) == len(s)
    assert 0 < sum(split == "test" for split, *_ in listed) < len(s) / 4
    known = {text for variable in read_items().variables for text in variable.texts}
    died = s.static_column("died")
    for split, name, truth in listed:
        assert int(truth) == died[int(name.split("_")[0]) - 1]
        header, *rows = csv.reader((folder / split / name).open())
        assert header[0] == "Hours" and len(header) == 18
        assert header[1:] == sorted(header[1:])
        hours = [float(row[0]) for row in rows]
        assert hours == sorted(hours) and hours[0] >= 0 and hours[-1] <= 48
        for row in rows:
            for cell in filter(None, row[1:]):
                assert cell in known or np.isfinite(float(cell))


GROUPS = {"78551": "Shock", "4019": "Essential hypertension"}


def as_the_benchmark_samples(root, task, hours=48.0, eps=1e-6):
    """Make the samples of a task out of root/, in plain Python, as the benchmark's create_<task>.py do."""
    for split in ("train", "test"):
        for patient in filter(lambda place: place.name.isdigit(), sorted((root / split).iterdir())):
            (about,) = csv.DictReader((patient / "episode1.csv").open())
            (stay,) = csv.DictReader((patient / "stays.csv").open())
            assert stay["ICUSTAY_ID"] == about["Icustay"] and stay["SUBJECT_ID"] == patient.name
            died, los = int(about["Mortality"]), 24 * float(about["Length of Stay"])
            _, *rows = csv.reader((patient / "episode1_timeseries.csv").open())
            times = [float(row[0]) for row in rows if -eps < float(row[0]) < los + eps]
            name = f"{patient.name}_episode1_timeseries.csv"
            lived = 1e18
            if stay["DEATHTIME"]:
                dates = [datetime.fromisoformat(stay[column]) for column in ("INTIME", "DEATHTIME")]
                lived = (dates[1] - dates[0]).total_seconds() / 3600
            if task == "in-hospital-mortality" and los >= hours - eps and min(times) < hours + eps:
                yield split, name, died
            elif task == "phenotyping":
                rows = csv.DictReader((patient / "diagnoses.csv").open())
                rows = [r for r in rows if r["ICUSTAY_ID"] == about["Icustay"] and int(r["USE_IN_BENCHMARK"])]
                mine = {GROUPS[row["ICD9_CODE"]] for row in rows}
                yield split, name, los, *(int(group in mine) for group in sorted(GROUPS.values()))
            elif task in ("decompensation", "length-of-stay"):
                end = min(los, lived) if task == "decompensation" else los
                samples = [t for t in range(int(end + eps) + 1) if t > 4 and t > times[0]]
                for t in samples:
                    yield split, name, t, int(lived - t < 24) * died if task == "decompensation" else los - t


@pytest.mark.parametrize("task", ["in-hospital-mortality", "decompensation", "length-of-stay", "phenotyping"])
def test_scripts_of_the_benchmark_run_on_the_root_that_is_written(small, tmp_path, task):
    settings = {"form": "mimic3-benchmark", "task": task, "statics": "died,age,sex"}
    source = small
    if task == "phenotyping":
        (tmp_path / "hcup.yaml").write_text(DEFINITIONS)
        source = tmp_path / "tables"
        shutil.copytree(small, source)
        stays = pd.read_csv(source / "ADMISSIONS.csv")[["subject_id", "hadm_id"]]
        stays.assign(seq_num=1, icd9_code=np.resize(["78551", "4019", "V1201"], len(stays))).to_csv(
            source / "DIAGNOSES_ICD.csv", index=False
        )
        settings["definitions"] = str(tmp_path / "hcup.yaml")
    folder = written(sources.mimic3(str(source), **settings), tmp_path / "back")
    listed = [
        (split, name, *map(float, sample))
        for split in ("train", "test")
        for name, *sample in list(csv.reader((folder / task / split / "listfile.csv").open()))[1:]
    ]
    made = as_the_benchmark_samples(folder / "root", task)
    theirs = sorted(sample for sample in made if task != "length-of-stay" or sample[2] <= 48)  # hours that were read
    ours = sorted(listed)
    assert len(ours) > 15 and {split for split, *_ in ours} == {"train", "test"}
    assert [sample[:2] for sample in theirs] == [sample[:2] for sample in ours]
    np.testing.assert_allclose([sample[2:] for sample in theirs], [sample[2:] for sample in ours], atol=2e-6)


def test_folders_made_by_hand(tmp_path, caplog):
    folder = tmp_path / "in-hospital-mortality" / "test"
    folder.mkdir(parents=True)
    (folder / "listfile.csv").write_text("stay,y_true\n10_episode1_timeseries.csv,1\n9_episode2_timeseries.csv,0\n")
    (folder / "10_episode1_timeseries.csv").write_text(
        "Hours,Glascow coma scale eye opening,Heart Rate,Temperature\n-0.5,,80,\n0.5,None,81,ERROR\n0.7,,82.0,\n"
        "47.5,4 Spontaneously,,37.04\n"
    )
    (folder / "9_episode2_timeseries.csv").write_text("Hours,Heart Rate\n1.0,60\n1.001,900\n")
    caplog.set_level(logging.WARNING)
    s = sources.mimic3_benchmark(str(tmp_path), split="test")
    assert s.subject.tolist() == [10, 9] and s.values.shape == (2, 48, 17)
    assert s.channel("Glascow coma scale eye opening")[0, [0, 47]].tolist() == [1, 4]
    assert s.channel("Heart Rate")[0, 0] == 82 and s.channel("Heart Rate")[1, 0] == 60
    assert s.channel("Temperature")[0, 47] == 37.0 and (~np.isnan(s.values)).sum() == 5
    for what in ("1 values before their sequence begins", "1 values beyond the limits", "1 values that are no number"):
        assert what in caplog.text
    place = tmp_path / "root" / "train" / "7"
    place.mkdir(parents=True)
    for episode, stay in ((1, "0.5"), (2, "")):
        (place / f"episode{episode}_timeseries.csv").write_text("Hours,Heart Rate\n1.5,60\n")
        about = f"Icustay,Ethnicity,Gender,Age,Length of Stay,Mortality\n1,4,2,300.1,{stay},1\n"
        (place / f"episode{episode}.csv").write_text(about)
    root = sources.mimic3_benchmark(str(tmp_path), task="root")
    assert len(root) == 1 and root.lengths.tolist() == [12] and root.static.tolist() == [[1, 90, 1, 4]]
    assert "1 episodes whose length of stay is not known" in caplog.text
    (folder / "listfile.csv").write_text("stay,y_true\n9_episode2_timeseries.csv,0\n9_episode2_timeseries.csv,0\n")
    with pytest.raises(ValueError, match=r"1 samples that are in test/listfile.csv twice .*; repair=True"):
        sources.mimic3_benchmark(str(tmp_path), split="test")
    assert len(sources.mimic3_benchmark(str(tmp_path), split="test", repair=True)) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("listfile.csv", "stay,y\n1_episode1_timeseries.csv,1\n", "no column 'y_true'"),
        ("listfile.csv", "stay,y_true\n", "lists no stay"),
        ("listfile.csv", "stay,y_true\nsomebody.csv,1\n", "'somebody.csv' is not named <subject>_episode<i>"),
        ("1_episode1_timeseries.csv", "Hours,Hearts\n1,2\n", "no header of Hours and the 17 variables"),
        (
            "1_episode1_timeseries.csv",
            "Hours,Heart Rate\nsoon,2\n",
            "1_episode1_timeseries.csv, row 1: could not convert",
        ),
        ("1_episode1_timeseries.csv", "Hours,Heart Rate\n1\n", "1_episode1_timeseries.csv, row 1: "),
    ],
)
def test_bad_folders_of_the_benchmark_are_named(tmp_path, name, content, message):
    folder = tmp_path / "in-hospital-mortality" / "train"
    folder.mkdir(parents=True)
    (folder / "listfile.csv").write_text("stay,y_true\n1_episode1_timeseries.csv,1\n")
    (folder / "1_episode1_timeseries.csv").write_text("Hours,Heart Rate\n1.5,60\n")
    assert len(sources.mimic3_benchmark(str(tmp_path))) == 1
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        sources.mimic3_benchmark(str(tmp_path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no folder decompensation/"):
        sources.mimic3_benchmark(str(tmp_path), task="decompensation")


MOTOR = "1 No Response|2 Abnorm extensn|3 Abnorm flexion|4 Flex-withdraws|5 Localizes Pain|6 Obeys Commands"
ITEMS = f"""itemid,name,table,unit,recorded,factor,kind,low,high,resolution,aggregate,texts
220045,hr,,1/min,,,,0,390,1,mean,
211,hr,,,,,,,,,,
50931,glucose,labevents,mmol/L,mg/dL,0.0555,,,,,,
40055,urine,outputevents,mL,,,,0,5000,,sum,
43175,urine,outputevents,,,,,,,,,
454,motor,,,,,categorical,,,,,{MOTOR}
"""


def test_variables_of_ones_own(demo, tmp_path, caplog):
    folder = tmp_path / "tables"
    folder.mkdir()
    chosen = demo["PATIENTS"]["subject_id"].head(20)
    tables = {name: demo[name][demo[name]["subject_id"].isin(chosen)] for name in TABLES}
    ids = pd.Series(ITEMS.splitlines()[1:]).str.split(",").str[0]
    tables |= {name: tables[name][tables[name]["itemid"].isin(ids)] for name in EVENTS}
    write(folder, tables)
    table = tmp_path / "items.csv"
    table.write_text(ITEMS)
    s = sources.mimic3(str(folder), items=str(table), hours=24)
    assert [column.name for column in s.schema.channels] == ["hr", "glucose", "urine", "motor"]
    stays = benchmark_stays(demo)
    stays = stays[stays["subject_id"].isin(chosen)]
    rows = tables["OUTPUTEVENTS"].merge(stays[["icustay_id", "intime", "subject_id"]], on=["icustay_id", "subject_id"])
    hours = (pd.to_datetime(rows["charttime"]) - rows["intime"]).dt.total_seconds() / 3600
    amount = pd.to_numeric(rows["value"])
    assert np.nansum(s.channel("urine")) == pytest.approx(amount[(hours >= 0) & (hours <= 24)].sum())
    assert np.nanmedian(s.channel("glucose")) == pytest.approx(7, abs=3)
    motor = tables["CHARTEVENTS"].query("itemid == '454'").merge(stays[["icustay_id", "intime"]], on="icustay_id")
    motor["hours"] = (pd.to_datetime(motor["charttime"]) - motor["intime"]).dt.total_seconds() / 3600
    motor = motor[(motor["hours"] > 0) & (motor["hours"] <= 24) & (motor["value"] != "")].sort_values("hours")
    lasts = motor.groupby(["icustay_id", np.ceil(motor["hours"])])["value"].last().map(MOTOR.split("|").index)
    codes = s.channel("motor")
    assert sorted(codes[~np.isnan(codes)]) == sorted(lasts) and s.schema.channels[3].categories[5] == "6 Obeys Commands"
    assert s.schema.channels[0].key == "chartevents/220045" and s.schema.channels[2].key == "outputevents/40055"
    back = sources.mimic3(str(written(s, tmp_path / "back")), items=str(table), hours=24)
    assert_same(back.drop(["hr"]), s.drop(["hr"]), atol=1e-9)
    table.write_text(ITEMS + "999999,moon,,,,,,,,,,\n888888,moon,,,,,,,,,,\n")
    caplog.set_level(logging.WARNING)
    sources.mimic3(str(folder), items=str(table), hours=24)
    assert all(f"items wanted that no row of {table} has" in caplog.text for table in ("chartevents", "outputevents"))
    demo["D_ITEMS"].to_csv(folder / "D_ITEMS.csv", index=False)
    with pytest.raises(ValueError, match=r"2 item ids that D_ITEMS .* have \(first: 888888, 999999\); repair=True"):
        sources.mimic3(str(folder), items=str(table))
    assert np.isnan(sources.mimic3(str(folder), items=str(table), repair=True).channel("moon")).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as CSV"),
        ("itemid,name\n", "the item table is empty"),
        ("id,name\n1,x\n", "no column 'itemid'; did you mean 'id'?"),
        ("itemid,name,units\n1,x,y\n", "no column 'units' in an item table; did you mean 'unit'?"),
        ("itemid,name\none,x\n", "row 1: itemid is 'one'; a number is needed"),
        ("itemid,name\n,x\n", "row 1 needs a whole number as itemid, and a name"),
        ("itemid,name\n1,x\n1,y\n", "itemid 1 is there twice"),
        ("itemid,name,unit\n1,x,a\n2,x,b\n", "x has 2 values of unit (a, b); one is needed"),
        ("itemid,name,kind\n1,x,number\n", "x: kind is 'number'; allowed are"),
        ("itemid,name,low\n1,x,zero\n", "x: low is 'zero'; a number is needed"),
        ("itemid,name,table\n1,x,notes\n", "table is 'notes'; allowed are chartevents, labevents, outputevents"),
        (
            "itemid,name,unit,recorded\n1,x,mmol/L,mg/dL\n",
            "itemid 1: how is 'mg/dL' converted to 'mmol/L'? give its factor",
        ),
        ("itemid,name,aggregate\n1,x,median\n", "x: aggregate is 'median'; allowed are last, mean, sum"),
        ("itemid,name,kind,aggregate\n1,x,binary,sum\n", "x: aggregate is sum, but a binary variable has no sum"),
        ("itemid,name,kind\n1,x,categorical\n", "column 'x' is categorical but lists no categories"),
    ],
)
def test_bad_item_tables_are_named(tmp_path, content, message):
    path = tmp_path / "items.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_items(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def put(column, value, rows):
    """Change a column in some rows of one item."""

    def change(table):
        table.loc[rows(table), column] = value(table) if callable(value) else value
        return table

    return change


def celsius(table):
    return table["itemid"].isin(["676", "677", "223762"]) & (table["value"] != "")


def in_fahrenheit(table):
    return pd.to_numeric(table["valuenum"]) * 1.8 + 32


def with_units(table):
    table.loc[celsius(table), "valuenum"] = in_fahrenheit(table).round(4).astype(str)
    table.loc[celsius(table), "valueuom"] = "Deg. F"
    return table


def in_kilopascal(table):
    systolic = table["itemid"].isin(["51", "442", "455", "6701", "220050", "220179"]) & (table["valuenum"] != "")
    pressure = (pd.to_numeric(table["valuenum"][systolic]) / 7.50062).round(6).astype(str)
    table.loc[systolic, "valuenum"] = table.loc[systolic, "value"] = pressure
    return table


def without_units(table):
    return with_units(table).assign(valueuom="")


@pytest.mark.parametrize(
    ("name", "change", "message", "repaired"),
    [
        ("CHARTEVENTS", with_units, r"[\d,]+ values of Temperature in °F instead of °C \(first: item 67", True),
        ("CHARTEVENTS", without_units, r"[\d,]+ values of Temperature in °F instead of °C \(first: item 67", True),
        ("CHARTEVENTS", in_kilopascal,
         r"\d+ sequences whose Systolic blood pressure is in kPa instead of mmHg \(first: median 1", True),
        ("ICUSTAYS", lambda t: pd.concat([t, t.head(3)]),
         r"3 icustay_ids that are in ICUSTAYS.csv twice or more \(first: \d+, \d+, \d+\)", True),
        ("PATIENTS", lambda t: pd.concat([t, t.tail(1)]),
         r"1 subject_ids that are in PATIENTS.csv twice or more \(first: \d+\)", True),
        ("ICUSTAYS", lambda t: pd.concat([t, t.head(1).assign(icustay_id="299999", outtime="2100-01-01 00:00:00")]),
         r"1 ICU stays of negative time.* \(first: 299999\)", True),
        ("ICUSTAYS", put("intime", "soon", lambda t: t.index == 0), "column 'intime': .* dates are written as", False),
        ("ICUSTAYS", lambda t: t.drop(columns="outtime"), "no column 'outtime'; did you mean", False),
        ("CHARTEVENTS", lambda t: t.drop(columns="charttime"), "no column 'charttime'; did you mean", False),
        ("CHARTEVENTS", put("valuenum", "high", lambda t: t.index == 5), "CHARTEVENTS.csv: cannot be read", False),
        ("CHARTEVENTS", put("itemid", "1", lambda t: t.index >= 0), "nothing was measured in any of", False),
        ("ICUSTAYS", put("last_wardid", "0", lambda t: t.index >= 0), "no ICU stay is left of .* a transfer", False),
    ],
)  # fmt: skip
def test_bad_tables_are_named_and_repaired_on_request(small, tmp_path, caplog, name, change, message, repaired):
    folder = changed(small, tmp_path, name, change)
    if name == "CHARTEVENTS" and not repaired:
        (folder / "LABEVENTS.csv").write_text((folder / "LABEVENTS.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match=message) as caught:
        sources.mimic3(str(folder))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert ("repair=True (--source.repair true)" in str(caught.value)) == repaired
    if repaired:
        caplog.set_level(logging.WARNING)
        assert_same(sources.mimic3(str(folder), repair=True), sources.mimic3(str(small)))
        assert re.search(message, caplog.text)


@pytest.mark.parametrize("name", ["CHARTEVENTS", "PATIENTS"])
def test_a_truncated_gz_is_refused(small, tmp_path, name):
    folder = tmp_path / "truncated"
    shutil.copytree(small, folder)
    whole = gzip.compress((folder / f"{name}.csv").read_bytes())
    (folder / f"{name}.csv").unlink()
    (folder / f"{name}.csv.gz").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ValueError, match=rf"{name}\.csv\.gz: is truncated.*fetch it again"):
        sources.mimic3(str(folder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": "nowhere"}, "nowhere: no such folder; give the one that holds the tables"),
        ({"hours": 0.0}, "hours must lie in (0, 100,000], got 0.0"),
        ({"step": 49.0}, "step must be 0 (times of events), or from a second to hours=48; got 49.0"),
        ({"statics": "died,agee"}, "no static column 'agee'; did you mean 'age'?"),
        ({"items": "nowhere.csv"}, "nowhere.csv: no such file"),
    ],
)
def test_wrong_settings_are_named(small, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sources.mimic3(**{"folder": str(small), **settings})


def test_a_missing_table_is_named(small, tmp_path):
    shutil.copytree(small, tmp_path / "copy")
    (tmp_path / "copy" / "LABEVENTS.csv").unlink()
    with pytest.raises(
        ValueError, match=r"no table LABEVENTS\.csv\.gz or \.csv; tables there: admissions, chartevents"
    ):
        sources.mimic3(str(tmp_path / "copy"))


def test_events_are_read_in_blocks(monkeypatch, small):
    whole = sources.mimic3(str(small))
    monkeypatch.setattr(events, "BLOCK", 1 << 16)
    sizes = [batch.nbytes for batch in events.batches(small / "CHARTEVENTS.csv")]
    assert len(sizes) > 20 and max(sizes) < 3 << 16
    assert_same(sources.mimic3(str(small)), whole)
    first = next(events.batches(small / "LABEVENTS.csv"))
    assert first.schema.field("charttime").type == pa.timestamp("s")


EMPTY = "Capillary refill rate,Fraction inspired oxygen,Height"  # too few patients


def test_from_tables_to_a_synthetic_cohort_on_the_command_line(small, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "synthetic"
    place = ["--source.folder", str(small), "--source.task", "in-hospital-mortality"]
    tiny = ["--steps", "3", "--batch", "8", "--generator.hidden", "8", "--discriminator.hidden", "8", "--quiet"]
    assert main(["train", "mimic3", *place, "--condition", "died", "--drop", EMPTY, "--out", str(run), *tiny]) == 0
    assert main(["sample", str(run), "--count", "30", "--out", str(out), "--quiet"]) == 0
    assert main(["data", "mimic3", "--source.folder", str(out), "--source.task", "in-hospital-mortality"]) == 0
    assert "30 subjects, 48 steps of 1 h" in capsys.readouterr().out
    assert main(["data", "mimic3", "--source.folder", str(tmp_path)]) == 2
    assert "no table PATIENTS.csv.gz" in capsys.readouterr().err
