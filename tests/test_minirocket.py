"""MiniRocket is held to aeon's (features computed by aeon 1.6.0, in data/minirocket_aeon.npz) and to its definition."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from vitalsynth.evaluation.minirocket import MiniRocket, spread

AEON = Path(__file__).parent / "data" / "minirocket_aeon.npz"


@pytest.mark.parametrize(("name", "channels", "length"), [("one", 1, 30), ("three", 3, 41)])
def test_features_are_aeons(name, channels, length):
    """With the channels and biases that aeon drew (`MiniRocket(random_state=1)`), on normal noise of seed 5."""
    theirs = {key.removeprefix(f"{name}_"): value for key, value in np.load(AEON).items() if key.startswith(name)}
    x = np.random.default_rng(5).standard_normal((6, channels, length)).astype(np.float32)
    dilations, counts = spread(length, theirs["biases"].size // 84)
    assert (dilations, counts) == (theirs["dilations"].tolist(), theirs["counts"].tolist())
    channel_sets = np.split(theirs["channels"], len(dilations))
    biases = np.split(theirs["biases"], 84 * np.cumsum(counts)[:-1])
    ours = MiniRocket(tuple(dilations), tuple(channel_sets), tuple(b.reshape(84, -1) for b in biases))
    np.testing.assert_allclose(ours.transform(x.transpose(0, 2, 1)), theirs["features"], atol=1e-6)


def test_biases_are_quantiles_and_features_their_definition(rng):
    """Written out as loops; fitted to one sequence, so that its quantiles are known."""
    x = rng.standard_normal((1, 20, 2))
    fitted = MiniRocket.fit(x, 84 * 3, seed=3)
    got, position = fitted.transform(x)[0], 0
    golden = (1 + np.sqrt(5)) / 2
    for j, dilation in enumerate(fitted.dilations):
        for k, places in enumerate(combinations(range(9), 3)):
            z = np.zeros(20)
            for t in range(20):
                for i in range(9):
                    if 0 <= t + (i - 4) * dilation < 20:
                        seen = x[0, t + (i - 4) * dilation, fitted.channels[j][k]].sum()
                        z[t] += (2 if i in places else -1) * seen
            kept = z if (j + k) % 2 == 0 else z[4 * dilation : 20 - 4 * dilation]
            for bias in fitted.biases[j][k]:
                quantile = (position + 1) * golden % 1
                assert bias == pytest.approx(np.quantile(z, quantile), abs=1e-5)
                assert abs(got[position] - (kept > bias).mean()) <= 1.01 / len(kept)  # a tie with the bias may round
                position += 1
    assert position == len(got) == 252


def test_short_and_constant_sequences_and_few_features(rng):
    for length in (1, 3, 8, 9):
        x = rng.standard_normal((5, length, 11))
        fitted = MiniRocket.fit(x, 10)
        assert fitted.transform(x).shape == (5, 84)
        looked_at = fitted.channels[0].sum(axis=1)
        assert looked_at.min() == 1 and looked_at.max() <= 9
    assert spread(5000, 119)[0][-1] == 624
    assert sum(spread(5000, 119)[1]) == 119
    assert MiniRocket.fit(np.zeros((3, 12, 1)), 168).transform(np.zeros((2, 12, 1))).sum() == 0
