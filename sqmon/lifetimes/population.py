"""The members of one metric over its polls, with bounds on when each appeared and disappeared."""

from __future__ import annotations

from collections import Counter
from typing import Any, Iterable, NamedTuple, Optional

import msgspec

from sqmon.lifetimes.polls import Poll, Row

_ROUNDING_NS = 2000  # the duration of a poll is told in whole microseconds

Key = tuple[Any, ...]


class Member(msgspec.Struct, gc=False):
    """Something that polls have seen, from the first to the last of them."""

    key: Key
    row: Row
    """The newest row."""
    began_after_ns: Optional[int]
    """The start of the last poll without it; None where no poll before could have seen it."""
    began_before_ns: int
    seen_ns: int
    """The start of the last poll with it."""
    seen_before_ns: int
    """The end of that poll."""
    gone_before_ns: Optional[int] = None
    """The end of the first poll without it since; None while the newest poll has it."""
    polls_seen: int = 1
    stepped: bool = False
    """Whether the host's clock was set back within its life, so that nobody knows how long it lasted."""

    def seen(self, row: Row, poll: Poll) -> None:
        """Take one more poll that has it."""
        self.row = row
        self.seen_ns, self.seen_before_ns = poll.began_ns, poll.ended_ns
        self.gone_before_ns = None
        self.polls_seen += 1


class Change(NamedTuple):
    """What one poll has changed; each list is in the order of the rows, or of arrival."""

    come: list[Member]
    stayed: list[Member]
    gone: list[Member]


class PopulationState(msgspec.Struct):
    """What a population goes on from."""

    members: list[Member]
    poll: Optional[Poll]
    absences: list[tuple[Key, int]]


class Population:
    """The members of one metric. A repeated key counts: the second row of a key is a member of its own, its number ends the key."""

    def __init__(self, patience: int = 1) -> None:
        """A member that is absent from `patience` successive polls is gone since the first of them."""
        self.members: dict[Key, Member] = {}
        self.poll: Optional[Poll] = None
        """The newest poll, without its rows."""
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
        present: set[Key] = set()
        repeated: Counter[Key] = Counter()
        for key, row in rows:
            numbered = (*key, 1)
            if numbered in present:
                repeated[key] += 1
                numbered = (*key, 1 + repeated[key])
            known = self.members.get(numbered)
            if known is not None:
                known.seen(row, poll)
                change.stayed.append(known)
            else:
                self.members[numbered] = known = Member(numbered, row, came_after, poll.ended_ns, poll.began_ns, poll.ended_ns)
                change.come.append(known)
            present.add(known.key)
        absent = [] if len(present) == len(self.members) else [member for key, member in self.members.items() if key not in present]
        for member in absent:
            member.gone_before_ns = member.gone_before_ns or poll.ended_ns
            self._absences[member.key] += 1
            if self._absences[member.key] >= self._patience:
                change.gone.append(self.members.pop(member.key))
        self._absences = Counter({key: count for key, count in self._absences.items() if key in self.members and key not in present})
        self.poll = poll.bare()
        return change

    def forget(self) -> list[Member]:
        """Return all members and begin anew, as where rows can't be compared with those before."""
        members, self.members, self.poll = [*self.members.values()], {}, None
        self._absences.clear()
        return members

    def state(self) -> PopulationState:
        """Return what another one can go on from."""
        return PopulationState([*self.members.values()], self.poll, [*self._absences.items()])

    def resume(self, state: PopulationState) -> None:
        """Go on from there."""
        self.members, self.poll = {member.key: member for member in state.members}, state.poll
        self._absences = Counter(dict(state.absences))
