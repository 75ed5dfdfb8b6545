"""Copies of runs elsewhere, over ssh (rsync) or in any remote of rclone, that are valid runs at every moment.

rsync and rclone transfer; what is here decides what, in which order, and whether it arrived. The files of a run arrive
in a hidden folder in it, are compared with the digests of what was to be copied, and are renamed into place under the
run's lock: first the log, then checkpoints, each as a whole, and at last, if the run is new there, run.json, without
which nothing is taken for a run. `places` knows folders, ssh and rclone, `copying` what goes where, `agent` is what is
done to a folder, here or at the other end.
"""

from __future__ import annotations

from .checking import check
from .copying import Copy, carry, plan
from .places import Folder, Place, Remote, Unreachable, open_place

__all__ = ["Copy", "Folder", "Place", "Remote", "Unreachable", "carry", "check", "open_place", "plan"]
