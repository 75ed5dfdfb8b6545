"""ECG: records of MIT-BIH become beats and windows, come back from WFDB and EDF, and every damage is named."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import wfdb
from scipy.signal import welch

from conftest import shared_data
from vitalsynth import frames, sources
from vitalsynth.sources.ecg.cuts import AAMI
from vitalsynth.sources.ecg.records import MITDB, _labels


@pytest.fixture(scope="module")
def mitdb():
    return shared_data("mitdb")


@pytest.fixture
def two(mitdb, tmp_path):
    """A folder of two real records that may be damaged."""
    for name in ("100", "106"):
        for suffix in (".hea", ".dat", ".atr"):
            shutil.copyfile(mitdb / f"{name}{suffix}", tmp_path / f"{name}{suffix}")
    return tmp_path


def annotated(mitdb, record):
    """Return the beats of a record straight from its file."""
    read = wfdb.rdann(str(mitdb / record), "atr")
    beat = np.isin(read.symbol, list(AAMI))
    return read.sample[beat], np.array(read.symbol)[beat]


def labels(s, name):
    column = s.schema.statics[s.schema.static_index(name)]
    return np.array(column.categories)[s.static_column(name).astype(int)]


def write(s, path):
    with sources.writer(path, s.schema) as out:
        out.write(s)
    return path


# Reading


def test_beats_are_cut_around_their_r_peaks(mitdb):
    s = sources.ecg(str(mitdb), records="100", leads="V5,MLII", labels="aami,beat,rhythm")
    at, symbols = annotated(mitdb, "100")
    raw = wfdb.rdrecord(str(mitdb / "100")).p_signal
    whole = (at >= 90) & (at + 144 <= len(raw))
    assert s.values.shape == (whole.sum(), 234, 2)
    for j in (0, 500, -1):
        r = at[whole][j]
        np.testing.assert_allclose(s.values[j], raw[r - 90 : r + 144, ::-1], atol=1e-6)
    np.testing.assert_array_equal(labels(s, "beat"), symbols[whole])
    np.testing.assert_array_equal(labels(s, "aami"), [AAMI[symbol] for symbol in symbols[whole]])
    np.testing.assert_allclose(s.static_column("rr_before")[1:], np.diff(at[whole]) / 360, atol=1e-9)
    np.testing.assert_array_equal(s.static_column("rr_before")[1:], s.static_column("rr_after")[:-1])
    assert set(labels(s, "rhythm")) == {"N"}
    v5, _ = s.schema.channels
    assert (v5.unit, v5.resolution, v5.low, v5.high) == ("mV", 0.005, -5.12, 5.115)
    assert (s.schema.start, s.schema.step_unit, s.schema.form) == (-0.25, "s", "wfdb")
    assert "Moody and Mark" in s.schema.licence


def test_the_classes_are_those_of_de_chazal_et_al():
    """Their Table I, with the symbols of the MIT-BIH database."""
    table = {"N": "N L R e j", "S": "A a J S", "V": "V E", "F": "F", "Q": "/ f Q"}
    assert {symbol: name for name, row in table.items() for symbol in row.split()}.items() <= AAMI.items()
    assert len(MITDB) == 48


def test_the_counts_of_classes_are_those_of_the_annotations(mitdb):
    s = sources.ecg(str(mitdb), records="207,208", labels="aami,rhythm")
    expected = [AAMI[symbol] for record in ("207", "208") for symbol in annotated(mitdb, record)[1]]
    counts = pd.Series(labels(s, "aami")).value_counts()
    assert (pd.Series(expected).value_counts() - counts).between(0, 2).all()  # those at the ends do not fit
    assert np.nanmax(s.static_column("rr_before")) < 4  # the flutter of record 207 lasts longer, and is no pause
    assert {"N", "VT", "SVTA"} <= set(labels(s, "rhythm"))


def test_windows_have_the_rhythm_that_fills_most_of_them(mitdb):
    s = sources.ecg(str(mitdb), records="106", take="windows", seconds=5, overlap=2.5)
    assert s.values.shape == (2 * 361 - 1, 1800, 2)
    raw = wfdb.rdrecord(str(mitdb / "106")).p_signal[:, 0]
    np.testing.assert_allclose(s.values[3, :, 0], raw[2700:4500], atol=1e-6)
    read = wfdb.rdann(str(mitdb / "106"), "atr")
    changes = [(at, note.strip("\0")) for at, note in zip(read.sample, read.aux_note, strict=True) if note]
    for j in range(0, len(s), 50):
        steps = range(j * 900, j * 900 + 1800)
        now = [([("", "")] + [c for c in changes if c[0] <= at])[-1][1] for at in steps]
        assert f"({labels(s, 'rhythm')[j]}" == max(set(now), key=now.count)
    assert s.schema.start == 0


def test_resampling_is_anti_aliased_and_keeps_what_lies_below(mitdb):
    """At 30 Hz, all above 15 Hz must go, and not come back below; below 10 Hz all must stay."""
    settings = {"folder": str(mitdb), "records": "100", "take": "windows", "seconds": 600}
    fast, slow = sources.ecg(**settings), sources.ecg(**settings, rate=30)
    assert slow.length * 12 == fast.length
    (f, p), (g, q) = (
        welch(s.values[0, :, 0], 1 / s.schema.step, nperseg=int(20 / s.schema.step)) for s in (fast, slow)
    )
    kept = (f > 0.5) & (f < 10)
    np.testing.assert_allclose(np.log(q[(g > 0.5) & (g < 10)]), np.log(p[kept]), atol=0.1)
    shifted = [
        np.corrcoef(np.roll(fast.values[0, :, 0], shift)[::12], slow.values[0, :, 0])[0, 1] for shift in (-4, 0, 4)
    ]
    assert np.argmax(shifted) == 1  # nothing has moved, by a third of a sample at most


def test_the_band_pass_has_no_phase_and_halves_at_its_edges(tmp_path):
    t = np.arange(3600 * 2) / 360
    waves = np.stack([np.sin(2 * np.pi * f * t) for f in (0.05, 10.0, 40.0)], axis=1)
    wfdb.wrsamp("w", 360, ["mV"] * 3, ["slow", "mid", "edge"], waves, fmt=["16"] * 3, write_dir=str(tmp_path))
    s = sources.ecg(str(tmp_path), take="windows", bandpass="0.5-40", seconds=20)
    middle = s.values[0, 1800:5400]
    np.testing.assert_allclose(middle[:, 1], waves[1800:5400, 1], atol=0.02)
    np.testing.assert_allclose(middle[:, 2], waves[1800:5400, 2] / 2, atol=0.02)
    assert np.abs(middle[:, 0]).max() < 0.05
    assert s.schema.statics == ()  # nothing is annotated


def test_gaps_units_and_rates_of_a_records_own(tmp_path):
    """A lead in µV at twice the rate of another in mV, with a gap."""
    t = np.arange(2000) / 200
    slow = np.sin(t)
    slow[900:1000] = np.nan
    fast = 1000 * np.sin(np.arange(4000) / 400)
    wfdb.wrsamp(
        "a",
        200,
        ["mV", "uV"],
        ["I", "II"],
        e_p_signal=[slow, fast],
        samps_per_frame=[1, 2],
        fmt=["16", "16"],
        adc_gain=[1000.0, 1.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    s = sources.ecg(str(tmp_path), take="windows", seconds=10, rate=100)
    assert [c.resolution for c in s.schema.channels] == [0.001, 0.001]
    np.testing.assert_allclose(s.values[0, :, 1], np.sin(np.arange(1000) / 100), atol=0.02)
    gaps = np.isnan(s.values[0, :, 0])
    assert gaps[450:500].all() and gaps.sum() == 50
    with pytest.raises(ValueError, match="leads are recorded at 200, 400 Hz; give one rate"):
        sources.ecg(str(tmp_path), take="windows")


def test_patients_are_kept_apart(two):
    for old, new in (("100", "201"), ("106", "202")):
        for suffix in (".hea", ".dat", ".atr"):
            text = (two / f"{old}{suffix}").read_bytes()
            (two / f"{new}{suffix}").write_bytes(text.replace(old.encode(), new.encode()) if suffix == ".hea" else text)
    s = sources.ecg(str(two))
    assert set(s.subject) == {"100", "106", "201"}  # 201 and 202 are one patient
    rest, held_out = s.split(0.4)
    assert not set(rest.subject) & set(held_out.subject)
    assert set(sources.ecg(str(two), patients="100+106").subject) == {"100", "201", "202"}
    with pytest.raises(ValueError, match="patients names a record '107' that is not read; did you mean '106'"):
        sources.ecg(str(two), patients="100+107")


def test_paced_records_are_left_out_on_request(two):
    wfdb.wrann("106", "atr", np.array([500, 900]), ["N", "/"], fs=360, write_dir=str(two))
    assert set(sources.ecg(str(two)).subject) == {"100", "106"}
    assert set(sources.ecg(str(two), paced=False).subject) == {"100"}


# Damage


def overwrite(path, start, content):
    whole = bytearray(path.read_bytes())
    whole[start : start + len(content)] = content
    path.write_bytes(whole)


def replace_in(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def annotate(folder, samples, symbols):
    wfdb.wrann("100", "atr", np.array(samples), symbols, fs=360, write_dir=str(folder))


DAMAGE = {
    "checksum": (
        lambda f: overwrite(f / "100.dat", 3000, b"\x07"),
        r"100: checksum of lead MLII is 43405, its samples give \d+",
    ),
    "header": (lambda f: (f / "100.hea").write_text("100 2 360 650000\n"), "100: its header lists 0 of 2 signals"),
    "no header": (lambda f: (f / "100.hea").write_text("what\n"), r"100: its header cannot be read \("),
    "rate": (lambda f: replace_in(f / "100.hea", "2 360 ", "2 0 "), "100: its header says 0 samples a second"),
    "format": (lambda f: replace_in(f / "100.hea", "dat 212", "dat 999"), r"100: its samples cannot be read \('999'"),
    "no samples": (lambda f: (f / "100.dat").unlink(), r"100: no file 100\.dat"),
    "truncated": (
        lambda f: (f / "100.dat").write_bytes((f / "100.dat").read_bytes()[:5000]),
        r"100: 100\.dat has 5,000 of 1,950,000 bytes: it is truncated",
    ),
    "no annotations": (lambda f: (f / "100.atr").unlink(), r"100: no annotations 100\.atr"),
    "torn annotations": (
        lambda f: (f / "100.atr").write_bytes((f / "100.atr").read_bytes()[:1001]),
        r"100: its annotations cannot be read \(",
    ),
    "lead": (
        lambda f: replace_in(f / "100.hea", "MLII", "V3"),
        "100: no lead 'MLII'; ",
    ),
    "unit": (
        lambda f: replace_in(f / "100.hea", "dat 212 200 ", "dat 212 200/mmHg "),
        "100: lead MLII is in 'mmHg'; allowed are V, mV, uV",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_named_and_refused_or_left_out(two, damage, caplog):
    apply, message = DAMAGE[damage]
    apply(two)
    with pytest.raises(ValueError, match=rf"1 of 2 records are wrong \(first: {message}") as caught:
        sources.ecg(str(two), leads="MLII")
    assert "\n" not in str(caught.value)
    s = sources.ecg(str(two), leads="MLII", repair=True)
    assert set(s.subject) == {"106"}
    assert re.search(rf"1 of 2 records are wrong \(first: {message}", caplog.text)


def test_impossible_annotations_are_counted_and_left_out_on_request(two, caplog):
    annotate(two, [500, 900, 900, 1500, 650_000, 700_000], ["N", "N", "V", "V", "N", "N"])
    message = "100: 2 annotations are outside the record, 1 annotations are of a beat that is annotated already"
    with pytest.raises(ValueError, match=message):
        sources.ecg(str(two))
    s = sources.ecg(str(two), repair=True)
    assert message in caplog.text
    s = s.take(s.subject == "100")
    assert labels(s, "aami").tolist() == ["N", "N", "V"]
    np.testing.assert_allclose(s.static_column("rr_before")[1:], [400 / 360, 600 / 360], atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"records": "100,107,999"}, r"2 of 3 records are not there: 107, 999; .* did you mean '106'"),
        ({"records": "100,106,100"}, "1 records are named twice: 100"),
        ({"leads": "V9"}, "no record has a lead 'V9'; there are: MLII in 2, V5 in 1, V1 in 1"),
        ({"rate": 0.0}, "rate must be greater than 0"),
        ({"bandpass": "0.5-400"}, "bandpass is '0.5-400'; between 0 and 180 Hz"),
        ({"bandpass": "5"}, "bandpass is '5'; give two frequencies in Hz, such as 0.5-40"),
        ({"bandpass": "0.5-60", "rate": 100.0}, "between 0 and 50 Hz"),
        ({"labels": "rythm"}, "no label 'rythm' of beats; allowed are aami, beat, rhythm"),
        ({"labels": "aami", "take": "windows"}, "no label 'aami' of windows; allowed are rhythm"),
        ({"before": 0.0}, "before and after must be at least one sample"),
        ({"take": "windows", "overlap": 10.0}, "seconds must be more than overlap"),
        ({"take": "windows", "overlap": -1.0}, "overlap at least 0"),
        ({"take": "windows", "seconds": 4000.0}, "2 records hold no windows of that length"),
        ({"annotations": "qrs"}, r"2 of 2 records are wrong \(first: 100: no annotations 100.qrs; 106: no annotations"),
    ],
)
def test_wrong_settings_are_named(two, settings, message):
    with pytest.raises(ValueError, match=message):
        sources.ecg(str(two), **settings)


def test_wrong_words_and_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="take is 'beat'; allowed are beats, windows"):
        _labels("", "beat")
    with pytest.raises(ValueError, match=r"no such folder; give --source\.folder, or set VITALSYNTH_DATA"):
        sources.ecg(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="no WFDB record"):
        sources.ecg(str(tmp_path))


def test_without_the_extra_the_command_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"ECG files need wfdb: pip install 'vitalsynth\[ecg\]'"):
        sources.ecg()


# Writing


def test_beats_come_back_from_wfdb_records(mitdb, tmp_path):
    s = sources.ecg(str(mitdb), records="208", labels="beat,rhythm", rate=128)
    folder = write(s, tmp_path / "out")
    assert (folder / "RECORDS").read_text().split() == ["s0000000", "s0001000", "s0002000"]
    record = wfdb.rdrecord(str(folder / "s0001000"), physical=False)
    assert [record.fs, record.units, record.adc_gain] == [128, ["mV"] * 2, [200.0] * 2]
    assert record.calc_checksum() == [stated % 65536 for stated in record.checksum]
    length, before = s.length, 32
    beats = wfdb.rdann(str(folder / "s0001000"), "atr")
    peaks = beats.sample[np.array(beats.symbol) != "+"]
    np.testing.assert_array_equal(peaks, before + length * np.arange(1000))
    back = sources.ecg(str(folder), labels="beat,rhythm")
    np.testing.assert_array_equal(back.values, s.values)
    np.testing.assert_array_equal(labels(back, "beat"), labels(s, "beat"))
    np.testing.assert_array_equal(labels(back, "rhythm"), labels(s, "rhythm"))
    statics = pd.read_csv(folder / "statics.csv", dtype={"beat": str}, keep_default_na=False)
    np.testing.assert_array_equal(statics["beat"], labels(s, "beat"))
    rr = pd.to_numeric(statics["rr_before"])
    np.testing.assert_allclose(rr[1:], s.static_column("rr_before")[1:], atol=1e-9)


def test_windows_come_back_from_wfdb_records(mitdb, tmp_path):
    s = sources.ecg(str(mitdb), records="106", take="windows", rate=100).take(slice(0, 30))
    folder = write(s, tmp_path / "out")
    back = sources.ecg(str(folder), take="windows")
    np.testing.assert_array_equal(back.values, s.values)
    np.testing.assert_array_equal(labels(back, "rhythm"), labels(s, "rhythm"))
    assert len(set(back.subject)) == 30


def test_gaps_come_back_and_what_does_not_fit_is_refused(mitdb, tmp_path):
    s = sources.ecg(str(mitdb), records="100", take="windows").take(slice(0, 2))
    s.values[0, 5:9] = np.nan
    np.testing.assert_array_equal(sources.ecg(str(write(s, tmp_path / "out")), take="windows").values, s.values)
    with pytest.raises(ValueError, match="EDF has no sign for what was not measured, and 8 values were not"):
        write(s, tmp_path / "out.edf")
    s.values[1, 7, 1] = 1e5
    with pytest.raises(ValueError, match="1 values of V5 do not fit into 16 bits"):
        write(s, tmp_path / "more")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_long_table_counts_from_the_r_peak(mitdb, tmp_path):
    s = sources.ecg(str(mitdb), records="100", leads="MLII").take(slice(0, 20))
    frame = pd.read_csv(write(s, tmp_path / "beats.csv"))
    assert frame["time"].min() == -0.25
    back = frames.from_frame(frame, schema=s.schema)
    np.testing.assert_allclose(back.values, s.values, atol=1e-6)


def read_edf(path):
    """Read EDF by its specification alone (Kemp et al. 1992): the signals that are no annotations, in their unit."""
    content = path.read_bytes()
    count, blocks = int(content[252:256]), int(content[236:244])
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    starts = 256 + count * np.concatenate([[0], np.cumsum(widths)])

    def field(k):
        places = [starts[k] + j * widths[k] for j in range(count)]
        return [content[at : at + widths[k]].decode("ascii").strip() for at in places]

    names, units, sizes = field(0), field(2), np.array(field(8), int)
    low, high, least, most = (np.array(field(k), float) for k in (3, 4, 5, 6))
    data = np.frombuffer(content, "<i2", offset=int(content[184:192])).reshape(blocks, sizes.sum())
    parts = np.split(data, np.cumsum(sizes)[:-1], axis=1)
    gain = (high - low) / (most - least)
    return {
        names[j]: (units[j], low[j] + (parts[j].ravel().astype(float) - least[j]) * gain[j])
        for j in range(count)
        if names[j] != "EDF Annotations"
    }


@pytest.mark.parametrize("take", ["beats", "windows"])
def test_edf_is_read_by_its_specification_and_by_a_reader(mitdb, tmp_path, take):
    import pyedflib

    s = sources.ecg(str(mitdb), records="208", take=take, rate=128, seconds=2.5).take(slice(0, 70))
    path = tmp_path / "out.edf"
    with sources.writer(path, s.schema) as out:
        for first in range(0, 70, 32):
            out.write(s.take(slice(first, first + 32)))
    for name, values in zip(("ECG MLII", "ECG V1"), s.values.reshape(-1, 2).T, strict=True):
        unit, signal = read_edf(path)[name]
        assert unit == "mV"
        assert len(signal) == -(-len(values) // 128) * 128
        np.testing.assert_allclose(signal[: len(values)], values, atol=1e-5)
    with pyedflib.EdfReader(str(path)) as file:
        assert file.getSampleFrequencies().tolist() == [128, 128]
        onset, duration, text = file.readAnnotations()
    column = "aami" if take == "beats" else "rhythm"
    assert text.tolist() == labels(s, column).tolist()
    start = 32 / 128 if take == "beats" else 0.0
    np.testing.assert_allclose(onset, start + np.arange(70) * s.length / 128, atol=1e-4)
    assert take == "beats" or (duration == 2.5).all()


def test_edf_takes_ecg_only(tmp_path):
    with pytest.raises(ValueError, match="EDF holds voltages in steps; 'hr' is not in mV"):
        write(sources.icu_demo(), tmp_path / "out.edf")


def test_the_same_settings_write_the_same_bytes(mitdb, tmp_path):
    s = sources.ecg(str(mitdb), records="106", bandpass="0.5-40", rate=100)
    assert sources.ecg(str(mitdb), records="106", bandpass="0.5-40", rate=100).digest() == s.digest()
    part = s.take(slice(0, 40))
    for name in ("a", "b"):
        write(part, tmp_path / name)
        write(part, tmp_path / f"{name}.edf")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert (tmp_path / "a.edf").read_bytes() == (tmp_path / "b.edf").read_bytes()
