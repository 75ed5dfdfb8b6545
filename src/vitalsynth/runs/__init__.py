"""Runs: folders, anywhere, that can be read without running anything.

run.json           written once: what was asked, seed, shape, parent, versions, git commit
preparation.json   fitted preparation (numbers, no code)
log.jsonl          a row a step: losses, penalties, gradient norms: only what a rerun reproduces
clock.jsonl        seconds, memory, host, how it failed: what a rerun does not reproduce
checkpoints/       see `checkpoints`
evaluation.jsonl   a row a score
privacy.jsonl      a row a figure of an attack, and a verdict
samples/           cohorts drawn from it
report.html

A line of training may lie in several runs: one is trained, carried on, branched off at a checkpoint, carried on again.
`record` is what run.json says, `finding` finds runs. `lineage` finds out how they hang together, `merging` makes one of
them, `pruning` drops checkpoints, `archive` makes one file of a run.
"""

from __future__ import annotations

from .finding import below, destinations, find
from .jsonl import append, last, rows
from .record import FORMAT
from .run import Run, cut, log_state, making, part, refuse_existing

__all__ = [
    "FORMAT",
    "Run",
    "append",
    "below",
    "cut",
    "destinations",
    "find",
    "last",
    "log_state",
    "making",
    "part",
    "refuse_existing",
    "rows",
]
