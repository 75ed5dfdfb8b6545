"""Long tables, a row per (id, time), to `Sequences` and back; and the files that hold them.

    from_frame(frame) -> Sequences          to_frame(sequences) -> frame
    load(path)        -> Sequences          save(sequences, path)          writer(path, schema).write(sequences)

Static columns are those constant within every id. A row that is not there is a step at which nothing was measured.
"""

from .columns import column_error, infer
from .files import Writer, load, read_parquet, save, saved_schema, writer, written
from .long import cells_of, free_name, from_frame, prefixed, to_frame
from .unreadable import LINE

__all__ = [
    "LINE",
    "Writer",
    "cells_of",
    "column_error",
    "free_name",
    "from_frame",
    "infer",
    "load",
    "prefixed",
    "read_parquet",
    "save",
    "saved_schema",
    "to_frame",
    "writer",
    "written",
]
