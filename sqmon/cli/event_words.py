"""The events of the `sqmon` stream in words: a sentence for each."""

from __future__ import annotations

import datetime as dt
from typing import Any, Callable, Mapping

from sqmon.clock import stamp_ns
from sqmon.config.typed_time import in_words
from sqmon.words import counted

Event = Mapping[str, Any]

_METADATA = ("ts", "seq", "metric", "cluster", "run_id", "level", "event")
_MIB = 1 << 20


def sentence(event: Event) -> str:
    """Return what an event says; an event that is not known is its fields."""
    known = _SENTENCES.get(str(event.get("event")))
    if known is None:
        fields = (f"{name}={value}" for name, value in event.items() if name not in _METADATA and value is not None)
        return " ".join((str(event.get("event")), *fields))
    said = known(_Fields(event))
    target = event.get("target")
    return f"{target}: {said}" if target else said


class _Fields:
    """The fields of an event, as they are written into a sentence; one that is missing is empty."""

    def __init__(self, event: Event) -> None:
        self._event = event

    def __getitem__(self, name: str) -> str:
        value = self._event.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> float:
        """Return a number, 0 where there is none."""
        value = self._event.get(name)
        return value if isinstance(value, (int, float)) else 0

    def time(self, name: str) -> str:
        """Return a time in the zone of this host."""
        return local(self[name])

    def after(self, name: str, before: str) -> str:
        """Return a field behind some words, nothing where it is empty."""
        return f"{before}{self[name]}" if self[name] else ""


def local(stamp: str) -> str:
    """Return a stamp of a record as a time of this host, and any other text as it is."""
    try:
        moment = dt.datetime.fromtimestamp(stamp_ns(stamp) / 1e9, dt.timezone.utc).astimezone()
    except ValueError:
        return stamp
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _poll(event: _Fields) -> str:
    if event["status"] == "skipped":
        return f"{_count(event, 'skipped', 'poll')} missed"
    began = f"poll {event['poll']}"
    took = in_words(event.number("duration_ms") / 1000) if event.number("duration_ms") >= 1000 else f"{event.number('duration_ms'):.0f} ms"  # noqa: PLR2004 - a second
    if event["status"] in ("error", "timeout"):
        return f"{began} {'timed out' if event['status'] == 'timeout' else 'failed'} after {took}{event.after('error', ': ')}"
    changes = f" ({event['added']} added, {event['removed']} removed)" if event["added"] else ""
    return f"{began}: {_count(event, 'rows', 'row') if event.number('rows') else 'no rows'}{changes} in {took}"


def _gap(event: _Fields) -> str:
    when = f"from {event.time('since')} to {event.time('until')}"
    if event["first_seq"]:
        return f"records {event['first_seq']} to {event['last_seq']} were lost {when}: {event['reason']}"
    return f"was not polled {when}: {event['reason']}"


def _worker_exit(event: _Fields) -> str:
    lasted = f" after {in_words(event.number('lasted_s'))}" if event["lasted_s"] else ""
    again = f"; the next one starts in {in_words(event.number('restart_in_s'))}" if event["restart_in_s"] else ""
    why = event["reason"] if event["reason"] != event["kind"] else ""
    return f"worker{event.after('pid', ' ')} ended{lasted} ({event['kind']}){': ' if why else ''}{why}{again}"


def _unread(event: _Fields) -> str:
    if not event["not_known_to_be_read"]:
        return ""
    return f"; the agent is not known to have read {event['not_known_to_be_read']} bytes of it"


def _reloaded(event: _Fields) -> str:
    changes = [f"{word} {event[word]}" for word in ("added", "changed", "removed") if event[word]]
    return f"the metrics file {event['file']} is in force: {'; '.join(changes) or 'nothing has changed'}"


def _count(event: _Fields, name: str, what: str) -> str:
    return counted(event.number(name), what)


def _mib(event: _Fields, name: str) -> str:
    return f"{event.number(name) / _MIB:.1f} MiB"


def _over(event: _Fields, trouble: str, over: str) -> str:
    return over if event["reason"] == "over" else f"{trouble}{event.after('reason', ': ')}"


_SENTENCES: Mapping[str, Callable[[_Fields], str]] = {
    "start": lambda e: (
        f"sqmon {e['version']} started: process {e['pid']}, {e['metrics']} metrics of {e['host']}:{e['port']}, written to {e['log']}"
    ),
    "stop": lambda e: f"sqmon stopped{e.after('reason', ': ')}",
    "check": lambda e: f"{e['check']} {e['verdict']}{e.after('text', ': ')}",
    "poll": _poll,
    "worker_start": lambda e: f"worker {e['pid']} started",
    "worker_exit": _worker_exit,
    "forkserver_exit": lambda e: f"the process that forks the workers was replaced: {e['reason']}",
    "gap": _gap,
    "segment_sealed": lambda e: f"{e['file']} is complete: {_count(e, 'lines', 'line')}, {_mib(e, 'bytes')}",
    "chain_head": lambda e: f"the newest seal is {e['head'][:16]}…",
    "segment_deleted": lambda e: f"{e['file']} was deleted for its {e['reason'].replace('_', ' ')}, {_mib(e, 'bytes')}{_unread(e)}",
    "segment_archived": lambda e: f"{e['file']} was compressed from {_mib(e, 'bytes')} to {_mib(e, 'compressed_bytes')}{_unread(e)}",
    "segment_verified": lambda e: f"{e['file']} was found in Loki, every line of it",
    "proof": lambda e: (
        f"Loki can't be proved to have every line: {e['reason']}" if e["reason"] else f"Loki has every line up to {e.time('up_to')}"
    ),
    "archive_failed": lambda e: f"{e['file'] or 'segments'} could not be compressed: {e['reason']}",
    "backlog": lambda e: _over(e, f"the disk accepts no lines, {_mib(e, 'bytes')} wait", "the disk accepts lines again"),
    "disk_warning": lambda e: _over(e, "the disk is in trouble", "the trouble with the disk is over"),
    "log_dir_changed": lambda e: e["text"],
    "clock_step": lambda e: (
        f"the host's clock was set back by {in_words(e.number('back_s'))}; lines until {e.time('newest')} have wrong times"
    ),
    "config_reloaded": _reloaded,
    "config_rejected": lambda e: f"the changed metrics file {e['file']} is not in force: {e['problems']}",
    "columns_missing": lambda e: f"the server does not send {e['columns']}, which the alerts need",
    "login_paused": lambda e: f"the server refused the login; no other is tried before {e.time('until')}: {e['reason']}",
    "second_monitor": lambda e: f"somebody at {e['address']} polls the same cluster under the same role",
    "state_change": lambda e: f"{e['query']} was called: {e['result']}",
}
EVENTS = frozenset(_SENTENCES)
"""The events that have a sentence."""
