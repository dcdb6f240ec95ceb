"""A live view of what a service writes: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Collection, Optional

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sqmon.storage.reader import StreamReader

_STYLES = {"ok": "green", "empty": "green", "error": "red", "timeout": "red", "skipped": "yellow"}
_NEWEST = 8


@dataclass
class Tally:
    """What has been seen of one metric."""

    polls: int = 0
    records: int = 0
    last: Optional[dict[str, Any]] = None
    newest: str = ""


class View:
    """Follows the streams of `metrics` in `log_dir` and shows them; segments that `skip` names are from before."""

    def __init__(self, log_dir: Path, metrics: Collection[str], *, skip: Collection[str], console: Console) -> None:
        self.tallies = {metric: Tally() for metric in metrics}
        self._console = console
        self._events = StreamReader(log_dir, "sqmon", skip=skip)
        self._readers = {metric: StreamReader(log_dir, metric, skip=skip) for metric in metrics}
        self._lines: list[str] = []
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self.render(), refresh=True)
            self._live.stop()

    def refresh(self) -> None:
        """Read what is new and show it."""
        for metric, reader in self._readers.items():
            for record in reader.read():
                tally = self.tallies[metric]
                tally.records += 1
                tally.newest = " ".join(f"{name}={value}" for name, value in list(record.items())[6:] if value not in (None, ""))
                self._lines.append(f"{record['ts'][11:19]} {metric} {tally.newest}")
        del self._lines[:-_NEWEST]
        for event in self._events.read():
            self._take(event)
        if self._live is not None:
            self._live.update(self.render())

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "poll" and event["target"] in self.tallies:
            tally = self.tallies[event["target"]]
            tally.polls += event["status"] != "skipped"
            tally.last = event
            if self._live is None:
                self._print_poll(event, tally)
        elif event["level"] != "info" and self._live is None:
            said = {name: value for name, value in event.items() if name not in ("ts", "seq", "metric", "run_id") and value is not None}
            self._console.print(Text(f"{event['ts'][11:19]} {said}"), soft_wrap=True)

    def _print_poll(self, event: dict[str, Any], tally: Tally) -> None:
        error = f": {event['error']}" if event.get("error") else ""
        line = (
            f"{event['ts'][11:19]} {event['target']}: {event['status']}, {event.get('rows', 0)} rows, {event.get('duration_ms', 0):.1f} ms"
            f" ({tally.records} records so far){error}"
        )
        self._console.print(Text(line), soft_wrap=True)

    def render(self) -> RenderableType:
        """Return the table of metrics and the newest records, as read by the last `refresh`."""
        table = Table(title="sqmon", title_justify="left", expand=True)
        for heading in ("metric", "last poll", "status"):
            table.add_column(heading)
        for heading in ("rows", "ms", "late ms", "polls", "records"):
            table.add_column(heading, justify="right")
        for metric, tally in self.tallies.items():
            last = tally.last or {}
            status = str(last.get("status", "waiting"))
            table.add_row(
                metric,
                str(last.get("ts", ""))[11:19],
                Text(status, style=_STYLES.get(status, "dim")),
                str(last.get("rows", "")),
                _number(last.get("duration_ms")),
                _number(last.get("late_ms")),
                str(tally.polls),
                str(tally.records),
            )
        newest = Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in self._lines))
        return Group(table, Panel(newest, title="newest records", title_align="left"))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.1f}"
