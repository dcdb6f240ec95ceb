"""The lines of the stream of lifetimes in words."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from sqmon.lifetimes.durations import between

Life = Mapping[str, Any]

_LONGEST = 100  # characters of a statement
_LASTED = {
    "lock_held": "so far",
    "lock_released": "held",
    "lock_orphaned": "held",
    "statement_ended": "lasted",
    "statement_unblocked": "waited",
    "node_down": "was up",
}


def sentence(life: Life) -> Optional[str]:
    """Return what a line says; None for a kind of line that is not known."""
    event = str(life.get("event"))
    kind, _, what = event.partition("_")
    if event == "state":
        return "the state of the lifetimes, for the process that follows them"
    if kind == "lock":
        subject = f"{life.get('locked_object')} ({life.get('lock_mode')}) {what} by {_statement(life)}"
    elif kind == "statement":
        status = f" ({life['status']})" if what in ("seen", "status") and life.get("status") else ""
        blocked = (
            f" by statement {life['blocked_by']} on {life.get('locked_object')}" if what == "blocked" and life.get("blocked_by") else ""
        )
        subject = f"{_statement(life)} {what}{status}{blocked}"
    elif kind == "node":
        subject = f"node {life.get('instance_id')} at {life.get('server')}:{life.get('port')} {what}"
    else:
        return None
    lasted = f", {_LASTED[event]} {between(life.get('held_min_s'), life.get('held_max_s'))}" if event in _LASTED else ""
    text = " ".join(str(life.get("statement") or "").split())
    return f"{subject}{lasted}" + (f": {text if len(text) <= _LONGEST else f'{text[: _LONGEST - 1]}…'}" if text else "")


def _statement(life: Life) -> str:
    return f"statement {life.get('statement_id')} of {life.get('username') or 'an unknown user'}"
