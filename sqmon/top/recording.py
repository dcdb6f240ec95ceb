"""The recording: moments read from what a service has written, at any time and as it grows."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Mapping, Optional

from sqmon.clock import stamp_ns
from sqmon.errors import SqmonError
from sqmon.health import status_file
from sqmon.lifetimes import nodes
from sqmon.lifetimes.polls import Poll, renamed
from sqmon.storage.directory_lock import is_locked
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.findings import Findings
from sqmon.storage.polls import Polls
from sqmon.storage.reader import StreamReader
from sqmon.storage.seek import TS, Window
from sqmon.storage.source import Source
from sqmon.storage.whole_poll import WholePoll
from sqmon.top.account import Account
from sqmon.top.event_log import EVENTS, EventLog, is_good_poll
from sqmon.top.moment import SHOWN, Moment

_SECOND = 10**9
_HOUR_NS, _DAY_NS = 3600 * _SECOND, 86400 * _SECOND
_DEAD_NS = 10 * _SECOND
_SILENT_NS = 60 * _SECOND
_LOOK_AGAIN_NS = 300 * _SECOND
_TRIES = 5
_KNOWN = 20  # polls


class Recording:
    """The moments of a source, which are read when they are asked for."""

    def __init__(self, source: Source, *, cluster: str = "") -> None:
        """`cluster` is the name of the cluster where the source doesn't say it. Raises SqmonError where there are no events."""
        self._source = source
        self._findings = Findings()
        self._polls = {metric: Polls(source, metric) for metric in SHOWN}
        self._events = EventLog(source, self._findings)
        self._log_dir = source.log_dir if isinstance(source, DirectorySource) else None
        self._status = None if self._log_dir is None else status_file.read(self._log_dir)
        self._cluster = cluster
        self._account: Optional[Account] = None
        self._followed = StreamReader(source, EVENTS)
        self._wholes: dict[str, Poll] = {}
        self._known: dict[tuple[str, int], WholePoll] = {}
        self._seen: object = None
        self._before: tuple[int, Optional[Poll]] = (0, None)
        self.end_ns = None if source.grows else self._events.newest_ns()
        """When the last line was written of what does not grow; None while there may be more."""
        if self._events.newest_ns() is None:
            raise SqmonError(f"{source.name}: no events of a service here; give the --log_dir of one, a bundle or a file of one")

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        for polls in self._polls.values():
            polls.close()
        self._events.close()

    def now(self, now_ns: int) -> Optional[Moment]:
        """Return the present moment, None when nothing has changed since it was returned last."""
        seen = (self._is_running(now_ns), self._stamp())
        if self._account is not None and seen == self._seen:
            return None
        if self._log_dir is not None:
            self._status = status_file.read(self._log_dir) or self._status
        if self._account is None:
            # What is added while the past is being read is read with what comes later.
            newest_ns = self._events.newest_ns() or now_ns
            self._followed = StreamReader(self._source, EVENTS, window=Window(newest_ns + 1), findings=self._findings)
            self._account = self._events.account(newest_ns)
            fresh = set(self._account.polled)
        else:
            fresh = set()
        for event in self._followed.read():
            self._account.take(event)
            if is_good_poll(event):
                fresh.add(str(event["target"]))
        for metric in fresh & self._polls.keys():
            whole = self._poll(self._account, self._polls[metric].newest())
            if whole is not None:
                self._wholes[metric] = whole
        self._seen = seen
        return self._moment(self._account, self._wholes, now_ns, running=seen[0], nodes_before=self._nodes_before(now_ns))

    def at(self, at_ns: int) -> Moment:
        """Return the moment at a time."""
        account = self._events.account(at_ns)
        wholes = {metric: self._poll(account, self._newest_at(metric, at_ns)) for metric in self._polls.keys() & account.polled}
        known = {metric: poll for metric, poll in wholes.items() if poll is not None}
        return self._moment(account, known, at_ns, running=self._was_running(account, at_ns), nodes_before=self._nodes_before(at_ns))

    def neighbour(self, target: str, at_ns: int, *, later: bool) -> Optional[int]:
        """Return when the good poll after the one of a time was told of, or the one before it; without a metric, one of any."""
        times = []
        for metric in [target] if target in self._polls else self._polls:
            found = self._beside(metric, at_ns, later=later)
            if found is not None:
                times.append(self._told_ns(found))
                self._known[metric, times[-1]] = found
        return (min(times) if later else max(times)) if times else None

    def _beside(self, metric: str, at_ns: int, *, later: bool) -> Optional[WholePoll]:
        # Who looked for a metric that is never polled would read everything.
        is_polled = (metric, at_ns) in self._known or metric in self._events.account(at_ns).polled
        whole = self._newest_at(metric, at_ns) if is_polled else None
        if whole is not None:
            return self._polls[metric].after(whole) if later else self._polls[metric].before(whole)
        following = next(self._events.within(Window(at_ns + 1)), None) if later else None
        if following is None:
            return None
        window = Window(at_ns + 1, stamp_ns(following["ts"]) + _DAY_NS)
        first = next((event for event in self._events.within(window) if is_good_poll(event, metric)), None)
        return None if first is None else self._newest_at(metric, stamp_ns(first["ts"]))

    def _newest_at(self, metric: str, at_ns: int) -> Optional[WholePoll]:
        """Return the newest good poll that was known at a time; what has been read for the steps before is not read again."""
        whole = self._known.pop((metric, at_ns), None)
        if whole is None:
            whole = self._polls[metric].at(at_ns)
            while whole is not None and self._told_ns(whole) > at_ns:
                whole = self._polls[metric].before(whole)
        self._known.update({} if whole is None else {(metric, at_ns): whole})
        while len(self._known) > _KNOWN:
            self._known.pop(next(iter(self._known)))
        return whole

    def _told_ns(self, whole: WholePoll) -> int:
        """When a poll was told of, which is when it was known."""
        line = self._events.line_at(whole.start)
        return whole.began_ns if line is None else stamp_ns(line.data[TS].decode())

    def _poll(self, account: Account, whole: Optional[WholePoll]) -> Optional[Poll]:
        """Return a poll as evidence: the newest whole one."""
        for _ in range(_TRIES):
            if whole is None or not whole.problem:
                break
            whole = self._polls[whole.metric].before(whole)
        if whole is None or whole.problem:
            return None
        ended_ns = account.ended_ns(whole.metric, whole.run_id, whole.poll) or whole.began_ns
        return Poll(whole.metric, whole.run_id, whole.poll, whole.began_ns, ended_ns, renamed(whole.metric, whole.rows))

    def _moment(self, account: Account, polls: Mapping[str, Poll], at_ns: int, *, running: bool, nodes_before: Optional[Poll]) -> Moment:
        return account.moment(
            at_ns,
            polls,
            running=running,
            intervals={metric.name: metric.interval for metric in self._status.metrics} if self._status else {},
            cluster=self._cluster or (self._status.cluster if self._status else ""),
            nodes_before=nodes_before,
            problems=[*self._findings.sentences()],
        )

    def _nodes_before(self, at_ns: int) -> Optional[Poll]:
        """The first good poll of the nodes in the hour before a time; what it was some minutes before or after will do."""
        looked_ns, poll = self._before
        if abs(at_ns - looked_ns) > _LOOK_AGAIN_NS or (poll is not None and poll.began_ns > at_ns):
            found = self._events.within(Window(at_ns - _HOUR_NS, at_ns))
            first = next((event for event in found if is_good_poll(event, nodes.METRIC)), None)
            poll = None if first is None else self._poll(Account(), self._polls[nodes.METRIC].at(stamp_ns(first["ts"])))
            self._before = at_ns, poll
        return poll

    def _was_running(self, account: Account, at_ns: int) -> bool:
        """Whether a service was polling at a time: it was when the next event is of the same run, or there was one shortly before."""
        last = account.newest
        if last is None or last["event"] == "stop":
            return False
        if at_ns - stamp_ns(last["ts"]) <= _DEAD_NS:
            return True
        following = next(self._events.within(Window(at_ns + 1)), None)
        return self._is_running(at_ns) if following is None else bool(following["run_id"] == last["run_id"])

    def _is_running(self, now_ns: int) -> bool:
        """Whether a service is polling: it holds the lock of its directory, or has added something to its file shortly before."""
        if self._log_dir is not None:
            return is_locked(self._log_dir)
        return self.end_ns is None and now_ns - (self._events.newest_ns() or 0) <= _SILENT_NS

    def _stamp(self) -> object:
        """What is another one when there are new events."""
        if self._log_dir is None:
            return [(segment.key, segment.size()) for segment in self._source.segments(EVENTS)[-1:]]
        found = []
        for path in (self._log_dir / "current" / EVENTS, self._log_dir / EVENTS):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return found
