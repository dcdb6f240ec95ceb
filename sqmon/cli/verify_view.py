"""How `sqmon verify` shows its verdicts: for people, for programs, and only what has changed."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Iterator, Mapping, Optional

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sqmon.clock import utc_stamp
from sqmon.delivery.loki_verdict import ORDER, Finding
from sqmon.delivery.verify import Problem, Verdict
from sqmon.delivery.verify_loki import LokiVerdict, SegmentVerdict
from sqmon.errors import SqmonError, shown

_MOST_FINDINGS = 20
"""How many findings of one segment are shown to people; --json has all."""


def as_json(verdict: Verdict, in_loki: Optional[LokiVerdict]) -> dict[str, Any]:
    """Return everything for programs."""
    streams, problems = ([each._asdict() for each in found] for found in (verdict.streams, verdict.problems))
    told: dict[str, Any] = {**verdict._asdict(), "streams": streams, "problems": problems}
    del told["found"]
    if in_loki is not None:
        told["loki"] = {**in_loki._asdict(), "segments": [_named(segment) for segment in in_loki.segments]}
        told["proved"] = verdict.proved and in_loki.proved
    return told


def _named(segment: SegmentVerdict) -> dict[str, Any]:
    return {**segment._asdict(), "findings": [finding._asdict() for finding in segment.findings]}


def show_json(told: Mapping[str, Any], console: Console) -> None:
    """Print one JSON object."""
    console.out(msgspec.json.encode(told).decode(), highlight=False)


def show(verdict: Verdict, seconds: float, console: Console) -> None:
    """Print what the files prove."""
    segments, lines, size = (sum(getattr(stream, name) for stream in verdict.streams) for name in ("segments", "lines", "bytes"))
    figures = f": {segments:,} segments, {lines:,} lines, {size / 1e6:,.1f} MB in {verdict.log_dir}, read in {seconds:.1f} s"
    console.print(_word(proved=verdict.proved) + Text(figures), soft_wrap=True)
    for problem in verdict.problems:
        console.print(Text(f"  {_sentence(problem)}", style="red"), soft_wrap=True)
    console.print()
    console.print(_table(verdict))
    unsealed = sum(len(stream.unsealed) for stream in verdict.streams)
    if unsealed:
        text = f"\nNothing vouches for what has no seal yet ({unsealed} of the segments): it is being written, or the next start seals it."
        console.print(text, highlight=False, soft_wrap=True)


def show_in_loki(verdict: LokiVerdict, seconds: float, console: Console) -> None:
    """Print what Loki has of the files."""
    lines = sum(segment.lines for segment in verdict.segments)
    counts = Counter(segment.verdict for segment in verdict.segments)
    figures = ", ".join(f"{counts[kind]:,} {kind}" for kind in ORDER if counts[kind])
    text = (
        f" in Loki: {len(verdict.segments):,} segments ({figures or 'none'}), {lines:,} lines; "
        f"{verdict.queries} queries to {verdict.url} in {seconds:.1f} s"
    )
    console.print()
    console.print(_word(proved=verdict.proved) + Text(text), soft_wrap=True)
    for segment in verdict.segments:
        for finding in segment.findings[:_MOST_FINDINGS]:
            console.print(Text(f"  {_found(segment, finding)}", style="red" if finding.fails else ""), soft_wrap=True)
        more = len(segment.findings) - _MOST_FINDINGS
        if more > 0:
            console.print(Text(f"  {segment.file}: {more} more; --json has all"), soft_wrap=True)


class Changes:
    """Prints what has changed since the last look, and at first everything that is not as it should be."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._known: dict[str, tuple[str, list[str]]] = {}
        self._state = ""

    def tell(self, verdict: Verdict, in_loki: Optional[LokiVerdict]) -> None:
        """Take what a look has found."""
        now = dict(_states(verdict, in_loki))
        proved = verdict.proved and (in_loki is None or in_loki.proved)
        self._become("proved" if proved else "not proved", f"{len(verdict.found):,} segments in {verdict.log_dir}")
        for name in sorted({*now, *self._known}):
            was, state = self._known.get(name, ("ok", [])), now.get(name, ("ok", []))
            if was != state:
                self._print(name, was[0], state[0], state[1])
        self._known = now

    def failed(self, error: SqmonError) -> None:
        """Take that a look was not possible."""
        self._become("unknown", str(error))

    def _become(self, state: str, text: str) -> None:
        if state != self._state:
            self._print("", self._state, state, [text])
        self._state = state

    def _print(self, name: str, was: str, state: str, texts: list[str]) -> None:
        now_ns = time.time_ns()
        if self._as_json:
            show_json({"ts": utc_stamp(now_ns), "file": name, "was": was, "verdict": state, "texts": texts}, self._console)
        else:
            change = f"{was} -> {state}" if was else state
            moment = time.strftime("%H:%M:%S %Z", time.localtime(now_ns // 10**9))
            self._console.print(Text(shown(f"{moment} {name + ': ' if name else ''}{change}")), soft_wrap=True)
            for text in texts[:_MOST_FINDINGS]:
                self._console.print(Text(shown(f"  {text}")), soft_wrap=True)
        self._console.file.flush()


def _states(verdict: Verdict, in_loki: Optional[LokiVerdict]) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Yield each file that is not as it should be, with its worst verdict and everything that is said of it."""
    states: dict[str, tuple[str, list[str]]] = {}
    for problem in verdict.problems:
        kind, texts = states.get(problem.file, (problem.kind, []))
        states[problem.file] = (kind, [*texts, _sentence(problem)])
    for segment in in_loki.segments if in_loki else ():
        # Lines on their way are no news: they change with every look.
        if segment.verdict not in ("ok", "pending"):
            kind, texts = states.get(segment.file, (segment.verdict, []))
            told = [_found(segment, finding) for finding in segment.findings if finding.kind != "pending"]
            states[segment.file] = (kind, [*texts, *told])
    yield from states.items()


def _word(*, proved: bool) -> Text:
    return Text("PROVED", "bold green") if proved else Text("NOT PROVED", "bold red")


def _seqs(first: int, last: int, run_id: str) -> str:
    seq = f", seq {first}" + (f"-{last}" if last > first else "") if last else ""
    return seq + (f" of run {run_id}" if run_id else "")


def _sentence(problem: Problem) -> str:
    return f"{problem.file}{_seqs(problem.first_seq, problem.last_seq, problem.run_id)}: {problem.text} ({problem.kind})"


def _found(segment: SegmentVerdict, finding: Finding) -> str:
    hop = f", {finding.hop}" if finding.hop else ""
    return f"{segment.file}{_seqs(finding.first_seq, finding.last_seq, finding.run_id)}: {finding.text} ({finding.kind}{hop})"


def _table(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    table.add_column("stream", no_wrap=True)
    for heading in ("segments", "unsealed", "lines", "lost", "gaps"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("newest seal", no_wrap=True)
    for each in verdict.streams:
        figures = (each.segments, len(each.unsealed), each.lines, each.lost, each.blind)
        table.add_row(each.stream, *(str(figure) for figure in figures), each.head[:16])
    return table
