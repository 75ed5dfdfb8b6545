"""Commands as processes of their own, without the seconds that each needs to import PyTorch: forks of one that has it.

They have the environment of the first, not one that a test has changed meanwhile.
"""

import multiprocessing
import sys

from vitalsynth.cli import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["vitalsynth.commands.interface", "vitalsynth.commands.train", "torch._dynamo"])


def start(*words):
    """Start a command, and return its process."""
    process = FORKS.Process(target=_ended, args=([*map(str, words)],))
    process.start()
    return process


def run(*words):
    """Wait until a command has done its work."""
    process = start(*words)
    process.join()
    assert process.exitcode == 0, words


def _ended(words):
    sys.exit(main(words))
