"""Columns that sqmon adds to the rows of a metric: ages, days and ratios, because LogQL can't calculate with dates."""

from __future__ import annotations

import datetime as dt
from typing import Any, Callable, Hashable, Optional, Sequence

from sqmon.config import catalogue
from sqmon.config.time_zone import Zone
from sqmon.records.column_names import normalised
from sqmon.result import Facts, Result

Values = Sequence[Any]

_LONGEST_TIME = 40
_REMEMBERED_TIMES = 10_000
_SKEW_SECONDS = 5.0  # how far the server's clock may be ahead of ours before a repeated hour is taken for its first pass


def moment(value: object) -> Optional[dt.datetime]:
    """Return the time that the server wrote, year first or day first, with seconds or finer; None for what is none."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the server's strings carry no zone
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        return None
    text = value.strip()
    if text[2:3] in ("-", "/", "."):
        text = f"{text[6:10]}-{text[3:5]}-{text[:2]}{text[10:]}"
    whole, point, fraction = text.partition(".")
    if point:
        text = f"{whole}.{fraction[:6]:0<6}"  # Python before 3.11 reads 3 or 6 digits only
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


class Instants(dict[Hashable, Optional[tuple[float, float]]]):
    """The times that the server wrote, in seconds since 1970; remembers each text, since poll after poll returns the same.

    A value stands for the later and the earlier time that it can mean, which differ only within an hour that the clock goes through
    twice, or for None where it is not a time.
    """

    def __init__(self, zone: Zone) -> None:
        super().__init__()
        self.zone = zone

    def __missing__(self, value: Hashable) -> Optional[tuple[float, float]]:
        """Work the times of a value out, and remember them."""
        if len(self) >= _REMEMBERED_TIMES:
            self.clear()
        found = self[value] = self._instant(value)
        return found

    def _instant(self, value: object) -> Optional[tuple[float, float]]:
        found = moment(value)
        if found is None:
            return None
        if found.tzinfo is None:
            found = found.replace(tzinfo=self.zone)
        try:
            return found.replace(fold=1).timestamp(), found.replace(fold=0).timestamp()
        except (OverflowError, OSError, ValueError):
            return None


class Ages(dict[Hashable, Optional[int]]):
    """Whole seconds between each time that the server wrote and one poll; None for what is not a time."""

    def __init__(self, now: float, instants: Instants) -> None:
        super().__init__()
        self._now = now
        self._instants = instants

    def __missing__(self, value: Hashable) -> Optional[int]:
        """Work the age of a value out, and remember it for the other rows."""
        instant, age = self._instants[value], None
        if instant is not None:
            # A time within an hour that comes twice is taken for the later one, as soon as that one has come: the younger age.
            later, earlier = instant
            age = int(self._now - (later if later <= self._now + _SKEW_SECONDS else earlier))
        self[value] = age
        return age


class Moment:
    """The time of a poll, and how long before it things were."""

    def __init__(self, now_ns: int, instants: Instants) -> None:
        self._now = now_ns / 1e9
        self._instants = instants
        self._ages = Ages(self._now, instants)
        self._today: Optional[dt.date] = None

    def ages(self, values: Values) -> Values:
        """Return whole seconds since each of `values`, None for what is not a time; below zero when the server's clock or zone differs."""
        try:
            return list(map(self._ages.__getitem__, values))
        except TypeError:  # an array in such a column can't be hashed and is not a time
            return [None] * len(values)

    def days_until(self, value: object) -> Optional[int]:
        """Return the days from today, as the server's calendar has it, to the date `value`."""
        found = moment(value)
        if found is None:
            return None
        if self._today is None:
            zone = self._instants.zone
            self._today = dt.datetime.fromtimestamp(self._now, zone or dt.timezone.utc).astimezone(zone).date()
        return (found.date() - self._today).days


_COMPUTED = Facts(plain=True, longest=0)

Formula = Callable[[Moment, Sequence[Values]], Values]
"""Makes a column of bools and numbers that JSON can say, or None, from the columns that it needs."""


def _age(when: Moment, given: Sequence[Values]) -> Values:
    return when.ages(given[0])


def _days(when: Moment, given: Sequence[Values]) -> Values:
    return [when.days_until(value) for value in given[0]]


def _used_ratio(_: Moment, given: Sequence[Values]) -> Values:
    """Used by the licence's own measure: the compressed or the uncompressed size, as `compress_type` says."""
    return [_ratio(_number(whole if kind == "uncompressed" else packed), _number(limit)) for kind, packed, whole, limit in zip(*given)]


def _ratio(used: Optional[float], limit: Optional[float]) -> Optional[float]:
    return round(used / limit, 6) if used is not None and limit else None


def _number(value: Any) -> Optional[float]:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


_SIZES = ("compress_type", "compressed_cluster_size", "uncompressed_cluster_size", "cluster_size_limit")
_FORMULAS: dict[str, tuple[tuple[str, tuple[str, ...], Formula], ...]] = {
    "show_locks": (
        ("lock_age_s", ("lock_start_time",), _age),
        ("statement_age_s", ("statement_start_time",), _age),
    ),
    "show_server_status": (
        ("statement_age_s", ("statementstarttime",), _age),
        ("status_age_s", ("statementstatusstart",), _age),
    ),
    "get_license_info": (
        ("days_to_expiration", ("expiration_date",), _days),
        ("size_used_ratio", _SIZES, _used_ratio),
    ),
}


class Computation:
    """The computed columns of one metric, decided once for all polls that return the same columns."""

    def __init__(self, metric: str, *, query: str, user: str, zone: Zone) -> None:
        self._metric = metric
        self._instants = Instants(zone)
        self._own = (_words(query), user)
        self._columns: list[str] = []
        self._plan: list[tuple[str, list[int], Formula]] = []

    def at(self, now_ns: int) -> Moment:
        """Return the time of a poll, to be handed to `extended` with each part of its result."""
        return Moment(now_ns, self._instants)

    def extended(self, part: Result, when: Moment) -> Result:
        """Return the part with the computed columns last; those whose sources the server doesn't send are left out."""
        if part.columns != self._columns:
            self._columns, self._plan = part.columns, self._planned(part.columns)
        computed = [formula(when, [part.data[place] for place in places]) for _, places, formula in self._plan]
        return Result(
            [*part.columns, *(name for name, _, _ in self._plan)],
            [*part.data, *computed],
            [*part.facts, *[_COMPUTED] * len(computed)],
            part.rows,
        )

    def _planned(self, columns: Sequence[str]) -> list[tuple[str, list[int], Formula]]:
        function = catalogue.FUNCTIONS.get(self._metric)
        aliases = function.aliases if function else {}
        places = {aliases.get(name, name): place for place, name in enumerate(normalised(columns, ()))}
        formulas = list(_FORMULAS.get(self._metric, ()))
        if self._metric == "show_server_status":
            sources = ("statement", "user_name") if "user_name" in places else ("statement",)
            formulas.append(("is_self", sources, self._is_self))
        return [
            (name, [places[source] for source in sources], formula)
            for name, sources, formula in formulas
            if all(source in places for source in sources)
        ]

    def _is_self(self, _: Moment, given: Sequence[Values]) -> Values:
        """Whether the statement is the one that this poll consists of: its text and its role."""
        text, user = self._own
        own = [_words(statement) == text for statement in given[0]]
        return own if len(given) == 1 else [is_own and role == user for is_own, role in zip(own, given[1])]


def _words(statement: object) -> str:
    return " ".join(statement[:200].lower().rstrip("; \n").split()) if isinstance(statement, str) else ""
