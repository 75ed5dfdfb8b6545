"""A watchman of runs: it looks at their folders and processes, tells, and stops what goes beyond its limits.

`standing` says how a run stands by its folder, `processes` which process is its own, `watchman` what is to be done, and
`telling` puts it into letters, with pictures that `drawing` makes in a process of its own.
"""
