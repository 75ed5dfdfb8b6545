"""What a progress line says."""

import pytest

from vitalsynth.commands.progress import _pace


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.0, "0.0/s"), (1234.56, "1234.6/s"), (1.0, "1.0/s"), (0.04, "25.0 s each"), (0.5, "2.0 s each")],
)
def test_what_is_slow_says_how_long_each_takes(rate, said):
    assert _pace(rate) == said
