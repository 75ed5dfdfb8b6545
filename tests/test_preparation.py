"""Law: whatever the data, `decode(encode(s))` is `s` (but for the names of subjects)."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.decomposition import PCA

from vitalsynth.normalisation import NORMALISERS
from vitalsynth.preparation import Preparation, choose
from vitalsynth.preparation.choice import spelled_out
from vitalsynth.sequences import Column, Encoded, Schema, Sequences

PLAIN = ["minmax", "standard", "quantile"]


@st.composite
def columns(draw, what):
    def column(j):
        kind = draw(st.sampled_from(["continuous", "binary", "categorical"]))
        categories = {
            "continuous": (),
            "binary": draw(st.sampled_from([(), ("F", "M")])),
            "categorical": ("a", "b", "c"),
        }
        return Column(f"{what}{j}", kind, categories=categories[kind])

    return tuple(column(j) for j in range(draw(st.integers(1 if what == "x" else 0, 4))))


@st.composite
def values_of(draw, column, shape):
    """One column, of any level and scale, constant at times, with gaps; at least one value is measured."""
    if column.kind == "continuous":
        level = draw(st.sampled_from([0.0, 1.0, -40.0, 1e4]))
        scale = draw(st.sampled_from([0.0, 1e-2, 1.0, 300.0]))
        unit = st.floats(-1, 1, width=32)
        out = level + scale * draw(arrays.arrays(np.float64, shape, elements=unit))
    else:
        most = 1 if column.kind == "binary" else 2
        out = draw(arrays.arrays(np.int64, shape, elements=st.integers(0, most))).astype(np.float64)
    gaps = draw(st.sampled_from(["none", "some", "most"]))
    if gaps != "none":
        observed = draw(arrays.arrays(np.bool_, shape, elements=st.booleans()))
        if gaps == "most":
            observed &= draw(arrays.arrays(np.bool_, shape, elements=st.booleans()))
        observed.flat[0] = True
        out = np.where(observed, out, np.nan)
    return out


@st.composite
def sequences(draw):
    n, length = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    schema = Schema(draw(columns("x")), draw(columns("s")))
    lengths = draw(arrays.arrays(np.int64, n, elements=st.integers(1, length)))
    lengths[0] = length
    if draw(st.booleans()):
        lengths[:] = length
    values = np.stack([draw(values_of(c, (n, length))) for c in schema.channels], axis=2)
    static = np.zeros((n, 0))
    if schema.statics:
        static = np.stack([draw(values_of(c, (n, 1)))[:, 0] for c in schema.statics], axis=1)
    return Sequences(values, schema, lengths, static)


@st.composite
def cases(draw):
    s = draw(sequences())
    by_name = {c.name: draw(st.sampled_from(sorted(NORMALISERS))) for c in s.schema.channels if c.kind == "continuous"}
    by_name |= {c.name: draw(st.sampled_from(PLAIN)) for c in s.schema.statics if c.kind == "continuous"}
    condition = [c.name for c in s.schema.statics if draw(st.booleans())]
    whiten, outline = draw(st.sampled_from([0.0, 1e-3, 0.5])), draw(st.integers(0, 3))
    return s, by_name, draw(st.permutations(condition)), whiten, outline


def assert_same(back, s):
    """Equal to float32 precision of each column's largest value; gaps, lengths and codes exactly."""
    np.testing.assert_array_equal(back.lengths, s.lengths)
    for ours, theirs, defined in (
        (back.values, s.values, s.schema.channels),
        (back.static, s.static, s.schema.statics),
    ):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        for j, column in enumerate(defined):
            size = np.nanmax(np.abs(theirs[..., j]))
            tolerance = 2e-5 * size if column.kind == "continuous" else 0
            np.testing.assert_allclose(ours[..., j], theirs[..., j], rtol=0, atol=tolerance, err_msg=column.name)


@given(cases())
def test_decode_undoes_encode(case):
    s, *asked = case
    preparation = Preparation.fit(s, *asked)
    encoded = preparation.encode(s)
    for part in (encoded.x, encoded.s, encoded.condition):
        assert torch.isfinite(part).all()
    assert_same(preparation.decode(encoded), s)


@given(cases())
def test_shape_describes_what_encode_returns(case):
    s, *asked = case
    preparation = Preparation.fit(s, *asked)
    encoded, shape = preparation.encode(s), preparation.shape
    assert encoded.x.shape == (len(s), shape.length, shape.channels)
    assert encoded.s.shape == (len(s), shape.statics)
    assert encoded.condition.shape == (len(s), shape.condition)
    for data, blocks in ((encoded.x, shape.x), (encoded.s, shape.s)):
        position = 0
        for block in blocks:
            columns = data[..., position : position + block.width]
            if block.kind != "continuous":
                assert ((columns == 0) | (columns == 1)).all()
            if block.gate is not None:
                assert (columns[data[..., block.gate] == 0] == 0).all()
            position += block.width


