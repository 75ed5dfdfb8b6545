"""The commands, each a plain function that Python and notebooks call with the same arguments."""
