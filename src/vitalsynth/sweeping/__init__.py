"""Sweeps: the same command with other settings, many times, by any number of workers, and what came of it."""
