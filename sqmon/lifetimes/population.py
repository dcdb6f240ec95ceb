"""The members of one metric over its polls, with bounds on when each appeared and disappeared."""

from __future__ import annotations

from collections import Counter
from typing import Hashable, Iterable, NamedTuple, Optional

from sqmon.lifetimes.polls import Poll, Row

_ROUNDING_NS = 2000  # the duration of a poll is told in whole microseconds

Key = tuple[Hashable, ...]


class Member:
    """Something that polls have seen, from the first to the last of them."""

    def __init__(self, key: Key, row: Row, poll: Poll, began_after_ns: Optional[int]) -> None:
        self.key = key
        self.row = row
        """The newest row."""
        self.began_after_ns = began_after_ns
        """The start of the last poll without it; None where no poll before could have seen it."""
        self.began_before_ns = poll.ended_ns
        self.seen_ns = poll.began_ns
        """The start of the last poll with it."""
        self.seen_before_ns = poll.ended_ns
        """The end of that poll."""
        self.absent: Optional[Poll] = None
        """The first of the polls without it since."""
        self.polls_seen = 1
        self.stepped = False
        """Whether the host's clock was set back within its life, so that nobody knows how long it lasted."""

    def seen(self, row: Row, poll: Poll) -> None:
        """Take one more poll that has it."""
        self.row = row
        self.seen_ns, self.seen_before_ns = poll.began_ns, poll.ended_ns
        self.absent = None
        self.polls_seen += 1


class Change(NamedTuple):
    """What one poll has changed; each list is in the order of the rows, or of arrival."""

    come: list[Member]
    stayed: list[Member]
    gone: list[Member]


class Population:
    """The members of one metric. A repeated key counts: the second row of a key is a member of its own, its number ends the key."""

    def __init__(self, patience: int = 1) -> None:
        """Whoever is absent from `patience` successive polls is gone, and was so in the first of them."""
        self.members: dict[Key, Member] = {}
        self.poll: Optional[Poll] = None
        """The newest poll."""
        self._patience = patience
        self._absences: Counter[Key] = Counter()

    def take(self, poll: Poll, rows: Iterable[tuple[Key, Row]]) -> Change:
        """Compare a good poll with the one before; `rows` are its rows with their keys."""
        before = self.poll
        stepped = before is not None and poll.began_ns < before.ended_ns - _ROUNDING_NS
        if stepped:
            for member in self.members.values():
                member.stepped = True
        came_after = None if before is None or stepped else before.began_ns
        change = Change([], [], [])
        found: dict[Key, Row] = {}
        repeated: Counter[Key] = Counter()
        for key, row in rows:
            repeated[key] += 1
            found[(*key, repeated[key])] = row
        for key, row in found.items():
            known = self.members.get(key)
            if known is not None:
                known.seen(row, poll)
                change.stayed.append(known)
            else:
                self.members[key] = come = Member(key, row, poll, came_after)
                change.come.append(come)
        for member in [member for key, member in self.members.items() if key not in found]:
            member.absent = member.absent or poll
            self._absences[member.key] += 1
            if self._absences[member.key] >= self._patience:
                change.gone.append(self.members.pop(member.key))
        self._absences = Counter({key: count for key, count in self._absences.items() if key in self.members and key not in found})
        self.poll = poll
        return change

    def forget(self) -> list[Member]:
        """Return all members and begin anew, as where rows can't be compared with those before."""
        members, self.members, self.poll = [*self.members.values()], {}, None
        self._absences.clear()
        return members
