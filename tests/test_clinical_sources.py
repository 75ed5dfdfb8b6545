"""Clinical layouts: read raw, written back so that other people's readers read them; every fault named and counted."""

import csv
import gzip
import io
import json
import math
import re
import tarfile
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import assert_same, shared_data, written
from vitalsynth import frames, sources
from vitalsynth.preparation import Preparation
from vitalsynth.sequences import Column
from vitalsynth.sources.faults import Faults, first_of_each
from vitalsynth.sources.icu.eicu import HEADERS
from vitalsynth.sources.icu.physionet2012 import _check as check_2012
from vitalsynth.sources.units import FEWEST, USUAL, conversion

assert_alike = partial(assert_same, rtol=1e-6)


def refusal(source, *arguments, **settings):
    """Return the one line that a source refuses with."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its text is what is returned)
        source(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_repaired(source, clean, *arguments, caplog, counted, **settings):
    """Refused by default and named, repaired on request with a warning that says the same; then as if clean."""
    message = refusal(source, *arguments, **settings)
    assert counted in message
    assert "repair=True (--source.repair true)" in message
    caplog.clear()
    repaired = source(*arguments, repair=True, **settings)
    assert counted in caplog.text
    if clean is not None:
        np.testing.assert_array_equal(repaired.values, clean.values)
        np.testing.assert_array_equal(repaired.static, clean.static)
    return repaired


# PhysioNet 2012


@pytest.fixture(scope="module")
def stays():
    """The first 60 files of set A as they are, by name."""
    with tarfile.open(shared_data("physionet2012", "set-a.tar.gz")) as tar:
        members = (member for member in tar if member.isfile())
        return {m.name.split("/")[-1]: tar.extractfile(m).read().decode() for m, _ in zip(members, range(60))}  # noqa: B905


@pytest.fixture
def challenge(tmp_path, stays):
    """An unpacked folder of them."""
    folder = tmp_path / "challenge"
    (folder / "set-a").mkdir(parents=True)
    for name, text in stays.items():
        (folder / "set-a" / name).write_text(text)
    lines = shared_data("physionet2012", "Outcomes-a.txt").read_text().splitlines()
    (folder / "Outcomes-a.txt").write_text("\n".join(lines[: len(stays) + 1]) + "\n")
    return folder


def as_a_script_reads(folder):
    """Read a folder as the challenge describes it, in plain Python: record -> (descriptors, hourly rows), deaths."""
    names = ["RecordID", "Age", "Gender", "Height", "ICUType", "Weight"]
    deaths = {}
    with open(folder / "Outcomes-a.txt") as file:
        for row in csv.DictReader(file):
            deaths[int(row["RecordID"])] = int(row["In-hospital_death"])
            assert {"SAPS-I", "SOFA", "Length_of_stay", "Survival"} < set(row)
    records = {}
    for record in deaths:
        with open(folder / "set-a" / f"{record}.txt") as file:
            assert file.readline() == "Time,Parameter,Value\n"
            rows = [line.strip().split(",") for line in file]
        general, last = {}, (0, 0)
        for (clock, name, value), expected in zip(rows, names, strict=False):  # descriptors come first, at 00:00
            assert (clock, name) == ("00:00", expected)
            general[name] = float(value)
        hours = {}
        for clock, name, value in rows[len(names) :]:
            assert re.fullmatch(r"\d\d:\d\d", clock)
            hour, minute = int(clock[:2]), int(clock[3:])
            assert (hour, minute) >= last  # in order of time
            last = (hour, minute)
            hours.setdefault((min(hour, 47), name), []).append(float(value))
        assert general.pop("RecordID") == record
        records[record] = (general, {key: sum(values) / len(values) for key, values in hours.items()})
    return records, deaths


def test_the_last_of_several_measurements_is_one_that_was_written_down(challenge):
    mean, last = (sources.physionet2012(str(challenge), several=several) for several in ("mean", "last"))
    np.testing.assert_array_equal(np.isnan(mean.values), np.isnan(last.values))
    for i, stay in enumerate(last.subject.tolist()):
        rows = [row.split(",") for row in (challenge / "set-a" / f"{stay}.txt").read_text().splitlines()[1:]]
        possible = [row for row in rows if row[1:] != ["Temp", "0"]]
        written = {(min(int(clock[:2]), 47), name): float(value) for clock, name, value in possible}  # the last of each
        for j, column in enumerate(last.schema.channels):
            there = np.flatnonzero(~np.isnan(last.values[i, :, j]))
            if column.name not in ("Urine", "MechVent"):
                found = [written[hour, column.name] for hour in there.tolist()]
                np.testing.assert_allclose(last.values[i, there, j], found, rtol=1e-6)
    assert (mean.values != last.values)[~np.isnan(mean.values)].any()


def test_physionet2012_agrees_with_the_derived_array():
    with np.load(shared_data("physionet2012", "set-a_hourly.npz")) as derived:
        expected, statics = derived["x"], derived["static"]
        outcomes = {name: derived[name] for name in ("in_hospital_death", "saps_i", "survival", "record_id")}
        names = derived["variables"].tolist()
    s = sources.physionet2012(str(shared_data("physionet2012")), several="mean", urine="mean", scores=True)
    assert [column.name for column in s.schema.channels] == names
    weight = names.index("Weight")
    others = np.delete(np.arange(37), weight)
    np.testing.assert_array_equal(s.values[:, :, others], expected[:, :, others])
    np.testing.assert_array_equal(s.values[:, 1:, weight], expected[:, 1:, weight])  # hour 0 has the descriptor there
    np.testing.assert_array_equal(s.subject, outcomes["record_id"])
    for name in ("Age", "Gender", "Height"):
        np.testing.assert_array_equal(s.static_column(name), statics[:, ["Age", "Gender", "Height"].index(name)])
    np.testing.assert_array_equal(s.static_column("ICUType") + 1, statics[:, 3])
    np.testing.assert_array_equal(s.static_column("static_Weight"), statics[:, 4])
    np.testing.assert_array_equal(s.static_column("In-hospital_death"), outcomes["in_hospital_death"])
    for name, of_npz in (("SAPS-I", "saps_i"), ("Survival", "survival")):
        known = outcomes[of_npz] != -1
        np.testing.assert_array_equal(s.static_column(name)[known], outcomes[of_npz][known])
        assert np.isnan(s.static_column(name)[~known]).all()


def test_a_script_for_the_challenge_reads_what_was_written(tmp_path, challenge):
    s = sources.physionet2012(str(challenge), scores=True)
    records, deaths = as_a_script_reads(written(s, tmp_path / "synthetic"))
    assert len(records) == len(s)
    assert list(deaths.values()) == s.static_column("In-hospital_death").tolist()
    names = [column.name for column in s.schema.channels]
    for i, (general, hours) in enumerate(records.values()):
        for name, column in (("Age", "Age"), ("Weight", "static_Weight"), ("Height", "Height"), ("Gender", "Gender")):
            value = s.static_column(column)[i]
            assert general[name] == pytest.approx(-1 if np.isnan(value) else value)
        assert general["ICUType"] == s.static_column("ICUType")[i] + 1
        there = {(t, names[c]): s.values[i, t, c] for t, c in np.argwhere(~np.isnan(s.values[i]))}
        assert hours.keys() == there.keys()
        np.testing.assert_allclose(list(hours.values()), [there[key] for key in hours], rtol=1e-6)
    assert_alike(sources.physionet2012(str(tmp_path / "synthetic"), scores=True), s)


def test_physionet2012_from_a_stream_a_folder_or_found(tmp_path, challenge, stays):
    whole = sources.physionet2012(str(challenge))
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "Outcomes-a.txt").write_text((challenge / "Outcomes-a.txt").read_text())
    with tarfile.open(packed / "set-a.tar.gz", "w:gz") as tar:
        for k, name in enumerate(sorted(stays, reverse=True)):
            add(tar, f"set-a/{name}", stays[name])
            if k == 3:  # hostile members: nothing of them is read or written
                add(tar, "../../1.txt", "Time,Parameter,Value\n00:00,RecordID,1\n")
                add(tar, "/tmp/2.txt", "Time,Parameter,Value\n00:00,RecordID,2\n")
                link = tarfile.TarInfo("set-a/3.txt")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(link)
                device = tarfile.TarInfo("set-a/4.txt")
                device.type = tarfile.CHRTYPE
                tar.addfile(device)
                add(tar, "set-a/notes.md", "not a stay")
    for path in (packed, challenge):
        found = sources.read(str(path))
        assert_alike(found, whole)
        np.testing.assert_array_equal(found.subject, whole.subject)
    assert found.schema.licence.startswith("ODC-By")
    two = sources.physionet2012(str(challenge), step=2.0)
    assert two.values.shape == (60, 24, 37)
    urine = [np.nan_to_num(each.channel("Urine")).sum() for each in (whole, two)]
    assert urine[0] == pytest.approx(urine[1])  # amounts are summed, so that no step changes the total


def add(tar, name, text):
    info = tarfile.TarInfo(name)
    info.size = len(text.encode())
    tar.addfile(info, io.BytesIO(text.encode()))


def edit(path, change):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


FAULTS_2012 = [
    (lambda rows: [*rows, rows[-1]], "1 rows that repeat another"),
    (lambda rows: [*rows, "-01:30,HR,80"], "1 rows with a negative time"),
    (lambda rows: [*rows, "50:30,HR,80", "51:30,HR,80"], "2 rows later than 48:00"),
    (lambda rows: [*rows, "noon,HR,80"], "1 rows whose time is not written HH:MM"),
    (lambda rows: [*rows, "10:00,HeartRate,80"], "1 rows of an unknown parameter"),
    (lambda rows: [*rows, "10:00,HR,high"], "1 cells of Value that are no numbers (first: high)"),
    (lambda rows: [*rows, "10:00,HR,inf"], "1 cells of Value that are no numbers (first: inf)"),
    (lambda rows: [*rows, "10:00,HR"], "1 rows without 3 cells"),
    (lambda rows: [*rows, "10:00,SaO2,970"], "1 values of SaO2 outside 0 to 100 (first: 970)"),
    (lambda rows: [*rows, "00:00,Age,17"], "1 descriptors given twice, differently (first: Age=17)"),
    (lambda rows: [*rows, "00:00,RecordID,7"], "1 files that have the RecordID of another"),
    (lambda rows: [*rows, "", ""], None),  # empty lines, and the order of rows, do not matter
    (lambda rows: [rows[0], "", *reversed(rows[1:])], None),
]


@pytest.mark.parametrize(("change", "counted"), FAULTS_2012)
def test_bad_stays_of_2012_are_named_counted_and_repaired(challenge, caplog, change, counted):
    whole = sources.physionet2012(str(challenge))
    edit(challenge / "set-a" / "132540.txt", change)
    if counted is None:
        np.testing.assert_array_equal(sources.physionet2012(str(challenge)).values, whole.values)
        return
    assert_repaired(sources.physionet2012, whole, str(challenge), caplog=caplog, counted=counted)


def test_fahrenheit_among_celsius_is_named_and_converted(challenge, caplog):
    whole = sources.physionet2012(str(challenge))
    count = 0

    def hotter(rows):
        nonlocal count
        cells = [row.split(",") for row in rows]
        for row in cells:
            if row[1] == "Temp":
                row[2] = f"{float(row[2]) * 1.8 + 32:.6f}"
                count += 1
        return [",".join(row) for row in cells]

    edit(challenge / "set-a" / "132540.txt", hotter)
    message = refusal(sources.physionet2012, str(challenge))
    assert f"{count} values of Temp in °F instead of °C" in message
    assert message.endswith("repair=True (--source.repair true) converts them")
    repaired = sources.physionet2012(str(challenge), repair=True)
    np.testing.assert_allclose(repaired.values, whole.values, rtol=1e-5)


IN_SI = {
    "Glucose": ("mmol/L", 18.016),
    "Creatinine": ("µmol/L", 1 / 88.42),
    "Bilirubin": ("µmol/L", 1 / 17.104),
    "Lactate": ("mg/dL", 1 / 9.008),
    "SysABP": ("kPa", 7.50062),
    "NIDiasABP": ("kPa", 7.50062),
    "PaCO2": ("kPa", 7.50062),
    "Height": ("inch", 2.54),
    "Weight": ("lb", 0.453592),
}


@pytest.mark.parametrize("name", IN_SI)
def test_a_variable_in_another_unit_is_named_and_converted(challenge, caplog, name):
    whole = sources.physionet2012(str(challenge))
    unit, factor = IN_SI[name]

    def in_other_unit(row):
        clock, parameter, value = row.split(",")
        return f"{clock},{parameter},{float(value) / factor:.9g}" if parameter == name and value != "-1" else row

    for stay in (challenge / "set-a").iterdir():
        edit(stay, lambda rows: [rows[0], *map(in_other_unit, rows[1:])])
    counted = f"sequences whose {name} is in {unit} instead of "
    repaired = assert_repaired(sources.physionet2012, None, str(challenge), caplog=caplog, counted=counted)
    np.testing.assert_allclose(repaired.values, whole.values, rtol=1e-5)
    np.testing.assert_allclose(repaired.static, whole.static, rtol=1e-5)


@pytest.mark.parametrize("usual", USUAL, ids=lambda usual: usual.names[0])
def test_units_of_real_data_are_told_apart(usual):
    dyn, sta = (pq.read_table(cohort("los", "eicu_demo", f"{name}.parquet")).to_pandas() for name in ("dyn", "sta"))
    found = [name for name in usual.names if name in dyn or name in sta]
    if found:
        column = sta[found[0]] if found[0] in sta else dyn.groupby("stay_id")[found[0]].first()
        sample = column.to_numpy(np.float64)
    else:
        sample = first_of_each(sources.physionet2019(str(shared_data("physionet2019"))).channel("EtCO2")).astype(float)
    ours, theirs = (Column(usual.names[0], unit=unit) for unit in (usual.unit, usual.other))
    assert conversion(sample, ours) == (usual.unit, 1)
    assert conversion(sample / usual.factor, theirs) == (usual.other, 1)
    assert conversion(sample / usual.factor, ours) == (usual.other, pytest.approx(usual.factor))
    if "weight" not in usual.names:  # 79 could be pounds, as 174 can not be kilograms
        assert conversion(sample, theirs) == (usual.unit, pytest.approx(1 / usual.factor))
    few = sample[~np.isnan(sample)][: FEWEST - 1]
    assert conversion(few / usual.factor, ours) == (usual.unit, 1)


def test_stays_and_outcomes_must_match(challenge, stays, tmp_path, caplog):
    whole = sources.physionet2012(str(challenge))
    edit(challenge / "Outcomes-a.txt", lambda rows: [*rows, rows[1]])
    assert_repaired(
        sources.physionet2012, whole, str(challenge), caplog=caplog, counted="1 stays with two outcomes (first: 132539)"
    )
    edit(challenge / "Outcomes-a.txt", lambda rows: [rows[0], *rows[2:-1]])
    left = assert_repaired(
        sources.physionet2012, None, str(challenge), caplog=caplog, counted="1 stays without an outcome (first: 132539)"
    )
    assert left.subject.tolist() == whole.subject[1:].tolist()
    (challenge / "set-a" / "again").mkdir()
    (challenge / "set-a" / "again" / "132541.txt").write_text(stays["132541.txt"])
    assert "1 files that are there twice (first: 132541.txt)" in refusal(sources.physionet2012, str(challenge))
    (challenge / "Outcomes-a.txt").unlink()
    assert "Outcomes-a.txt: no such file; it says who died" in refusal(sources.physionet2012, str(challenge))


def test_a_truncated_archive_is_named(tmp_path):
    content = shared_data("physionet2012", "set-a.tar.gz").read_bytes()
    (tmp_path / "Outcomes-a.txt").write_bytes(shared_data("physionet2012", "Outcomes-a.txt").read_bytes())
    (tmp_path / "set-a.tar.gz").write_bytes(content[:300_000])
    message = refusal(sources.physionet2012, str(tmp_path))
    assert re.search(r"set-a\.tar\.gz: is truncated or damaged after 1\d\d files .*; fetch it again", message)
    assert "set a is there" in refusal(sources.physionet2012, str(tmp_path), set="b")
    (tmp_path / "set-a.tar.gz").write_bytes(b"no archive")
    assert "is truncated or damaged after 0 files" in refusal(sources.physionet2012, str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("d", 1.0, "last", "sum"), "set is 'd'; allowed are a, b, c, all"),
        (("a", 0.0, "last", "sum"), "step must lie between a minute"),
        (("a", 1.0, "first", "sum"), "several is 'first'; allowed are last, mean"),
        (("a", 1.0, "last", "last"), "urine is 'last'; allowed are sum, mean"),
    ],
)
def test_wrong_settings_of_2012(settings, message):
    assert message in refusal(check_2012, *settings)


# PhysioNet 2019


@pytest.fixture
def sepsis(tmp_path):
    """The first 40 records of training set B, and three that begin after the first hour, as they are."""
    folder = tmp_path / "training_setB"
    folder.mkdir()
    late = 0
    with tarfile.open(shared_data("physionet2019", "training_setB_first1000.tar.gz")) as tar:
        for k, member in enumerate(member for member in tar if member.isfile()):
            content = tar.extractfile(member).read()
            begins_late = content.splitlines()[1].split(b"|")[-2] != b"1"
            if k < 40 or (begins_late and late < 3):
                late += begins_late and k >= 40
                (folder / member.name.split("/")[-1]).write_bytes(content)
    return tmp_path


def test_physionet2019_is_written_back_byte_for_byte(tmp_path, sepsis):
    s = sources.read(str(sepsis), hours=336)
    assert s.values.shape[2] == 35
    assert s.schema.channels[-1].kind == "binary"
    assert {column.name for column in s.schema.statics} == {"Age", "Gender", "Unit1", "Unit2", "HospAdmTime"}
    short = sources.physionet2019(str(sepsis), hours=24)
    np.testing.assert_array_equal(short.values, s.values[:, :24])
    assert short.lengths.max() == 24
    back = written(s, tmp_path / "out")
    originals = sorted((sepsis / "training_setB").iterdir())
    assert s.subject.tolist() == [path.stem for path in originals]
    for original, ours in zip(originals, sorted(back.iterdir()), strict=True):
        assert re.fullmatch(r"p\d{6}\.psv", ours.name)
        assert ours.read_bytes() == original.read_bytes()


def test_physionet2019_streams_its_archive():
    s = sources.physionet2019(str(shared_data("physionet2019")))
    assert len(s) == 1000
    assert s.length == 72
    long = sources.physionet2019(str(shared_data("physionet2019")), hours=336)
    assert (np.nan_to_num(long.channel("SepsisLabel")).max(axis=1) == 1).sum() == 60
    assert long.lengths.max() == 327


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        (lambda rows: [*rows, rows[-1]], "1 rows that repeat an hour"),
        (lambda rows: [*rows, rows[-1].rsplit("|", 2)[0] + "|-3|0"], "1 rows with a negative time"),
        (lambda rows: [*rows, "1|2|3"], "1 rows without 41 cells"),
        (lambda rows: [*rows, rows[-1].rsplit("|", 1)[0] + "|2"], "1 rows that repeat an hour"),
    ],
)
def test_bad_records_of_2019_are_named_counted_and_repaired(sepsis, caplog, change, counted):
    whole = sources.physionet2019(str(sepsis))
    edit(sepsis / "training_setB" / "p100002.psv", change)
    assert_repaired(sources.physionet2019, whole, str(sepsis), caplog=caplog, counted=counted)


def test_other_columns_and_archives_of_2019(tmp_path, sepsis):
    edit(sepsis / "training_setB" / "p100003.psv", lambda rows: [rows[0].replace("O2Sat", "SpO2"), *rows[1:]])
    assert "p100003.psv: begins with 'HR|SpO2" in refusal(sources.physionet2019, str(sepsis))
    assert "holds no file whose name is like" in refusal(sources.physionet2019, str(shared_data("mnist")))
    assert "no such folder; fetch challenge-2019" in refusal(sources.physionet2019, str(tmp_path / "nowhere"))
    assert "hours must lie between 1 and 336" in refusal(sources.physionet2019, str(sepsis), hours=0)


# YAIB


def cohort(*parts):
    return shared_data("icu-demo-hourly", *parts)


@pytest.mark.parametrize("task", ["mortality24", "los"])
def test_yaib_comes_back_as_it_was(tmp_path, task):
    folder = cohort(task, "mimic_demo")
    s = sources.read(str(folder))
    assert ("label" in [c.name for c in s.schema.statics]) == (task == "mortality24")
    units = {column.name: column.unit for column in s.schema.columns}
    assert (units["temp"], units["alb"], units["age"]) == ("°C", "g/dL", "years")
    back = written(s, tmp_path / "out")
    for name in ("dyn", "sta", "outc"):
        theirs, ours = (pq.read_table(place / f"{name}.parquet") for place in (folder, back))
        assert ours.schema.remove_metadata().equals(theirs.schema.remove_metadata())
        pd.testing.assert_frame_equal(
            *(table.to_pandas().drop(columns="stay_id") for table in (ours, theirs)), check_exact=True
        )
    assert_alike(sources.yaib(str(back)), s)


@pytest.fixture
def three_files(tmp_path):
    return {
        name: pq.read_table(cohort("mortality24", "mimic_demo", f"{name}.parquet")).to_pandas()
        for name in ("dyn", "sta", "outc")
    }


def as_files(tables, folder):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / f"{name}.parquet")
    return str(folder)


def test_bad_cohorts_of_yaib_are_named_counted_and_repaired(tmp_path, three_files, caplog):
    dyn, sta, outc = three_files.values()
    whole = sources.yaib(as_files(three_files, tmp_path / "whole"))
    stranger = dyn.tail(1).assign(stay_id=7)
    for k, (table, counted) in enumerate(
        [
            ({"dyn": pd.concat([dyn, dyn.head(3)])}, "3 rows of dyn.parquet that repeat another's stay_id and time"),
            ({"sta": pd.concat([sta, sta.tail(1)])}, "1 rows of sta.parquet that repeat another's stay_id"),
            ({"outc": pd.concat([outc, outc])}, "99 rows of outc.parquet that repeat another's stay_id"),
            (
                {"dyn": pd.concat([dyn, dyn.tail(2).assign(time=-dyn["time"].tail(2))])},
                "2 rows of dyn.parquet with a negative time",
            ),
            (
                {"dyn": pd.concat([dyn, stranger])},
                "1 rows of dyn.parquet whose stay is not in sta.parquet (first: stay_id 7)",
            ),
            (
                {"sta": pd.concat([sta, sta.tail(1).assign(stay_id=7)])},
                "1 rows of sta.parquet whose stay is not in dyn",
            ),
        ]
    ):
        place = as_files({**three_files, **table}, tmp_path / str(k))
        assert_repaired(sources.yaib, whole, place, caplog=caplog, counted=counted)
    hot = as_files({**three_files, "dyn": dyn.assign(temp=dyn["temp"] * 1.8 + 32)}, tmp_path / "hot")
    converted = assert_repaired(sources.yaib, None, hot, caplog=caplog, counted="values of temp in °F instead of °C")
    np.testing.assert_allclose(converted.values, whole.values)
    other = as_files({**three_files, "sta": sta.assign(height=sta["height"] / 2.54)}, tmp_path / "inches")
    counted = "sequences whose height is in inch instead of cm (first: median 65)"
    converted = assert_repaired(sources.yaib, None, other, caplog=caplog, counted=counted)
    np.testing.assert_allclose(converted.static, whole.static)
    mixed = as_files({**three_files, "dyn": dyn.sample(frac=1, random_state=0)}, tmp_path / "mixed")
    shuffled = sources.yaib(mixed)
    order = np.argsort(shuffled.subject)
    np.testing.assert_array_equal(shuffled.values[order], whole.values[np.argsort(whole.subject)])


def test_broken_files_of_yaib_are_refused(tmp_path, three_files):
    folder = tmp_path / "broken"
    for change, message in (
        ({"dyn": three_files["dyn"].drop(columns="time")}, "dyn.parquet: no column 'time'"),
        ({"outc": three_files["outc"].rename(columns={"label": "died"})}, "outc.parquet: no column 'label'"),
        ({"dyn": three_files["dyn"].assign(time=1.0)}, "dyn.parquet: time is float64; a duration since admission"),
    ):
        assert message in refusal(sources.yaib, as_files({**three_files, **change}, folder))
    (folder / "sta.parquet").write_bytes((folder / "sta.parquet").read_bytes()[:-9])
    as_files({"dyn": three_files["dyn"]}, folder)
    assert "sta.parquet: is no Parquet file, or damaged" in refusal(sources.yaib, str(folder))
    (folder / "sta.parquet").unlink()
    assert "sta.parquet: no such file" in refusal(sources.yaib, str(folder))


# MEDS


@pytest.fixture(scope="module")
def events(stays):
    """Real stays as events of MEDS: descriptors without a time, sex as codes, admission and death as events."""
    deaths = pd.read_csv(shared_data("physionet2012", "Outcomes-a.txt"), index_col="RecordID")["In-hospital_death"]
    rows = []
    for name, text in stays.items():
        record, admitted = int(name[:6]), pd.Timestamp("2150-03-01 10:20")
        rows.append((record, admitted, "ICU_ADMISSION", None))
        general = {}
        for line in text.splitlines()[1:]:
            clock, code, value = line.split(",")
            described = clock == "00:00" and code in ("RecordID", "Age", "Gender", "Height", "ICUType", "Weight")
            if described and code not in general:
                general[code] = value
                continue
            minutes = pd.Timedelta(minutes=60 * int(clock[:2]) + int(clock[3:]))
            rows.append((record, admitted + minutes, code, float(value)))
        rows.append((record, None, "GENDER//M" if general["Gender"] == "1" else "GENDER//F", None))
        rows += [(record, None, key, float(general[key])) for key in ("Age", "Height") if general[key] != "-1"]
        if deaths[record]:
            rows.append((record, admitted + pd.Timedelta(days=3), "MEDS_DEATH", None))
    return pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value"])


def as_shards(events, root):
    """Write events as the standard asks: a subject in one file, in order of time, those without one first."""
    types = pa.schema(
        [("subject_id", "int64"), ("time", pa.timestamp("us")), ("code", "string"), ("numeric_value", "float32")]
    )
    for k, subjects in enumerate(np.array_split(events["subject_id"].unique(), 2)):
        rows = events[events["subject_id"].isin(subjects)]
        rows = rows.sort_values(["subject_id", "time"], na_position="first", kind="stable")
        place = root / "data" / ("train" if k else "held_out") / "0.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(rows, types, preserve_index=False), place)
    return str(root)


ITEMS = (
    "code,name,unit,kind\nHR,heart rate,1/min,continuous\nSysABP,systolic,mmHg,continuous\nNISysABP,systolic,mmHg,"
    "continuous\nTemp,temperature,°C,continuous\nMechVent,ventilated,,event\nAge,age,years,static\n"
    "GENDER//F,sex,,static\nGENDER//M,sex,,static\nMEDS_DEATH,died,,static\n"
)


def test_meds_by_items_agrees_with_the_challenge_itself(tmp_path, events, challenge):
    (tmp_path / "items.csv").write_text(ITEMS)
    settings = {"items": str(tmp_path / "items.csv"), "start": "ICU_ADMISSION"}
    s = sources.read(as_shards(events, tmp_path / "meds"), **settings)
    theirs = sources.physionet2012(str(challenge), several="mean")
    at_end = theirs.lengths.max() - 1  # what the challenge has at 48:00 lies outside of 48 hours
    np.testing.assert_allclose(s.channel("heart rate")[:, :at_end], theirs.channel("HR")[:, :at_end], rtol=1e-6)
    np.testing.assert_allclose(s.channel("temperature")[:, :at_end], theirs.channel("Temp")[:, :at_end], rtol=1e-6)
    both = [theirs.channel(name)[:, :at_end] for name in ("SysABP", "NISysABP")]
    assert (np.isnan(s.channel("systolic")[:, :at_end]) == np.isnan(both).all(axis=0)).all()
    ventilated = np.nan_to_num(theirs.channel("MechVent")[:, :at_end])
    np.testing.assert_array_equal(np.nan_to_num(s.channel("ventilated")[:, :at_end]), ventilated)
    np.testing.assert_array_equal(s.static_column("age"), theirs.static_column("Age"))
    np.testing.assert_array_equal(s.static_column("sex"), theirs.static_column("Gender"))
    np.testing.assert_array_equal(s.static_column("died"), theirs.static_column("In-hospital_death"))
    assert s.schema.statics[1].categories == ("GENDER//F", "GENDER//M")
    assert s.schema.channels[0].title == "heart rate (1/min)"
    assert (s.channel("ICU_ADMISSION")[:, 0] == 1).all()
    back = written(s, tmp_path / "out")
    assert "1 codes of items.csv that no event has (first: NISysABP)" in refusal(sources.meds, str(back), **settings)
    assert_alike(sources.meds(str(back), repair=True, **settings), s)


def test_meds_writes_what_the_standard_asks(tmp_path, events):
    s = sources.meds(as_shards(events, tmp_path / "meds"), most=5)
    assert sorted(column.name for column in s.schema.channels) == [column.name for column in s.schema.channels]
    assert [column.name for column in s.schema.statics] == ["Age", "GENDER", "Height"]
    out = written(s, tmp_path / "out")
    assert_alike(sources.meds(str(out), most=5), s)
    seen, codes = set(), set()
    for shard in sorted((out / "data").rglob("*.parquet")):
        table = pq.read_table(shard)
        assert [str(kind) for kind in table.schema.types] == ["int64", "timestamp[us]", "string", "float"]
        rows = table.to_pandas()
        assert not seen & set(rows["subject_id"])
        seen |= set(rows["subject_id"])
        codes |= set(rows["code"])
        assert rows["subject_id"].is_monotonic_increasing
        assert all(part["time"].dropna().is_monotonic_increasing for _, part in rows.groupby("subject_id"))
    assert len(seen) == len(s)
    assert set(pq.read_table(out / "metadata" / "codes.parquet")["code"].to_pylist()) == codes
    splits = pq.read_table(out / "metadata" / "subject_splits.parquet").to_pydict()
    assert set(splits["subject_id"]) == seen
    about = json.loads((out / "metadata" / "dataset.json").read_text())
    assert re.fullmatch(r"0\.4\.\d+", about["meds_version"])
    assert about["license"] == s.schema.licence


def test_meds_may_leave_out_the_column_of_numbers(tmp_path, events):
    folder = as_shards(events, tmp_path / "meds")
    admission = events[events["code"] == "ICU_ADMISSION"].head(1).assign(subject_id=7).drop(columns="numeric_value")
    admission.to_parquet(tmp_path / "meds" / "data" / "train" / "1.parquet", index=False)
    s = sources.meds(folder, start="ICU_ADMISSION")
    assert len(s) == events["subject_id"].nunique() + 1
    alone = s.take(s.subject == 7)
    assert alone.channel("ICU_ADMISSION")[0, 0] == 1
    assert np.isnan(alone.channel("HR")).all()


def test_a_subject_of_meds_has_a_sequence_a_start(tmp_path, events):
    once = events[events["subject_id"] == 132539]
    later = once[once["time"].notna()].assign(time=once["time"] + pd.Timedelta(days=400))
    s = sources.meds(as_shards(pd.concat([events, later]), tmp_path / "meds"), start="ICU_ADMISSION")
    twice = s.take(s.subject == 132539)
    assert len(twice) == 2
    np.testing.assert_array_equal(twice.values[0], twice.values[1])
    assert len(s) == len(np.unique(s.subject)) + 1


def test_bad_events_of_meds_are_named_counted_and_repaired(tmp_path, events, caplog):
    (tmp_path / "items.csv").write_text(ITEMS)
    items = str(tmp_path / "items.csv")
    whole = sources.meds(as_shards(events, tmp_path / "whole"), items)
    twice = as_shards(pd.concat([events, events[events["code"] == "HR"].head(4)]), tmp_path / "twice")
    assert_repaired(sources.meds, whole, twice, items, caplog=caplog, counted="4 events that repeat another (first: HR")
    nameless = events.head(2).assign(code=None)
    gaps = as_shards(pd.concat([events, nameless]), tmp_path / "gaps")
    assert_repaired(sources.meds, whole, gaps, items, caplog=caplog, counted="2 events without subject_id or code")
    (tmp_path / "wrong.csv").write_text(ITEMS + "220045,pulse,1/min,continuous\n211,pulse,1/min,continuous\n")
    counted = "2 codes of wrong.csv that no event has (first: 220045)"
    assert_repaired(
        sources.meds, whole, str(tmp_path / "whole"), str(tmp_path / "wrong.csv"), caplog=caplog, counted=counted
    )
    value, invasive = events["numeric_value"], events["code"] == "SysABP"
    kilopascal = as_shards(events.assign(numeric_value=value.mask(invasive, value / 7.50062)), tmp_path / "kPa")
    (tmp_path / "invasive.csv").write_text("code,name,unit,kind\nSysABP,systolic,mmHg,continuous\n")
    invasive = str(tmp_path / "invasive.csv")
    counted = "sequences whose systolic is in kPa instead of mmHg"
    converted = assert_repaired(sources.meds, None, kilopascal, invasive, caplog=caplog, counted=counted)
    np.testing.assert_allclose(converted.values, sources.meds(str(tmp_path / "whole"), invasive).values, rtol=1e-5)
    shard = next((tmp_path / "whole" / "data").rglob("*.parquet"))
    (shard.parent / "1.parquet").write_bytes(shard.read_bytes())
    assert "30 subjects are in other files too" in refusal(sources.meds, str(tmp_path / "whole"))
    shard.write_bytes(shard.read_bytes()[:1000])
    assert "is no Parquet file, or damaged" in refusal(sources.meds, str(tmp_path / "whole"))
    assert "no Parquet file in data/" in refusal(sources.meds, str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "ICU_ADMISION"}, "no event has the code 'ICU_ADMISION'; did you mean 'ICU_ADMISSION'?"),
        ({"step": 0.0}, "step must be greater than 0"),
        ({"most": 0}, "most must be at least 1"),
        ({"items": "nowhere.csv"}, "nowhere.csv: no such file"),
    ],
)
def test_wrong_settings_of_meds(tmp_path, events, settings, message):
    assert message in refusal(sources.meds, as_shards(events, tmp_path / "meds"), **settings)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("code,name\nHR,hr\n", "no column 'unit'"),
        ("code,name,unit,kind\nHR,hr,,numeric\n", "kind is 'numeric'; allowed are continuous, event, static"),
        ("code,name,unit,kind\nHR,a,,continuous\nAge,a,,static\n", "'a' is continuous and static"),
        ("code,name,unit,kind\nAge,age,,static\n", "no code becomes a channel"),
    ],
)
def test_wrong_items_of_meds(tmp_path, events, items, message):
    (tmp_path / "items.csv").write_text(items)
    assert message in refusal(sources.meds, as_shards(events, tmp_path / "meds"), str(tmp_path / "items.csv"))


# eICU


LABS = {"bun": "BUN", "k": "potassium", "na": "sodium", "be": "Base Excess", "crea": "creatinine"}


@pytest.fixture(scope="module")
def hourly():
    """Real stays of the eICU demo, as YAIB made them hourly: the raw tables are not at hand."""
    folder = cohort("los", "eicu_demo")
    dyn, sta = (pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("dyn", "sta"))
    chosen = sta["stay_id"].head(60)
    return dyn[dyn["stay_id"].isin(chosen)], sta[sta["stay_id"].isin(chosen)]


@pytest.fixture
def tables(hourly):
    """They in the layout in which eICU is distributed."""
    dyn, sta = hourly
    minute = (dyn["time"].dt.total_seconds() // 60).astype(int) + 7
    at = pd.DataFrame({"patientunitstayid": dyn["stay_id"], "observationoffset": minute})
    last = minute.groupby(dyn["stay_id"]).max().loc[sta["stay_id"]].to_numpy()
    age = ["" if np.isnan(a) else "> 89" if a > 89 else f"{a:.0f}" for a in sta["age"]]
    patient = pd.DataFrame(
        {
            "patientunitstayid": sta["stay_id"],
            "gender": sta["sex"],
            "age": age,
            "ethnicity": "",
            "admissionheight": sta["height"],
            "admissionweight": sta["weight"],
            "unittype": np.where(np.arange(len(sta)) % 3 == 0, "MICU", "Med-Surg ICU"),
            "unitdischargeoffset": last + 20,
            "unitdischargestatus": "Alive",
            "hospitaldischargestatus": np.where(np.arange(len(sta)) % 7 == 0, "Expired", "Alive"),
            "uniquepid": [f"002-{number // 2}" for number in range(len(sta))],
        }
    )
    aperiodic = {"noninvasivesystolic": "sbp", "noninvasivediastolic": "dbp", "noninvasivemean": "map"}
    periodic = {"temperature": "temp", "sao2": "o2sat", "heartrate": "hr", "respiration": "resp"}
    labs = dyn.assign(labresultoffset=minute).melt(["stay_id", "labresultoffset"], list(LABS)).dropna()
    labs = labs.rename(columns={"stay_id": "patientunitstayid", "value": "labresult"})
    before = labs.head(1).assign(labresultoffset=-300)  # drawn before admission to the unit
    return {
        "patient": patient,
        "vitalPeriodic": at.assign(**{name: dyn[short] for name, short in periodic.items()}),
        "vitalAperiodic": at.assign(**{name: dyn[short] for name, short in aperiodic.items()}),
        "lab": pd.concat([before, labs]).assign(labname=lambda rows: rows["variable"].map(LABS)),
    }


def as_tables(tables, folder, seed=0):
    """Write tables with all columns of the distributed ones, rows in any order."""
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        names = HEADERS[name].split(",")
        if names[0] not in rows:
            rows = rows.assign(**{names[0]: np.arange(1, len(rows) + 1)})
        rows.reindex(columns=names).sample(frac=1, random_state=seed).to_csv(folder / f"{name}.csv.gz", index=False)
    return str(folder)


def test_eicu_agrees_with_what_the_tables_were_made_from(tmp_path, hourly, tables):
    s = sources.read(as_tables(tables, tmp_path / "eicu"), hours=169)
    dyn, sta = hourly
    index = {stay: i for i, stay in enumerate(sorted(sta["stay_id"]))}
    at = (dyn["stay_id"].map(index).to_numpy(), (dyn["time"].dt.total_seconds() // 3600).astype(int).to_numpy())
    pairs = {"heartrate": "hr", "temperature": "temp", "noninvasivemean": "map", "BUN": "bun", "Base Excess": "be"}
    for ours, theirs in pairs.items():
        np.testing.assert_allclose(s.channel(ours)[at], dyn[theirs], rtol=1e-6)
    np.testing.assert_array_equal(s.lengths, dyn.groupby("stay_id").size().sort_index())
    assert len(np.unique(s.subject)) == len(s) // 2
    assert np.nanmax(s.static_column("age")) <= 90
    other = sources.eicu(as_tables(tables, tmp_path / "other", seed=1), hours=169)  # the order of rows does not matter
    assert_alike(other, s)
    back = sources.eicu(str(written(s, tmp_path / "out")), hours=169)
    assert_alike(back, s)
    for name, header in HEADERS.items():
        with gzip.open(tmp_path / "out" / f"{name}.csv.gz", "rt") as file:
            assert file.readline().strip() == header
    some = sources.eicu(str(tmp_path / "out"), hours=24, labs="BUN, sodium")
    assert [column.name for column in some.schema.channels[-2:]] == ["BUN", "sodium"]
    assert some.length == 24


def test_bad_tables_of_eicu_are_named_counted_and_repaired(tmp_path, tables, caplog):
    whole = sources.eicu(as_tables(tables, tmp_path / "whole"))
    patient, periodic = tables["patient"], tables["vitalPeriodic"]
    stranger = periodic.tail(2).assign(patientunitstayid=7)
    for k, (change, counted) in enumerate(
        [
            ({"patient": pd.concat([patient, patient.head(1)])}, "1 stays that are there twice"),
            (
                {"patient": pd.concat([patient, patient.head(1).assign(patientunitstayid=7, unitdischargeoffset=-60)])},
                "1 stays that end before they begin (first: patientunitstayid 7)",
            ),
            (
                {"vitalPeriodic": pd.concat([periodic, stranger])},
                "2 rows of vitalPeriodic.csv.gz whose stay is not in patient (first: patientunitstayid 7)",
            ),
            (
                {"vitalPeriodic": pd.concat([periodic, periodic.head(1).assign(heartrate=-5)])},
                "1 values of heartrate below 0 (first: -5)",
            ),
        ]
    ):
        place = as_tables({**tables, **change}, tmp_path / str(k))
        repaired = assert_repaired(sources.eicu, None, place, caplog=caplog, counted=counted)
        assert repaired.subject.tolist() == whole.subject.tolist()
    hot = {"vitalPeriodic": periodic.assign(temperature=periodic["temperature"] * 1.8 + 32)}
    place = as_tables({**tables, **hot}, tmp_path / "hot")
    assert_repaired(sources.eicu, None, place, caplog=caplog, counted="values of temperature in °F instead of °C")
    lab = tables["lab"]
    molar = lab["labresult"].where(lab["labname"] != "creatinine", lab["labresult"] * 88.42)
    other = as_tables({**tables, "lab": lab.assign(labresult=molar)}, tmp_path / "molar")
    counted = "sequences whose creatinine is in µmol/L instead of mg/dL"
    converted = assert_repaired(sources.eicu, None, other, caplog=caplog, counted=counted)
    np.testing.assert_allclose(converted.values, whole.values, rtol=1e-5)
    keyed = periodic.assign(vitalperiodicid=np.arange(len(periodic)))
    place = as_tables({**tables, "vitalPeriodic": pd.concat([keyed, keyed.head(3)])}, tmp_path / "again")
    assert "3 rows repeat the vitalperiodicid of another" in refusal(sources.eicu, place, repair=True)


def test_broken_tables_of_eicu_are_refused(tmp_path, tables):
    folder = tmp_path / "eicu"
    as_tables(tables, folder)
    lab = (folder / "lab.csv.gz").read_bytes()
    (folder / "lab.csv.gz").write_bytes(lab[: len(lab) // 2])
    assert re.search(
        r"lab\.csv\.gz: cannot be read as eICU's table .*; fetch it again", refusal(sources.eicu, str(folder))
    )
    (folder / "lab.csv.gz").unlink()
    assert "no lab.csv.gz and no lab.csv" in refusal(sources.eicu, str(folder))
    (folder / "lab.csv").write_text("labid,patientunitstayid\n1,2\n")
    assert "lab.csv: cannot be read as eICU's table" in refusal(sources.eicu, str(folder))
    (folder / "lab.csv").write_bytes(gzip.decompress(lab))
    assert sources.eicu(str(folder)).length == 48
    assert "1 labs that no stay has in these hours (first: kreatinin)" in refusal(
        sources.eicu, str(folder), labs="kreatinin"
    )
    (folder / "patient.csv.gz").unlink()
    (folder / "patient.csv").write_text(HEADERS["patient"] + "\n")
    assert "patient.csv: has no rows" in refusal(sources.eicu, str(folder))
    assert "at most hours" in refusal(sources.eicu, str(folder), hours=1.0, step=2.0)


# All


def test_what_was_read_can_be_prepared_and_kept(tmp_path, challenge, sepsis, events, tables):
    places = [
        challenge,
        sepsis,
        cohort("los", "mimic_demo"),
        as_shards(events, tmp_path / "m"),
        as_tables(tables, tmp_path / "e"),
    ]
    for place in places:
        s = sources.read(str(place))
        assert s.schema.form in sources.FORMS
        assert s.schema.licence
        s = s.drop([c.name for j, c in enumerate(s.schema.channels) if np.isnan(s.values[:, :, j]).all()])
        fitted = Preparation.fit(s)
        back = fitted.decode(fitted.encode(s))
        assert (np.isnan(back.values) == np.isnan(s.values)).all()
        np.testing.assert_allclose(back.values, s.values, rtol=1e-3, atol=1e-3)
        frames.save(s, tmp_path / "kept.parquet")
        assert frames.load(tmp_path / "kept.parquet").digest() == s.digest()
        (tmp_path / "kept.parquet").unlink()


def test_faults_add_up_and_end_in_one_line(caplog):
    faults = Faults("somewhere", repair=False)
    faults.settle()
    faults.note(0, "rows of nothing")
    faults.note(2, "rows too many", "a")
    faults.note(3, "rows too many", "b")
    faults.note(1, "values in feet", mend="converts them")
    with pytest.raises(
        ValueError, match=re.escape("somewhere: 5 rows too many (first: a; b); 1 values in feet; repair=True")
    ):
        faults.settle()
    assert math.isnan(Faults("x", True).physical(np.array([np.inf]), Column("hr"))[0])
