"""The sections of a report about workers, nodes, the licence, and the monitor itself."""

from __future__ import annotations

from typing import Optional

from sqmon.config.typed_time import in_words
from sqmon.delivery.report.charts import Row, bar_of, bars
from sqmon.delivery.report.gathering import Gathering
from sqmon.delivery.report.html import Content, Html, element, joined
from sqmon.delivery.report.tables import Column, left_out, names_of, table
from sqmon.delivery.report.times import Times
from sqmon.words import counted

_LICENCE = {
    "compressed_cluster_size": "compressed size",
    "uncompressed_cluster_size": "uncompressed size",
    "compress_type": "what the limit counts",
    "cluster_size_limit": "limit",
    "cluster_size_left": "left",
    "expiration_date": "expires on",
    "days_to_expiration": "days left",
    "is_date_expired": "expired",
    "is_size_exceeded": "size exceeded",
    "size_used_ratio": "used of the limit",
}


class Surroundings:
    """Writes these sections of one report."""

    def __init__(self, found: Gathering, times: Times) -> None:
        self._found = found
        self._times = times

    def workers(self) -> Html:
        """Return what ran on each worker, when nodes were up, and which went down."""
        workers = [(name, worker) for name, worker in self._found.workers.largest() if name][:60]
        rows: list[list[Content]] = [
            [
                name,
                names_of(worker.services),
                f"{worker.statements:,}",
                in_words(worker.busy_s),
                f"{worker.busy_s / self._times.seconds:.0%}" if self._times.seconds else "",
            ]
            for name, worker in workers
        ]
        columns = [
            Column("worker"),
            Column("services"),
            Column("statements", "number"),
            Column("busy", "number"),
            Column("share", "number"),
        ]
        parts: list[Content] = [table(columns, rows)] if rows else [element("p", "No statement of a user was seen on any worker.")]
        parts.append(left_out(len(self._found.workers) - len(workers), "worker", "workers"))
        return joined(*parts, self._nodes())

    def _nodes(self) -> Html:
        lives = sorted(self._found.nodes, key=lambda life: (str(life["instance_id"]), str(life["began_before"])))
        if not lives:
            return element("p", "show_cluster_nodes was not polled, so nothing is known of the nodes.")
        rows: dict[str, list[Row]] = {}
        for life in lives:
            name = f"{life['instance_id'] or '?'} ({life['server']}:{life['port']})"
            began = self._times.span(life["began_after"], life["began_before"])
            ended = (
                "is up at the end"
                if life["ended_before"] is None
                else f"down {self._times.span(life['ended_after'], life['ended_before'])}"
            )
            rows.setdefault(name, []).append(Row(name, [bar_of(life, "node", f"{name}: up since {began}, {ended}", self._found.end_ns)]))
        shown = [Row(name, [bar for row in each for bar in row.bars]) for name, each in rows.items()][:60]
        chart = element("figure", bars(self._times, shown, "When nodes were up"))
        said = f"A node went down {counted(self._found.down.total, 'time')}." if self._found.down.total else "No node went down."
        return joined(element("h3", "Nodes"), element("p", said), chart, left_out(len(rows) - len(shown), "node", "nodes"))

    def licence(self) -> Html:
        """Return the licence as it was last seen, and what has changed in it."""
        row = self._found.licence
        if not row:
            return element("p", "get_license_info was not polled, so nothing is known of the licence.")
        cells: list[list[Content]] = [[text, _value(name, row[name])] for name, text in _LICENCE.items() if row.get(name) is not None]
        parts = [table([Column("licence"), Column("at the end", "number")], cells)]
        changes: list[list[Content]] = [
            [
                self._times.span(line["began_after"], line["began_before"]),
                _LICENCE.get(line["column"], str(line["column"])),
                _value(line["column"], line["before"]),
                _value(line["column"], line["now"]),
            ]
            for line in self._found.licence_changes
        ]
        if changes:
            columns = [Column("changed", "time"), Column("what"), Column("from", "number"), Column("to", "number")]
            parts += [element("h3", "Changes"), table(columns, changes)]
        return joined(*parts, left_out(self._found.licence_changes.left_out, "earlier change", "earlier changes"))

    def monitor(self) -> Html:
        """Return when the monitor was blind, how its polls went, and what it knows of the server's clock."""
        gaps = sorted(self._found.gaps, key=lambda gap: gap.since_ns)
        rows: list[list[Content]] = [
            [
                gap.target or "all",
                self._times.text(gap.since_ns),
                "still" if gap.until_ns is None else self._times.text(gap.until_ns),
                in_words(((gap.until_ns or self._found.end_ns) - gap.since_ns) / 1e9),
                gap.reason if gap.first_seq is None else f"{gap.reason} (records {gap.first_seq:,} to {gap.last_seq:,} were lost)",
            ]
            for gap in gaps
        ]
        columns = [Column("metric"), Column("since", "time"), Column("until", "time"), Column("for", "number"), Column("reason")]
        blind = table(columns, rows) if rows else element("p", "The monitor was never blind: each metric was polled without a gap.")
        parts: list[Optional[Html]] = [
            blind,
            left_out(self._found.gaps.left_out, "shorter gap", "shorter gaps"),
            element("h3", "Polls"),
            self._polls(),
        ]
        for line in self._found.restarts:
            text = f"SQreamDB was restarted: {self._times.span(line['began_after'], line['began_before'])}."
            parts.append(element("p", text))
        offset = self._found.offset
        if offset is not None:
            zone = f"{offset['zone_minutes'] / 60:+g} h from UTC"
            text = f"The server's clock shows {zone}, and is ahead by {offset['skew_min_s']} to {offset['skew_max_s']} s beside that."
            parts.append(element("p", text, class_="quiet"))
        return joined(*parts)

    def _polls(self) -> Html:
        rows: list[list[Content]] = []
        for name, polled in sorted(self._found.polled.largest()):
            good = polled.statuses["ok"] + polled.statuses["empty"]
            failed = polled.statuses["error"] + polled.statuses["timeout"]
            rows.append(
                [
                    name,
                    f"{good:,}",
                    f"{failed:,}" if failed else "",
                    f"{polled.statuses['skipped']:,}" if polled.statuses["skipped"] else "",
                    f"{polled.rows:,}",
                    f"{polled.total_ms / good:,.0f} ms" if good else "",
                    f"{polled.longest_ms:,.0f} ms" if good else "",
                    in_words(polled.blind_s) if polled.blind_s else "",
                    f"{polled.lost:,}" if polled.lost else "",
                    polled.error[:300],
                ]
            )
        columns = [
            Column("metric"),
            *(Column(name, "number") for name in ("good", "failed", "skipped", "rows", "mean", "longest", "blind")),
        ]
        return table([*columns, Column("records lost", "number"), Column("last error")], rows)


def _value(name: str, value: object) -> str:
    if name == "size_used_ratio" and isinstance(value, (int, float)):
        return f"{value:.1%}"
    if name.startswith("is_"):
        return "yes" if value in (1, "1", True) else "no"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
