"""`sqmon history`, on the files of the real program and against the truth of the simulator."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.cli import history_look
from sqmon.cli.history_look import Asked, look
from sqmon.clock import stamp_ns, utc_stamp
from sqmon.lifetimes.durations import between
from sqmon.simulator import Simulator
from sqmon.storage.file_sources import source_at
from sqmon.storage.segment_names import parsed
from tests.support.program import POWERLESS, Ended, Service, ended, service, wait_until
from tests.support.recording import Recording

QUICK = {"show_locks": 0.2, "show_server_status": 0.2, "show_cluster_nodes": 0.2}
TIMEOUT = 1.5


@pytest.fixture
def quiet() -> Iterator[Simulator]:
    """A cluster on which nothing happens but by order."""
    with Simulator(idle=True, statement_lock_timeout=TIMEOUT) as running:
        yield running


def polled(run: Service) -> None:
    """Return when locks and statements have been polled after now."""
    run.wait_for_polls(*QUICK, count=2)


def conflict(simulator: Simulator, run: Service) -> dict[str, Any]:
    """Let one statement hold a lock that another one wants until it gives up, and return the truth."""
    polled(run)
    holder = simulator.run("update public.t set x = 1", seconds=None, user="etl")
    polled(run)
    simulator.run("delete from t where x = 2", user="reporting")
    wait_until(lambda: any(wait["ended_ns"] for wait in simulator.truth()["waits"]))
    polled(run)  # or nobody could tell whether it gave up before the lock was released
    simulator.end(holder)
    simulator.run("insert into u values (1)", seconds=None, user="loader")
    polled(run)
    return simulator.truth()


def asked(log_dir: Path, *words: str) -> Ended:
    """Ask for a history."""
    return ended("history", *words, "--log_dir", str(log_dir), cwd=log_dir.parent)


def fits(life: dict[str, Any], truth: dict[str, Any]) -> bool:
    """Whether the truth lies within the bounds."""
    began = stamp_ns(life["began_after"]) <= truth["began_ns"] <= stamp_ns(life["began_before"])
    return began and bool(stamp_ns(life["ended_after"]) <= truth["ended_ns"] <= stamp_ns(life["ended_before"]))


def test_who_held_a_table_and_who_waited_is_one_command(quiet: Simulator, tmp_path: Path) -> None:
    """While the service runs and after it, the holder, how long it held, and the one that waited are told as they were."""
    log_dir = tmp_path / "logs"
    with service(quiet.port, log_dir, metrics=QUICK) as run:
        truth = conflict(quiet, run)
        told = json.loads(asked(log_dir, "locks", "--object", "public.t", "--since", "-15m", "--json").stdout)
        assert run.end() == 0

    (lock,) = told["locks"]
    (held,) = [each for each in truth["locks"] if each["locked_object"] == "table$master$public$t$Update"]
    (wait,) = truth["waits"]
    (waiter,) = lock["waiters"]
    assert (held["statement_id"], "etl", "Exclusive") == (lock["statement_id"], lock["username"], lock["lock_mode"])
    assert fits(lock, held)
    assert (wait["statement_id"], "reporting", "gone", "inferred") == tuple(
        waiter[name] for name in ("statement_id", "username", "end", "certainty")
    )
    assert fits(waiter, wait)
    assert ["no events are kept from that time"] == [gap["reason"] for gap in told["gaps"]]

    shown = asked(log_dir, "locks", "--object", "t", "--since", "-15m")
    assert (0, "") == (shown.code, shown.stderr)
    assert f"statement {held['statement_id']} of etl: update public.t set x = 1" in shown.stdout
    assert f"└ statement {wait['statement_id']} of reporting waited between" in shown.stdout
    assert "gave up or ended: delete from t where x = 2" in shown.stdout
    assert "the monitor was blind: show_locks" in shown.stdout
    assert "table$master$public$u" not in shown.stdout
    unfinished = asked(log_dir, "locks", "--user", "LOADER").stdout
    assert "table$master$public$u$Insert" in unfinished
    assert " so far" in unfinished


def test_statements_and_nodes_have_histories(quiet: Simulator, tmp_path: Path) -> None:
    """Statements can be chosen by user, text, hash, object and duration; nodes are told with the time that they were up."""
    log_dir = tmp_path / "logs"
    with service(quiet.port, log_dir, metrics=QUICK) as run:
        truth = conflict(quiet, run)
        assert run.end() == 0

    def statements(*words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(asked(log_dir, "statements", "--json", *words).stdout)["statements"]
        return found

    everything = statements()
    users = {each["statement_id"]: each for each in truth["statements"] if each["source"] != "client"}
    assert sorted(users) == sorted(life["statement_id"] for life in everything)
    assert all(fits(life, users[life["statement_id"]]) for life in everything if life["ended_before"])
    assert ["reporting"] == [life["username"] for life in statements("--statement", "DELETE from t")]
    assert ["reporting"] == [life["username"] for life in statements("--statement", statements("--user", "reporting")[0]["statement_hash"])]
    assert {"etl", "reporting"} == {life["username"] for life in statements("--object", "t")}
    assert [] == statements("--min", "10m")
    assert [] == statements("--until", "2026-01-01")
    shown = asked(log_dir, "statements").stdout
    assert "update public.t set x = 1" in shown
    nodes = asked(log_dir, "nodes")
    assert (0, 4) == (nodes.code, nodes.stdout.count("so far"))


def test_gaps_are_exit_code_1(quiet: Simulator, tmp_path: Path) -> None:
    """A monitor that saw everything is 0; one that was stopped, or of which no events are kept, is 1, and says why."""
    log_dir = tmp_path / "logs"
    with service(quiet.port, log_dir, metrics=QUICK) as run:
        polled(run)
        seeing = asked(log_dir, "gaps")
        before = asked(log_dir, "gaps", "--since", "-1d", "--json")
        assert run.end() == 0
    after = asked(log_dir, "gaps", "--object", "show_locks")

    assert (0, "") == (seeing.code, seeing.stderr)
    assert (1, ["no events are kept from that time"]) == (before.code, [gap["reason"] for gap in json.loads(before.stdout)["gaps"]])
    assert (1, 1) == (after.code, after.stdout.count("show_locks"))
    assert "stopped" in after.stdout
    with service(quiet.port, log_dir, metrics=QUICK) as run:
        polled(run)
        over = json.loads(asked(log_dir, "gaps", "--json").stdout)["gaps"]
        assert run.end() == 0
    assert {(metric, "stopped", True) for metric in QUICK} == {(gap["target"], gap["reason"], gap["until"] is not None) for gap in over}


def test_what_can_not_be_answered_is_one_line(tmp_path: Path) -> None:
    """A directory without segments, a range that ends before it begins, and a time that is none are told in one line each."""
    nothing = ended("history", "locks", "--log_dir", str(tmp_path), cwd=tmp_path)
    backwards = ended("history", "locks", "--since", "2026-11-25", "--until", "2026-11-24", cwd=tmp_path, TZ="UTC")
    wrong = ended("history", "locks", "--since", "tomorrow", cwd=tmp_path)

    assert (1, f"sqmon: {tmp_path}: no segments of a service here; give its --log_dir, or a --file\n") == (nothing.code, nothing.stderr)
    assert (1, "sqmon: --until 2026-11-24 00:00:00 UTC is before --since 2026-11-25 00:00:00 UTC\n") == (backwards.code, backwards.stderr)
    assert wrong.code == 2
    assert wrong.stderr.count("\n") == 1
    assert "yesterday 02:00" in wrong.stderr


def test_files_that_may_not_be_read_are_named(tmp_path: Path) -> None:
    """A segment that this user may not read is an error in one line, since what it holds is unknown."""
    segment = tmp_path / "logs" / "sqmon" / "sqmon-20261124T120000.000000Z-000001.jsonl"
    segment.parent.mkdir(parents=True)
    segment.touch(mode=0)

    found = ended("history", "gaps", "--log_dir", str(tmp_path / "logs"), cwd=tmp_path, through=POWERLESS)
    assert (1, f"sqmon: {segment}: permission denied; the files must be readable\n") == (found.code, found.stderr)


def test_bounds_are_words() -> None:
    """A duration that is known exactly enough is told once, any other by its bounds."""
    assert "between 41 s and 43 s" == between(41.0, 43.0)
    assert "about 2 h 5 min" == between(7500.0, 7501.0)
    assert ("at most 4 s", "at least 41 s") == (between(0.0, 4.0), between(41.0, None))
    assert "clock" in between(None, None)


HOUR = 3600.0


def day(place: Path, *, single: bool = False) -> int:
    """Record ten hours of locks, a poll each two minutes; the service was stopped in the fifth hour, and failed in the eighth."""
    recording = Recording(place, max_bytes=1 << 26 if single else 4096, single=single)
    recording.event("start")
    noon = recording.clock.time_ns()

    def hours() -> float:
        return (recording.clock.time_ns() - noon) / 1e9 / HOUR

    while hours() < 10:
        if 4 <= hours() < 5:
            stopped = utc_stamp(recording.clock.time_ns())
            recording.event("stop", reason="SIGTERM")
            recording.advance(HOUR)
            recording.restart("20261124T170000Z-0002")
            recording.event("start")
            until = utc_stamp(recording.clock.time_ns())
            recording.event("gap", "warning", target="show_locks", since=stopped, until=until, reason="stopped", target_run_id="x")
        now = hours()
        held = {"long": 1 <= now < 9, "short": 2.5 <= now < 2.6, "late": 5.5 <= now < 5.55, "open": now >= 8.5}
        rows = [
            {"statement_id": name, "username": "etl", "locked_object": f"table$master$public${name}$Insert", "lock_mode": "Inclusive"}
            for name, there in held.items()
            if there
        ]
        if 7 <= now < 8:
            recording.poll("show_locks", [], status="error", error="it failed")
        else:
            recording.poll("show_locks", rows)
        recording.advance(120)
    recording.event("stop", reason="SIGTERM")
    recording.close()
    return noon


RANGES = ((0.5, 0.8), (2.55, 3.0), (4.2, 4.4), (3.0, 5.2), (7.2, 7.4), (8.6, 8.7), (9.5, 10.5), (-1.0, 0.2))


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("kind", ["locks", "gaps"])
def test_range_is_answered_as_by_reading_everything(tmp_path: Path, kind: str, single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the range, reading no more than it needs finds the same locks, with the same bounds, and the same gaps."""
    noon = day(tmp_path / "place", single=single)
    source = source_at(tmp_path / "place")
    now = dt.datetime.fromtimestamp(noon / 1e9 + 11 * HOUR, dt.timezone.utc)
    margins = history_look._MARGINS_S
    for bounds in RANGES:
        since, until = (dt.datetime.fromtimestamp(noon / 1e9 + hours * HOUR, dt.timezone.utc) for hours in bounds)
        asked = Asked(kind, ("show_locks",) if kind == "locks" else (), since, until, lambda _kind, _line: True)
        monkeypatch.setattr(history_look, "_MARGINS_S", margins)
        found = look(source, asked, now=now)
        monkeypatch.setattr(history_look, "_MARGINS_S", ())
        everything = look(source, asked, now=now)

        for name in ("statement_id", "began_after", "began_before", "ended_after", "ended_before"):
            lives = [[life[name] for life in each.history.of("locks")] for each in (everything, found)]
            assert lives[0] == lives[1], (bounds, name)
        assert everything.gaps == found.gaps, bounds


