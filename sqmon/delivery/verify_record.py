"""What a verdict leaves for the service of the directory: how far everything is in Loki, and which segments are."""

from __future__ import annotations

from typing import Optional

from sqmon.clock import stamp_ns
from sqmon.delivery.verify import Verdict
from sqmon.delivery.verify_loki import LokiVerdict, SegmentVerdict
from sqmon.storage.proof_file import Proof

_HARMLESS = ("stored_twice",)
"""Findings about lines that are in Loki."""


def proof_of(verdict: Verdict, in_loki: LokiVerdict, *, looked_ns: int, every_s: float, whole: bool) -> Proof:
    """Return what was found as the service needs it; `whole` says whether Loki was asked for every segment of the directory."""
    bad = {problem.file for problem in verdict.problems}
    unsealed = {file for stream in verdict.streams for file in stream.unsealed}
    sealed = {each.sealed.file: each.sealed.sha256 for each in verdict.found if each.sealed.file not in bad | unsealed}
    return Proof(
        url=in_loki.url,
        looked_ns=looked_ns,
        every_s=every_s,
        proved=verdict.proved and in_loki.proved,
        problem=_problem(verdict, in_loki),
        up_to_ns=_up_to(verdict, in_loki) if whole and verdict.proved else None,
        unproved_lines=sum(map(_unproved, in_loki.segments)),
        segments={each.file: sealed[each.file] for each in in_loki.segments if each.verdict == "ok" and each.file in sealed},
    )


def _problem(verdict: Verdict, in_loki: LokiVerdict) -> str:
    if verdict.problems:
        first, more = verdict.problems[0], len(verdict.problems) - 1
        return f"the files are not what the service wrote: {first.file} is {first.kind}" + (f", and {more} more" if more else "")
    failing = [each for each in in_loki.segments if any(finding.fails for finding in each.findings)]
    if not failing:
        return ""
    more = len(failing) - 1
    return f"{failing[0].file} is {failing[0].verdict} in Loki" + (f", and {more} more are not whole" if more else "")


def _up_to(verdict: Verdict, in_loki: LokiVerdict) -> Optional[int]:
    since = [finding.since for segment in in_loki.segments for finding in segment.findings if finding.kind not in _HARMLESS]
    if "" in since:
        return None
    last = max((each.last_ts for each in verdict.found if each.records), default="")
    return stamp_ns(min(since)) - 1 if since else stamp_ns(last) if last else None


def _unproved(segment: SegmentVerdict) -> int:
    return sum(finding.last_seq - finding.first_seq + 1 for finding in segment.findings if finding.kind not in _HARMLESS)
