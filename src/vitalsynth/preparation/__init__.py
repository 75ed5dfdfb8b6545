"""`Preparation`: from what the user has to what networks see, and back without loss.

    Sequences --encode--> Encoded(x, s, condition) --decode--> Sequences

`x` holds the channels, then a 0/1 mask for every channel with gaps (so that a generator also learns *when* something is
measured), then a 0/1 alive channel if lengths differ. `s` holds the static columns that are generated and what a
normaliser took out of each sequence; `condition` the static columns that are given. Whatever was not measured is 0.
"""

from . import fixing
from .choice import choose
from .part import Part
from .preparation import Preparation

__all__ = ["Part", "Preparation", "choose", "fixing"]
