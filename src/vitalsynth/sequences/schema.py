"""What the columns are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from .words import nearest

Kind = Literal["continuous", "binary", "categorical"]
Label = str | int | float | bool


@dataclass(frozen=True)
class Column:
    """A variable: a channel that changes with time, or a static that belongs to the whole sequence.

    Args:
        name: As in the user's table.
        kind: `continuous` (a number), `binary` (0 or 1) or `categorical` (the index of a category).
        unit: As printed on axes, `mmHg`, or empty.
        categories: What the codes 0, 1, ... stand for. A binary column has two, or none if it is 0 and 1 itself.
        resolution: Recorded values lie in steps of this (0.5 for half degrees); None if they are not rounded.
        origin: A value from which the steps count.
        low: No value lies below (a saturation of 0 %); None if unbounded.
        high: No value lies above.
        key: What the files it came from call it, where that is not its name: a code, or table and item id in MIMIC.
    """

    name: str
    kind: Kind = "continuous"
    unit: str = ""
    categories: tuple[Label, ...] = ()
    resolution: float | None = None
    origin: float = 0.0
    low: float | None = None
    high: float | None = None
    key: str = ""

    def __post_init__(self) -> None:
        if self.kind == "categorical" and not self.categories:
            raise ValueError(f"column {self.name!r} is categorical but lists no categories")
        if self.kind == "binary" and len(self.categories) not in (0, 2):
            raise ValueError(f"column {self.name!r} is binary but has {len(self.categories)} categories; 2 are allowed")

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def form(self) -> str:
        """What kind of column it is, with its categories, in words."""
        return f"{self.kind} ({', '.join(map(str, self.categories))})" if self.categories else self.kind

    def code(self, label: Any) -> float:
        """Return the number that stands for a label, `"Male"` -> 1.0.

        Raises:
            ValueError: if the column has no such label.
        """
        labels = self.categories or ((0, 1) if self.kind == "binary" else ())
        if not labels:
            try:
                return float(label)
            except (TypeError, ValueError):
                raise ValueError(f"{self.name} is a number; {label!r} is not") from None
        by_text = {str(known): code for code, known in enumerate(labels)}
        text = str(label)
        if text not in by_text and _is_number(text):  # 1 and 1.0 are the same class
            by_text = {str(float(k)) if _is_number(k) else k: code for k, code in by_text.items()}
            text = str(float(text))
        if text not in by_text:
            known = ", ".join(map(str, labels[:12])) + (", ..." if len(labels) > 12 else "")
            raise ValueError(f"{self.name} has no category {label!r}; it has {known}")
        return float(by_text[text])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Schema:
    """The names, kinds and units of a set of sequences, and how their table is written.

    Args:
        channels: Variables that change with time, in the order of the last axis of `values`.
        statics: One value per sequence, in the order of the last axis of `static`.
        step: Duration of one time step, in `step_unit`.
        step_unit: `h`, `s`, or empty when steps are only counted.
        id: Name of the column that says to which sequence a row belongs.
        time: Name of the time column.
        subject: Name of the column that says whose sequence it is; None where the id does.
        time_kind: How time is written: a `number`, a `timedelta`, or a `datetime`.
        start: Time of the first step, in `step_unit`.
        image: (height, width, colours) where the sequences are images; None elsewhere.
        tile: (height, width) in pixels of the part of an image that one step shows, see `pictures`; None is a row.
        form: How the files they came from are laid out, a name in `sources.FORMS`; empty for a long table.
        licence: Of the data, and whom to cite; empty where they are the user's own.
        gap: Channel that holds the time since the step before, in `step_unit`, where steps are events at times of their
            own; None where they lie on an even grid.
        rules: Orders between channels, `dbp <= map <= sbp`, see `rules`.
    """

    channels: tuple[Column, ...]
    statics: tuple[Column, ...] = ()
    step: float = 1.0
    step_unit: str = ""
    id: str = "id"
    time: str = "time"
    subject: str | None = None
    time_kind: Literal["number", "timedelta", "datetime"] = "number"
    start: float = 0.0
    image: tuple[int, int, int] | None = None
    tile: tuple[int, int] | None = None
    form: str = ""
    licence: str = ""
    gap: str | None = None
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"column names must differ; given twice: {', '.join(twice)}")
        if not self.channels:
            raise ValueError("a schema needs at least one channel")
        for rule in self.rules:
            self.chain(rule)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.channels + self.statics

    def static_index(self, name: str) -> int:
        """Return the position of a static column.

        Raises:
            ValueError: if there is none of that name.
        """
        return _position(name, self.statics, "static column")

    def channel_index(self, name: str) -> int:
        """Return the position of a channel.

        Raises:
            ValueError: if there is none of that name.
        """
        return _position(name, self.channels, "channel")

    def chain(self, rule: str) -> list[int]:
        """Return the positions of a rule's channels, from the smallest to the largest.

        Raises:
            ValueError: if it is no chain of continuous channels.
        """
        names = [name.strip() for name in rule.split("<=")]
        if len(names) < 2 or not all(names):
            raise ValueError(f"rule {rule!r}: channels with <= between them are needed, such as dbp <= map <= sbp")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"rule {rule!r} names {twice[0]!r} twice")
        positions = [self.channel_index(name) for name in names]
        for j in positions:
            if self.channels[j].kind != "continuous":
                raise ValueError(f"rule {rule!r}: {self.channels[j].name} is {self.channels[j].form}, not a number")
        return positions

    def keeping(self, *rules: str) -> Schema:
        """Return the same with more rules, as far as its channels are those they speak of.

        What holds for a chain holds without some of its channels, too.
        """
        known = {column.name for column in self.channels}
        chains = [[name for name in map(str.strip, rule.split("<=")) if name in known] for rule in rules]
        return replace(self, rules=(*self.rules, *(" <= ".join(chain) for chain in chains if len(chain) > 1)))

    def limited(self, rules: Sequence[str] = (), limits: Mapping[str, str] | None = None) -> Schema:
        """Return the same with more rules, and with other bounds of columns, `{"hr": "0:300"}`.

        Raises:
            ValueError: if a rule or bound makes no sense, or there is no such column.
        """
        columns = list(self.columns)
        for name, limit in (limits or {}).items():
            j = _position(name, columns, "column")
            columns[j] = replace(columns[j], **dict(zip(("low", "high"), _ends(name, limit), strict=True)))
        channels, statics = tuple(columns[: len(self.channels)]), tuple(columns[len(self.channels) :])
        rules = tuple(dict.fromkeys([*self.rules, *rules]))
        return replace(self, channels=channels, statics=statics, rules=rules)

    def differences(self, other: Schema) -> list[str]:
        """Say how another schema differs in what networks depend on: names, order, kinds and categories."""
        found: list[str] = []
        for what, ours, theirs in (
            ("channel", self.channels, other.channels),
            ("static column", self.statics, other.statics),
        ):
            mine, others = ({column.name: column for column in columns} for columns in (ours, theirs))
            found += [f"no {what} {name!r}" for name in mine if name not in others]
            found += [f"a {what} {name!r} too many" for name in others if name not in mine]
            both = [name for name in mine if name in others]
            found += [
                f"{name!r} is {others[name].form}, not {mine[name].form}"
                for name in both
                if mine[name].form != others[name].form
            ]
            if not found and list(mine) != list(others):
                found.append(f"the {what}s are in another order")
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Schema:
        def columns(rows: Iterable[dict[str, Any]]) -> tuple[Column, ...]:
            return tuple(Column(**{**row, "categories": tuple(row["categories"])}) for row in rows)

        pixels = {name: tuple(record[name]) if record.get(name) else None for name in ("image", "tile")}
        plain = {**record, **pixels, "rules": tuple(record.get("rules", ()))}
        return cls(**{**plain, "channels": columns(record["channels"]), "statics": columns(record["statics"])})


def _ends(name: str, limit: str) -> tuple[float | None, float | None]:
    """Read `0:300`, either of which may be left out."""
    low, colon, high = limit.partition(":")
    try:
        ends = float(low) if low.strip() else None, float(high) if high.strip() else None
    except ValueError:
        colon, ends = "", (None, None)
    if not colon or (None not in ends and ends[0] >= ends[1]):  # type: ignore[operator]
        raise ValueError(f"limits of {name} are LOW:HIGH, such as 0:300 or 0:, got {limit!r}")
    return ends


def _position(name: str, columns: Sequence[Column], what: str) -> int:
    names = [column.name for column in columns]
    if name not in names:
        raise ValueError(f"no {what} {name!r}; {nearest(name, names)}")
    return names.index(name)
