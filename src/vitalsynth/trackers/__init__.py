"""What a run folder holds, handed on to the programs in which people watch trainings.

`records` reads the folder alone: training knows nothing of it, and the log stays plain JSON lines. Each exporter is one
small module that imports its library when it is asked for.
"""

from __future__ import annotations

from .records import Asked, Exporter, Graph, Histogram, Numbers, Picture, Position, Record, records

__all__ = ["Asked", "Exporter", "Graph", "Histogram", "Numbers", "Picture", "Position", "Record", "records"]
