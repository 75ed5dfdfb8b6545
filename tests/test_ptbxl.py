"""The layout of PTB-XL, on a small folder of that layout: signals of MIT-BIH records, patients made up."""

import ast
import shutil

import numpy as np
import pandas as pd
import pytest
import wfdb
from scipy.signal import resample_poly

from conftest import shared_data
from vitalsynth import sources

LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]  # as PTB-XL spells them
STATEMENTS = {"NORM": "NORM", "IMI": "MI", "NDT": "STTC", "CRBBB": "CD", "LVH": "HYP", "SR": None, "LVOLT": None}
CODES = [
    {"NORM": 100.0, "SR": 0.0},
    {"IMI": 15.0, "LVH": 100.0, "SR": 0.0},
    {"NDT": 100.0},
    {"CRBBB": 100.0, "IMI": 0.0, "LVOLT": 0.0},
    {"SR": 0.0},
]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Five ECGs of four patients: each lead is another ten seconds of a record of MIT-BIH."""
    folder = tmp_path_factory.mktemp("ptbxl")
    raw = wfdb.rdrecord(str(shared_data("mitdb") / "106")).p_signal[:, 0]
    rows = []
    for number, codes in enumerate(CODES, start=1):
        places = {}
        for rate, kind in ((100, "lr"), (500, "hr")):
            place = f"records{rate}/00000/{number:05d}_{kind}"
            cuts = [raw[3600 * (12 * number + j) :][:3600] for j in range(12)]
            signals = np.stack([resample_poly(cut, rate // 20, 18, padtype="line") for cut in cuts], axis=1)
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            settings = {"fmt": ["16"] * 12, "adc_gain": [1000.0] * 12, "baseline": [0] * 12}
            target = (folder / place).parent
            wfdb.wrsamp(f"{number:05d}_{kind}", rate, ["mV"] * 12, LEADS, signals, write_dir=str(target), **settings)
            places[f"filename_{kind}"] = place
        rows.append({"ecg_id": number, "patient_id": float(min(number, 4)), "scp_codes": str(codes)} | places)
    table = pd.DataFrame(rows).assign(
        age=[56.0, 300.0, np.nan, 19.0, 20.0], sex=[0, 1, 1, 0, 0], strat_fold=[1, 2, 10, 10, 10]
    )
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    diagnostic = [1.0 if name else np.nan for name in STATEMENTS.values()]
    meaning = {"diagnostic": diagnostic, "diagnostic_class": list(STATEMENTS.values())}
    pd.DataFrame(meaning, index=list(STATEMENTS)).to_csv(folder / "scp_statements.csv")
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "ptbxl")


def by_the_book(folder, kind):
    """Load signals and superclasses as users of PTB-XL do: straight from the tables, through wfdb."""
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    signals = np.stack([wfdb.rdsamp(str(folder / name))[0] for name in table[f"filename_{kind}"]])
    statements = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    statements = statements[statements.diagnostic == 1]
    classes = [
        sorted({statements.loc[code].diagnostic_class for code in ast.literal_eval(codes) if code in statements.index})
        for codes in table.scp_codes
    ]
    return table, signals, classes


def superclasses(s):
    names = ("NORM", "MI", "STTC", "CD", "HYP")
    return [sorted(name for name in names if s.static_column(name)[j]) for j in range(len(s))]


@pytest.mark.parametrize(("rate", "kind"), [(100, "lr"), (500, "hr")])
def test_it_is_read_as_its_users_read_it(original, rate, kind):
    s = sources.ptbxl(str(original), rate=rate)
    table, signals, classes = by_the_book(original, kind)
    np.testing.assert_allclose(s.values, signals, atol=1e-6)
    assert superclasses(s) == classes == [["NORM"], ["HYP", "MI"], ["STTC"], ["CD", "MI"], []]
    assert [c.name for c in s.schema.channels] == LEADS
    assert {(c.unit, c.resolution) for c in s.schema.channels} == {("mV", 0.001)}
    np.testing.assert_array_equal(s.static_column("age"), [56, 90, np.nan, 19, 20])
    np.testing.assert_array_equal(s.static_column("sex"), table["sex"])
    assert s.subject.tolist() == [1, 2, 3, 4, 4]
    assert (s.schema.form, s.schema.step) == ("ptbxl", 1 / rate)


def test_folds_and_leads_are_chosen(original):
    s = sources.ptbxl(str(original), folds="2,10", leads="V1,II")
    assert s.values.shape == (4, 1000, 2)
    np.testing.assert_array_equal(s.values, sources.ptbxl(str(original)).values[1:][..., [6, 1]])


@pytest.mark.parametrize("rate", [100, 500])
def test_what_is_written_is_read_by_the_book(original, tmp_path, rate):
    s = sources.ptbxl(str(original), rate=rate)
    with sources.writer(tmp_path / "out", s.schema) as out:
        out.write(s.take(slice(0, 2)))
        out.write(s.take(slice(2, 5)))
    table, signals, classes = by_the_book(tmp_path / "out", "lr" if rate == 100 else "hr")
    np.testing.assert_allclose(signals, s.values, atol=1e-6)
    assert classes == superclasses(s)
    np.testing.assert_array_equal(table["age"], [56, 300, np.nan, 19, 20])
    back = sources.ptbxl(str(tmp_path / "out"), rate=rate)
    np.testing.assert_array_equal(back.values, s.values)
    np.testing.assert_array_equal(back.static, s.static)
    assert back.schema == s.schema
    assert back.subject.tolist() == [1, 2, 3, 4, 5]


def test_columns_that_were_not_learned_are_empty(original, tmp_path):
    s = sources.ptbxl(str(original)).drop(["age", "sex", "MI"])
    with sources.writer(tmp_path / "out", s.schema) as out:
        out.write(s)
    table, _, classes = by_the_book(tmp_path / "out", "lr")
    assert table["age"].isna().all() and table["sex"].isna().all()
    assert classes == [["NORM"], ["HYP"], ["STTC"], ["CD"], []]
    assert np.isnan(sources.ptbxl(str(tmp_path / "out")).static_column("age")).all()


def change(column, number, value):
    def apply(folder):
        table = pd.read_csv(folder / "ptbxl_database.csv", dtype={column: object})
        table.loc[table["ecg_id"] == number, column] = value
        table.to_csv(folder / "ptbxl_database.csv", index=False)

    return apply


def tear(folder):
    file = folder / "records100/00000/00002_lr.dat"
    file.write_bytes(file.read_bytes()[:-10])


def flip(folder):
    file = folder / "records100/00000/00002_lr.dat"
    file.write_bytes(file.read_bytes()[:-2] + b"\x01\x02")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (tear, r"2: 00002_lr\.dat has 23,990 of 24,000 bytes: it is truncated"),
        (flip, "2: checksum of lead V6 is"),
        (change("filename_lr", 2, "records100/00000/00009_lr"), r"2: no file 00009_lr\.hea"),
        (change("filename_lr", 2, "records500/00000/00002_hr"), "2: it is recorded at 500 Hz, not 100"),
        (change("patient_id", 2, ""), "2: it has no patient_id"),
        (change("age", 2, "-3"), "2: age is -3; 0 to 89 and 300"),
        (change("sex", 2, "7"), "2: sex is 7; 0 .male. and 1"),
        (change("scp_codes", 2, "{'XYZ': 1.0, 'ABC': 0.0}"), r"2: 2 codes are not in scp_statements.csv: ABC, XYZ"),
        (change("scp_codes", 2, "NORM"), r"2: its row of ptbxl_database.csv cannot be read"),
    ],
)
def test_what_is_wrong_is_named_and_refused_or_left_out(folder, damage, message, caplog):
    damage(folder)
    with pytest.raises(ValueError, match=rf"1 of 5 records are wrong \(first: {message}"):
        sources.ptbxl(str(folder))
    assert len(sources.ptbxl(str(folder), repair=True)) == 4
    assert "1 of 5 records are wrong" in caplog.text


def test_wrong_tables_and_settings_are_named(folder):
    with pytest.raises(ValueError, match=r"no fold '3' in .*; there are 1, 2, 10"):
        sources.ptbxl(str(folder), folds="1,3")
    with pytest.raises(ValueError, match=r"5 of 5 records are wrong \(first: 1: no lead 'V9'"):
        sources.ptbxl(str(folder), leads="V9")
    table = pd.read_csv(folder / "ptbxl_database.csv")
    pd.concat([table, table[1:3]]).to_csv(folder / "ptbxl_database.csv", index=False)
    with pytest.raises(ValueError, match="2 ecg_id are there twice: 2, 3"):
        sources.ptbxl(str(folder))
    table.drop(columns="age").to_csv(folder / "ptbxl_database.csv", index=False)
    with pytest.raises(ValueError, match=r"ptbxl_database.csv: no column 'age'"):
        sources.ptbxl(str(folder))
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    (folder / "scp_statements.csv").unlink()
    with pytest.raises(ValueError, match=r"scp_statements.csv: no such file"):
        sources.ptbxl(str(folder))
