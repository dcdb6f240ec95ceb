"""`sqmon history`, on the files of the real program and against the truth of the simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.clock import stamp_ns
from sqmon.lifetimes.durations import between
from sqmon.simulator import Simulator
from tests.support.program import POWERLESS, Ended, Service, ended, service, wait_until

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

    assert (1, f"sqmon: {tmp_path}: no segments of a service here; give its --log_dir\n") == (nothing.code, nothing.stderr)
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
    assert (1, f"sqmon: {segment}: Permission denied; the files must be readable\n") == (found.code, found.stderr)


def test_bounds_are_words() -> None:
    """A duration that is known exactly enough is told once, any other by its bounds."""
    assert "between 41 s and 43 s" == between(41.0, 43.0)
    assert "about 2 h 5 min" == between(7500.0, 7501.0)
    assert ("at most 4 s", "at least 41 s") == (between(0.0, 4.0), between(41.0, None))
    assert "clock" in between(None, None)
