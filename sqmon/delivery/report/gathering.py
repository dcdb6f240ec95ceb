"""The gathering of what a report tells: from events, polls and lifetimes, in one pass and in bounded memory."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from sqmon.clock import stamp_ns
from sqmon.delivery.report.amounts import Course, Groups, Largest
from sqmon.delivery.report.figures import Blocker, Phase, Polled, Run, StatementGroup, Worker, count_name, key_of, lasted_s
from sqmon.lifetimes import licence, locks, nodes
from sqmon.lifetimes.gaps import Gap, Gaps
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.polls import Poll

_MOST_LIVES = 200
_MOST_GROUPS = 5000
_MOST_PHASES = 12
_MOMENT_NS = 10**9
_WAITING = ("in queue", "preparing", "initializing")


class Gathering:
    """Everything that a report tells. Lives are kept when they may have been going on at or after `since_ns`."""

    def __init__(self, since_ns: Optional[int]) -> None:
        self._since_ns = since_ns or 0
        self.first_ns: Optional[int] = None
        """When the oldest event was written, whether it is within the range or not."""
        self.last_ns = self.end_ns = 0
        self.start: Mapping[str, Any] = {}
        """The newest start event."""
        self.held, self.blocked, self.running, self.waiting, self.up, self.used = (Course() for _ in range(6))
        """Over the time: locks, statements blocked, executing and waiting otherwise, nodes, share of the licence."""
        self.locks: Largest[Line] = Largest(_MOST_LIVES)
        self.orphans: Largest[Line] = Largest(50)
        self.runs: Largest[Run] = Largest(100)
        self.queued: Largest[Run] = Largest(50)
        self.waits: Largest[Line] = Largest(_MOST_LIVES)
        self.blockers: Groups[Blocker] = Groups(2000, Blocker, lambda blocker: (blocker.waited_s, blocker.waits.total))
        self.statements: Groups[StatementGroup] = Groups(_MOST_GROUPS, StatementGroup, lambda group: (group.total_s, group.runs))
        self.workers: Groups[Worker] = Groups(2000, Worker, lambda worker: (worker.busy_s, worker.statements))
        self.nodes: Largest[Line] = Largest(_MOST_LIVES)
        self.down: Largest[Line] = Largest(_MOST_LIVES)
        self.restarts: Largest[Line] = Largest(50)
        self.offset: Optional[Line] = None
        self.licence: Mapping[str, Any] = {}
        self.licence_changes: Largest[Line] = Largest(50)
        self.gaps: Largest[Gap] = Largest(_MOST_LIVES)
        self.polled: Groups[Polled] = Groups(1000, Polled, lambda polled: (sum(polled.statuses.values()),))
        self.rows = 0
        self._told = Gaps()
        self._open: dict[tuple[Any, ...], list[Phase]] = {}
        self._executing: dict[tuple[Any, ...], bool] = {}
        self._blocked: set[tuple[Any, ...]] = set()
        self._era = 0

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take an event of the service."""
        at_ns = stamp_ns(event["ts"])
        self.first_ns = at_ns if self.first_ns is None else self.first_ns
        self.last_ns = max(self.last_ns, at_ns)
        gap = self._told.take(event)
        if gap is not None:
            self._add_gap(gap)
        if event["event"] == "start":
            self.start = event
        elif at_ns >= self._since_ns and event["event"] in ("poll", "worker_exit"):
            self._polled(event)

    def _polled(self, event: Mapping[str, Any]) -> None:
        polled = self.polled[event["target"]]
        if event["event"] == "worker_exit":
            polled.exits += event.get("kind") != "stopped"
            return
        polled.statuses[event["status"]] += event.get("skipped") or 1
        polled.error = event.get("error") or polled.error
        if event["status"] in ("ok", "empty"):
            polled.rows += event.get("rows") or 0
            polled.total_ms += event["duration_ms"]
            polled.longest_ms = max(polled.longest_ms, event["duration_ms"])

    def _add_gap(self, gap: Gap) -> None:
        """Take a gap, if it reaches into the range."""
        end_ns = gap.until_ns or self.end_ns
        if end_ns <= self._since_ns:
            return
        self.gaps.add(end_ns - gap.since_ns, gap)
        if not gap.target:
            return
        polled = self.polled[gap.target]
        if gap.first_seq is None:
            polled.blind_s += (end_ns - max(gap.since_ns, self._since_ns)) / 1e9
        else:
            polled.lost += (gap.last_seq or 0) - gap.first_seq + 1

    def close(self, lines: list[Line], end_ns: int, *, running: bool) -> None:
        """Take what goes on at the end of the range, when that is, and whether the service was running then."""
        self.end_ns = end_ns
        for line in lines:
            self._go_on(line)
        for gap in self._told.ongoing(running=running):
            if gap.since_ns < end_ns - _MOMENT_NS:
                self._add_gap(gap)
        if self._since_ns and self.first_ns is not None and self._since_ns < self.first_ns:
            self._add_gap(Gap("", self._since_ns, self.first_ns, "no events are kept from that time"))

    @property
    def begin_ns(self) -> int:
        """The beginning of the range: that of the events where none was asked for."""
        return self._since_ns or self.first_ns or 0

    def saw(self, poll: Poll, lines: list[Line]) -> None:
        """Take a good poll, and what it revealed."""
        for line in lines:
            self.take(line)
        self.rows += len(poll.rows)
        if poll.began_ns < self._since_ns:
            return
        if poll.metric == locks.METRIC:
            self.held.add(poll.began_ns, len(poll.rows))
            self.blocked.add(poll.began_ns, len(self._blocked))
        elif poll.metric == nodes.METRIC:
            self.up.add(poll.began_ns, len(poll.rows))
        elif poll.metric == licence.METRIC:
            self._licence(poll)
        else:
            executing = sum(self._executing.values())
            self.running.add(poll.began_ns, executing)
            self.waiting.add(poll.began_ns, len(self._executing) - executing)
            self.blocked.add(poll.began_ns, len(self._blocked))

    def _licence(self, poll: Poll) -> None:
        if len(poll.rows) == 1:
            self.licence = poll.rows[0]
            ratio = self.licence.get("size_used_ratio")
            if isinstance(ratio, (int, float)):
                self.used.add(poll.began_ns, float(ratio))

    def take(self, line: Line) -> None:
        """Take a line of lifetimes."""
        event = line["event"]
        if event.startswith("statement_"):
            self._statement(event, line)
        elif event == "lock_released":
            self._lock(line)
        else:
            self._surroundings(event, line)

    def _surroundings(self, event: str, line: Line) -> None:
        if event == "node_down":
            if self._is_within(line):
                self.down.add(line["ended_before"], line)
                self.nodes.add(line["began_before"], line)
        elif event == "server_restarted":
            self._era += 1
            if stamp_ns(line["ts"]) >= self._since_ns:
                self.restarts.add(line["ts"], line)
        elif event == "licence_changed" and stamp_ns(line["ts"]) >= self._since_ns:
            self.licence_changes.add(line["ts"], line)
        elif event == "clock_offset":
            self.offset = line

    def _go_on(self, line: Line) -> None:
        """Take a line of what goes on at the end of the range."""
        event = line["event"]
        if event == "lock_held":
            self._lock(line)
        elif event == "statement_status":
            self._ended(line, self._open.get(key_of(line), []))
        elif event == "statement_blocked":
            self._waited(line)
        elif event == "node_up":
            self.nodes.add(line["began_before"], line)

    def _statement(self, event: str, line: Line) -> None:
        key = key_of(line)
        if event == "statement_blocked":
            self._blocked.add(key)
            self._blocker_of(line)  # its lock may be released in the poll that ends the wait, and is told first
            return
        if event == "statement_unblocked":
            self._blocked.discard(key)
            self._waited(line)
            return
        if event == "statement_ended":
            self._executing.pop(key, None)
            self._ended(line, self._open.pop(key, []))
            return
        if event == "statement_status" and "status_before" not in line:
            return  # it has kept its status for a milestone more
        status = str(line.get("status") or "")
        phases = self._open.setdefault(key, [])
        if event == "statement_status" and phases:
            phases[-1] = phases[-1]._replace(until_ns=stamp_ns(line["changed_after"]))
        since_ns = stamp_ns(line["began_before"] if event == "statement_seen" else line["changed_before"])
        if len(phases) < _MOST_PHASES:
            phases.append(Phase(status, since_ns, since_ns))
        self._executing[key] = status.lower() not in _WAITING

    def _ended(self, line: Line, phases: list[Phase]) -> None:
        if not self._is_within(line):
            return
        if phases:
            phases[-1] = phases[-1]._replace(until_ns=stamp_ns(line["ended_after"]))
        run, seconds = Run(line, phases), lasted_s(line)
        queued_s = run.queued_s
        self.runs.add(seconds, run)
        if queued_s > 0:
            self.queued.add(queued_s, run)
        group = self.statements[line.get("statement_hash") or line.get("statement")]
        group.runs += 1
        group.total_s += seconds
        group.longest_s = max(group.longest_s, seconds)
        group.queued_s += queued_s
        group.text = group.text if group.text is not None else line.get("statement")
        count_name(group.users, line.get("username"))
        count_name(group.services, line.get("service"))
        worker = self.workers[str(line.get("instance_id") or "")]
        worker.statements += 1
        worker.busy_s += max(0.0, seconds - queued_s)
        count_name(worker.services, line.get("service"))

    def _waited(self, line: Line) -> None:
        if not self._is_within(line):
            return
        seconds = lasted_s(line)
        self.waits.add(seconds, line)
        blocker = self._blocker_of(line)
        blocker.waited_s += seconds
        blocker.waits.add(seconds, line)
        self.statements[line.get("statement_hash") or line.get("statement")].blocked += 1

    def _blocker_of(self, wait: Line) -> Blocker:
        """Return whom it waits for; a statement after a restart of the server may have the number of one before it."""
        return self.blockers[self._era, str(wait["root"])]

    def _lock(self, line: Line) -> None:
        if not self._is_within(line):
            return
        blocker = self.blockers.get((self._era, str(line["statement_id"])))
        if blocker is not None and len(blocker.locks) < _MOST_PHASES:
            blocker.locks.append(line)
        self.locks.add(lasted_s(line), line)
        if line.get("orphaned"):
            self.orphans.add(lasted_s(line), line)

    def _is_within(self, line: Line) -> bool:
        return line["ended_before"] is None or stamp_ns(line["ended_before"]) >= self._since_ns