@given(cases())
def test_a_preparation_survives_json(case):
    s, *asked = case
    preparation = Preparation.fit(s, *asked)
    again = Preparation.from_json(json.loads(json.dumps(preparation.to_json(), allow_nan=False)))
    ours, theirs = again.encode(s), preparation.encode(s)
    assert (
        torch.equal(ours.x, theirs.x)
        and torch.equal(ours.s, theirs.s)
        and torch.equal(ours.condition, theirs.condition)
    )
    assert again.shape == preparation.shape


@pytest.mark.parametrize("kind", sorted(NORMALISERS))
def test_normalised_values_are_of_unit_scale(kind, rng):
    values = 120 + 30 * rng.standard_normal((200, 1)) + 5 * rng.standard_normal((200, 24))
    y, statics = NORMALISERS[kind].fit(values).encode(values)
    assert 0.2 < np.abs(y).max() < 6
    assert statics.shape == (200, NORMALISERS[kind].width)
    assert (np.abs(statics) < 6).all()


def test_local_takes_level_and_scale_out_of_each_sequence(rng):
    level, scale = 50 * rng.standard_normal((100, 1)), np.exp(rng.standard_normal((100, 1)))
    values = level + scale * rng.standard_normal((100, 500))
    y, statics = NORMALISERS["local"].fit(values).encode(values)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(y.std(axis=1), 1, rtol=1e-9)
    assert np.corrcoef(statics[:, 0], level[:, 0])[0, 1] > 0.99
    assert np.corrcoef(statics[:, 1], np.log(scale[:, 0]))[0, 1] > 0.99


def test_what_is_decoded_has_the_level_and_scale_that_its_statics_say(rng):
    s = Sequences(rng.normal(size=(40, 12, 1)), Schema((Column("x"),)))
    preparation = Preparation.fit(s, "local")
    encoded = preparation.encode(s)
    off = preparation.decode(Encoded(3 * encoded.x + 0.7, encoded.s, encoded.condition))
    np.testing.assert_allclose(off.values, s.values, atol=1e-5)


def test_whitened_channels_do_not_move_together_and_exact_sums_stay_exact(rng):
    a, b = rng.normal(size=(2, 300, 8, 1))
    s = Sequences(np.concatenate([a, a + 0.01 * b, 2 * a - b], axis=2), Schema(tuple(map(Column, "abc"))))
    preparation = Preparation.fit(s, "standard", whiten=1e-9)
    x = preparation.encode(s).x.double()
    assert x.shape[2] == preparation.shape.channels == 2  # the third is a sum of the others
    np.testing.assert_allclose(torch.cov(x.flatten(0, 1).T).numpy(), np.eye(2), atol=0.02)
    noise = Encoded(torch.randn(5, 8, 2), torch.zeros(5, 0), torch.zeros(5, 0))
    v = preparation.decode(noise).values
    c = 2 * v[..., 0] - (v[..., 1] - v[..., 0]) / 0.01
    assert np.abs((c - c.mean()) - (v[..., 2] - v[..., 2].mean())).max() < 0.02 * v[..., 2].std()


@pytest.mark.parametrize("floor", [-0.1, 1.5])
def test_a_floor_out_of_range_is_refused(floor, rng):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {floor}"):
        Preparation.fit(Sequences(rng.normal(size=(5, 4, 1)), Schema((Column("a"),))), whiten=floor)


def test_the_floor_keeps_what_is_nearly_nothing_small(rng):
    a, b = rng.normal(size=(2, 300, 8, 1))
    s = Sequences(np.concatenate([a, a + 1e-3 * b], axis=2), Schema(tuple(map(Column, "ab"))))
    deviations = Preparation.fit(s, "standard", whiten=1e-2).encode(s).x.std(dim=(0, 1))
    assert deviations[0] == pytest.approx(1, abs=0.02) and deviations[1] < 0.01