def test_range_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    """A range within which a lock came and went is answered although what was written hours before can't be read."""
    log_dir = tmp_path / "logs"
    noon = day(log_dir)
    for path in log_dir.glob("*/*.jsonl"):
        name = parsed(path.parent.name, path.name)
        # The first event is asked since when there are any.
        if name is not None and (name.number, path.parent.name) != (1, "sqmon") and name.microseconds < noon // 1000 + 3 * HOUR * 1e6:
            os.utime(path, ns=(noon + int(3.5 * HOUR) * 10**9,) * 2)
            path.chmod(0)
    since, until = (utc_stamp(noon + int(hours * HOUR) * 10**9)[:19] + "Z" for hours in (5.45, 5.6))
    words = ("history", "locks", "--log_dir", "logs", "--until", until, "--object", "late", "--json")
    found = ended(*words, "--since", since, cwd=tmp_path, through=POWERLESS)
    everything = ended(*words, cwd=tmp_path, through=POWERLESS)

    assert (0, "", ["late"]) == (found.code, found.stderr, [life["statement_id"] for life in json.loads(found.stdout)["locks"]])
    assert everything.code == 1


def test_single_file_has_a_history(tmp_path: Path) -> None:
    """--file takes the file of file-only mode."""
    noon = day(tmp_path / "all.jsonl", single=True)
    since, until = (utc_stamp(noon + int(hours * HOUR) * 10**9)[:19] + "Z" for hours in (2, 3))
    words = ("history", "locks", "--file", "all.jsonl", "--since", since, "--until", until)
    found = ended(*words, "--object", "short", "--json", cwd=tmp_path)

    assert (0, "") == (found.code, found.stderr)
    assert ["short"] == [life["statement_id"] for life in json.loads(found.stdout)["locks"]]
