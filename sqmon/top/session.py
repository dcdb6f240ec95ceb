"""A session at a terminal: what is shown follows the keys that are pressed and the files that grow."""

from __future__ import annotations

import datetime as dt
from typing import Callable, Optional

from sqmon.clock import Clock
from sqmon.config.typed_time import TypedTime
from sqmon.top.frame import FROZEN, LEAST_HEIGHT, LEAST_WIDTH, LIVE, PAST, Scene, detail_of, frame, scene_of, too_small
from sqmon.top.lines import Line
from sqmon.top.moment import Health, Moment
from sqmon.top.recording import Recording
from sqmon.top.state import Shown, State, pressed
from sqmon.top.table import Detail
from sqmon.top.terminal import Terminal
from sqmon.top.views import VIEWS

TURN_SECONDS = 0.25
"""How often the files are looked at."""


class Session:
    """What is shown, and why."""

    def __init__(self, recording: Recording, *, clock: Clock, at_ns: Optional[int] = None, state: Optional[State] = None) -> None:
        """`at_ns` is the time to begin with, None is the present."""
        self.state = state or State()
        self.at_ns = recording.end_ns if at_ns is None else at_ns
        """The time that is shown, None for the present; of what does not grow, the end is the present."""
        self.ended = False
        self._recording = recording
        self._clock = clock
        self._frozen = False
        self._shown = Shown()
        self._kept: Optional[Detail] = None
        self._health: Optional[Health] = None
        self._drawn: object = None
        self._scene: Scene = scene_of(self._moment())

    @property
    def mode(self) -> str:
        """How the time that is shown relates to the present."""
        return LIVE if self.at_ns is None else FROZEN if self._frozen else PAST

    @property
    def scene(self) -> Scene:
        """What is shown."""
        return self._scene

    def refresh(self) -> bool:
        """Look at the files, and return whether there is something new to show."""
        if self.at_ns is not None:
            return False
        now_ns = self._clock.time_ns()
        moment = self._recording.now(now_ns)
        if moment is None:
            moment = self._scene.moment._replace(at_ns=now_ns)  # the same rows, which have become older
            if moment.health() == self._health:
                return False
        self._scene, self._health = scene_of(moment), moment.health()
        return True

    def lines(self, width: int, height: int) -> list[Line]:
        """Return what a terminal of this size shows."""
        if width < LEAST_WIDTH or height < LEAST_HEIGHT:
            return too_small(width, height)
        if self.state.opened:
            self._kept = detail_of(self._scene, self.state) or self._kept
        else:
            self._kept = None
        lines, self._shown = frame(self._scene, self.state, width, height, mode=self.mode, kept=self._kept)
        self.state = self.state._replace(first=self._shown.first)
        return lines

    def press(self, key: str) -> str:
        """Take a key; return the id to be copied, if it is to copy one. After the end, keys do nothing."""
        if self.ended:
            return ""
        self.state = pressed(self.state, key, self._shown)
        wish, self.state = self.state.wish, self.state._replace(wish="")
        if wish in ("earlier", "later"):
            self._step(later=wish == "later")
        elif wish == "freeze" and self.at_ns is None:
            self._go(self._scene.moment.at_ns, frozen=True)
        elif wish in ("freeze", "now"):
            self._go(self._recording.end_ns)
        elif wish == "go":
            self._go_to(self.state.message)
        elif wish == "copy":
            return self._copied()
        self.ended = wish == "quit"
        return ""

    def _moment(self) -> Moment:
        now_ns = self._clock.time_ns()
        if self.at_ns is not None:
            return self._recording.at(self.at_ns)
        return self._recording.now(now_ns) or self._recording.at(now_ns)

    def _go(self, at_ns: Optional[int], *, frozen: bool = False) -> None:
        """Show another time; a moment that is frozen is already shown."""
        self.at_ns, self._frozen = at_ns, frozen
        if at_ns is None or not frozen:
            self._scene = scene_of(self._moment())
            self._health = self._scene.moment.health()

    def _step(self, *, later: bool) -> None:
        view = VIEWS[self.state.view]
        target = view.metrics[0] if view.metrics else ""
        found = self._recording.neighbour(target, self._scene.moment.at_ns, later=later)
        if found is None:
            where = "later" if later else "earlier"
            self.state = self.state._replace(message=f"there is no {where} poll{f' of {target}' if target else ''}")
        else:
            self._go(found)

    def _go_to(self, text: str) -> None:
        now = dt.datetime.fromtimestamp(self._clock.time_ns() / 1e9, dt.timezone.utc)
        try:
            then = TypedTime(text).moment(now)
        except (ValueError, OverflowError) as error:
            self.state = self.state._replace(message=str(error))
            return
        self.state = self.state._replace(message="")
        self._go(int(then.timestamp() * 1e9))

    def _copied(self) -> str:
        wanted = self.state.opened or self.state.selected or next(iter(self._shown.keys), "")
        copies = {row.key: row.copy for row in self._scene.tables[self.state.view].rows()}
        text = copies.get(wanted, "")
        message = f"{text} was handed to the terminal's clipboard" if text else "there is nothing to copy"
        self.state = self.state._replace(message=message)
        return text


def attend(session: Session, terminal: Terminal, *, until: Callable[[], bool] = lambda: False) -> None:
    """Show the session until it or the terminal ends, or `until` says so."""
    stale, size = True, (0, 0)
    while not (session.ended or terminal.ended or until()):
        if terminal.size != size:
            size, stale = terminal.size, True
            terminal.forget()
        if session.refresh() or stale or terminal.is_blank:
            terminal.draw(session.lines(*size))
        stale = False
        for key in terminal.keys(TURN_SECONDS):
            if key == "redraw":
                terminal.forget()
            copied = session.press(key)
            if copied:
                terminal.copy(copied)
            stale = True