def test_an_outline_is_principal_components_of_whole_sequences_and_decoding_does_not_read_it(rng):
    values = rng.normal(size=(200, 1, 2)) * np.linspace(-1, 3, 9)[:, None] + rng.normal(size=(200, 9, 2))
    gaps = np.where(rng.random((200, 9, 1)) < 0.1, np.nan, rng.normal(size=(200, 9, 1)))
    s = Sequences(np.concatenate([gaps, values], axis=2), Schema(tuple(map(Column, "abc"))))
    encoded, plain = (Preparation.fit(s, "standard", outline=k).encode(s) for k in (3, 0))
    assert torch.equal(encoded.x, plain.x) and plain.s.shape == (200, 0)
    theirs = PCA(3, whiten=True).fit_transform(
        encoded.x[..., 1:3].flatten(1).double().numpy()
    )  # its variance is of n - 1
    signs = np.sign((encoded.s.numpy() * theirs).sum(axis=0))
    np.testing.assert_allclose(encoded.s.numpy() * signs, theirs * np.sqrt(200 / 199), atol=2e-3)
    preparation = Preparation.fit(s, "standard", outline=3)
    assert [block.outline for block in preparation.shape.s] == [True] * 3
    assert_same(preparation.decode(encoded.replaced([encoded.x, torch.randn(200, 3)])), s)


@pytest.mark.parametrize(("gaps", "lengths"), [(np.nan, 4), (1.0, 3)])
def test_what_has_gaps_or_ends_has_no_outline(gaps, lengths, rng):
    values = rng.normal(size=(20, 4, 1))
    values[0, 1] = gaps
    s = Sequences(values, Schema((Column("a"),)), np.array([lengths] + [4] * 19))
    assert Preparation.fit(s, outline=3).outline is None


@pytest.mark.parametrize(("n", "alike", "components"), [(3, False, 2), (1, False, 0), (5, True, 0)])
def test_an_outline_has_no_more_components_than_the_data(n, alike, components, rng):
    values = rng.normal(size=(n, 4, 1))
    s = Sequences(values[:1].repeat(n, axis=0) if alike else values, Schema((Column("a"),)))
    assert Preparation.fit(s, outline=8).encode(s).s.shape == (n, components)


def test_an_outline_below_nothing_is_refused(rng):
    with pytest.raises(ValueError, match="0 components or more, got -1"):
        Preparation.fit(Sequences(rng.normal(size=(5, 4, 1)), Schema((Column("a"),))), outline=-1)


def test_normalisers_are_chosen_by_what_the_data_are(rng):
    level, noise = 5 * rng.normal(size=(200, 1)), rng.normal(size=(200, 12))
    gaps = np.where(rng.random((200, 12)) < 0.3, np.nan, level + noise)
    kinds = {
        "levels": level + noise,
        "scales": np.exp(rng.normal(size=(200, 1))) * noise,
        "gaps": gaps,
        "tails": rng.standard_t(3, size=(200, 12)),
        "plain": noise,
        "constant": np.ones((200, 12)),
        "alike": (noise - noise.mean(axis=1, keepdims=True)) / noise.std(axis=1, keepdims=True),
    }
    s = Sequences(np.stack(list(kinds.values()), axis=2), Schema(tuple(map(Column, kinds))))
    chosen, reasons = choose(s)
    expected = ["local", "local", "standard", "quantile", "standard", "standard", "local"]
    by_name = spelled_out(s.schema, chosen)
    assert [by_name[name] for name in kinds] == expected
    assert "plain, constant: standard (nothing calls for another)" in reasons and len(reasons) == len(kinds) - 1
    assert choose(s, scale_free=True)[0] == {"*": "standard", "alike": "local"}
    many = Schema(tuple(Column(f"c{k}") for k in range(30)))
    _, (reason,) = choose(Sequences(np.repeat(noise[..., None], 30, axis=2), many))
    assert reason.startswith("c0, c1,") and ", c11 and 18 more: standard" in reason
    assert "30% gaps" in reasons[2] or "29% gaps" in reasons[2] or "31% gaps" in reasons[2]
    assert_same(Preparation.fit(s, chosen).decode(Preparation.fit(s, chosen).encode(s)), s)


def test_integrated_by_hand():
    values = np.array([[np.nan, 10.0, np.nan, 13.0, 12.0]])
    normaliser = NORMALISERS["integrated"].fit(values)
    differences = np.array([0.0, 3.0, -1.0])
    y, _ = normaliser.encode(values)
    np.testing.assert_allclose(y[0, [1, 3, 4]], differences / differences.std())
    assert np.isnan(y[0, [0, 2]]).all()


def test_quantile_of_a_skewed_column_is_normal(rng):
    values = np.exp(rng.standard_normal((1, 20_000)))
    y, _ = NORMALISERS["quantile"].fit(values).encode(values)
    np.testing.assert_allclose(np.quantile(y, [0.025, 0.5, 0.975]), [-1.96, 0, 1.96], atol=0.03)


def test_decoding_keeps_to_resolution_and_bounds(rng):
    schema = Schema((Column("spo2", resolution=0.5, low=0, high=100),))
    s = Sequences(np.round(rng.uniform(90, 100, (30, 5, 1)) * 2) / 2, schema)
    preparation = Preparation.fit(s)
    np.testing.assert_array_equal(preparation.decode(preparation.encode(s)).values, s.values)
    wild = Encoded(5 * torch.randn(30, 5, 1), torch.zeros(30, 0), torch.zeros(30, 0))
    decoded = preparation.decode(wild).values
    assert decoded.max() == 100 and np.all(decoded * 2 == np.round(decoded * 2))


def test_generated_numbers_can_be_kept_within_what_training_saw(rng):
    s = Sequences(
        rng.uniform(3, 15, (30, 5, 1)), Schema((Column("gcs"),), (Column("age"),)), static=rng.uniform(20, 80, (30, 1))
    )
    preparation = Preparation.fit(s)
    wild = Encoded(5 * torch.randn(30, 5, 1), 5 * torch.randn(30, 1), torch.zeros(30, 0))
    assert preparation.decode(wild).values.max() > 15
    kept = preparation.decode(wild, within_extremes=True)
    assert (kept.values.min(), kept.values.max()) == (s.values.min(), s.values.max())
    assert (kept.static.min(), kept.static.max()) == (s.static.min(), s.static.max())


@pytest.fixture
def conditioned(rng):
    died = np.repeat([0.0, 1.0], [75, 25])
    sex = rng.integers(0, 2, 100).astype(float)
    sex[died == 1] = 1
    static = np.stack([died, sex, rng.uniform(20, 90, 100)], axis=1)
    schema = Schema(
        (Column("hr"),), (Column("died", "binary"), Column("sex", "binary", categories=("F", "M")), Column("age"))
    )
    return Preparation.fit(
        Sequences(rng.standard_normal((100, 4, 1)), schema, static=static), condition=["died", "sex", "age"]
    )


def test_conditions_are_drawn_as_in_training(conditioned):
    drawn = conditioned.conditions(4000, seed=1)
    assert abs(drawn[:, 0].mean() - 0.25) < 0.03
    assert (drawn[drawn[:, 0] == 1, 1] == 1).all()
    assert len(torch.unique(drawn[:, 2])) <= 20


def test_conditions_can_be_fixed(conditioned, caplog):
    drawn = conditioned.conditions(50, {"died": 1, "age": 80.0})
    assert (drawn[:, 0] == 1).all() and (drawn[:, 1] == 1).all() and len(torch.unique(drawn[:, 2])) == 1
    assert not caplog.records
    assert (conditioned.conditions(50, {"died": 1, "sex": "F"})[:, 1] == 0).all()
    assert "none of the 100 training sequences has died=1, sex=F together" in caplog.text


def test_a_fixed_number_draws_the_others_with_it(rng):
    """Where the old die and the young do not, conditions with age 80 are deaths."""
    old = np.arange(200) % 2
    static = np.stack([old, np.where(old, 80.0, 20.0) + rng.uniform(-5, 5, 200)], axis=1)
    s = Sequences(
        rng.standard_normal((200, 3, 1)),
        Schema((Column("hr"),), (Column("died", "binary"), Column("age"))),
        static=static,
    )
    preparation = Preparation.fit(s, condition=["died", "age"])
    assert (preparation.conditions(100, {"age": 80})[:, 0] == 1).all()
    assert (preparation.conditions(100, {"age": 20})[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("given_columns", "message"),
    [
        ({"age": 500}, "outside of what training saw"),
        ({"age": float("nan")}, "outside of"),
        ({"dyed": 1}, "did you mean 'died'"),
        ({"sex": "X"}, "no category 'X'"),
        ({"age": "old"}, "is a number"),
    ],
)
def test_wrong_conditions_are_named(conditioned, given_columns, message):
    with pytest.raises(ValueError, match=message):
        conditioned.conditions(3, given_columns)


def test_fit_names_what_is_wrong(rng):
    schema = Schema((Column("hr"), Column("temp")), (Column("age"),))
    values = rng.standard_normal((5, 3, 2))
    good = Sequences(values, schema, static=np.ones((5, 1)))
    with pytest.raises(ValueError, match="no normalisation 'standart'; did you mean 'standard'"):
        Preparation.fit(good, "standart")
    with pytest.raises(ValueError, match="no column 'hrr'"):
        Preparation.fit(good, {"hrr": "local"})
    with pytest.raises(ValueError, match="'age' cannot be normalised by 'local'"):
        Preparation.fit(good, {"age": "local"})
    with pytest.raises(ValueError, match="no static column 'aeg'; did you mean 'age'"):
        Preparation.fit(good, condition=["aeg"])
    values[:, :, 1] = np.nan
    with pytest.raises(ValueError, match="'temp' has no measured value"):
        Preparation.fit(Sequences(values, schema, static=np.ones((5, 1))))
