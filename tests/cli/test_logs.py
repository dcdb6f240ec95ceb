"""`sqmon logs`, as the real program on recordings and on a running service."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.cli.event_words import EVENTS, sentence
from sqmon.cli.logs_filter import Filter, condition
from sqmon.clock import stamp_ns
from sqmon.simulator import Simulator
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from tests.support import ROOT
from tests.support.program import DEADLINE_SECONDS, QUICK, Ended, command, ended, environment, service
from tests.support.recording import Recording

NOON = "2026-11-24T12:00:00Z"


def lock(number: int, **more: Any) -> dict[str, Any]:
    """Return a row of show_locks."""
    row = {
        "statement_id": str(number),
        "username": "etl",
        "locked_object": f"table$t{number}",
        "lock_mode": "Inclusive",
        "lock_age_s": number,
    }
    return {**row, **more}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Ten polls of locks, one each 10 s from noon of 2026-11-24, with nodes; poll 5 has no rows."""
    log_dir = tmp_path / "logs"
    recording = Recording(log_dir, max_bytes=4096)
    recording.event("start", version="1", pid=7, metrics=2, host="db", port=5000, log=str(log_dir))
    for number in range(1, 11):
        recording.poll("show_locks", [lock(number), lock(number + 1)] if number != 5 else [])
        recording.poll("show_cluster_nodes", [{"instance_id": "node_1", "server_ip": "10.0.0.1", "server_port": 5000}])
        recording.advance(10)
    recording.event("login_paused", "error", target="show_locks", reason="wrong password", until="2026-11-24T12:15:00.000000000Z")
    recording.close()
    for seal in recording.sealed[:3]:
        compress(log_dir, Source(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)
    return log_dir


def logs(log_dir: Path, *words: str, **more: str) -> Ended:
    """Run the command on a directory in UTC."""
    return ended("logs", *words, "--log_dir", str(log_dir), cwd=log_dir.parent, TZ="UTC", **more)


def records(log_dir: Path, *words: str) -> list[dict[str, Any]]:
    """Return the lines that it prints as JSON."""
    found = logs(log_dir, "--json", *words)
    assert found.stderr == ""
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_all_streams_come_in_order_of_time(recorded: Path) -> None:
    """Without a metric, everything that is in segments and archives comes once, by time."""
    found = records(recorded)

    assert {"show_locks": 18, "show_cluster_nodes": 10, "sqmon": 22} == {
        metric: sum(line["metric"] == metric for line in found) for metric in ("show_locks", "show_cluster_nodes", "sqmon")
    }
    assert sorted(line["ts"] for line in found) == [line["ts"] for line in found]
    assert {line["metric"] for line in records(recorded, "show_locks", "sqmon")} == {"show_locks", "sqmon"}


def test_lines_are_for_people_unless_json_is_asked_for(recorded: Path) -> None:
    """A record is its columns, an event a sentence; times are local and name their zone."""
    found = logs(recorded)
    lines = found.stdout.splitlines()

    assert (0, "") == (found.code, found.stderr)
    assert f"2026-11-24 12:00:00.000 UTC sqmon sqmon 1 started: process 7, 2 metrics of db:5000, written to {recorded}" in lines
    assert lines[0].startswith(
        "2026-11-24 12:00:00.000 UTC show_locks statement_id=1 username=etl locked_object=table$t1 lock_mode=Inclusive"
    )
    assert lines[-1].endswith("show_locks: the server refused the login; no other is tried before 2026-11-24 12:15:00 UTC: wrong password")
    assert any(line.endswith("sqmon show_locks: poll 5: no rows in 10 ms") for line in lines)


def test_lines_are_chosen_by_time_text_and_column(recorded: Path) -> None:
    """All conditions must be met; numbers compare as numbers, whatever their form."""
    statements = [
        line["statement_id"] for line in records(recorded, "show_locks", "--since", "2026-11-24T12:01:05Z", "--where", "lock_age_s>8")
    ]

    assert ["9", "9", "10", "10", "11"] == statements
    assert ["3", "3"] == [line["statement_id"] for line in records(recorded, "show_locks", "--grep", r"table\$t3\b")]
    assert ["2"] == [
        line["statement_id"]
        for line in records(recorded, "--where", "statement_id=2", "--where", "username~^e", "--until", "2026-11-24T12:00:05Z")
    ]
    assert ["login_paused"] == [line["event"] for line in records(recorded, "sqmon", "--where", "level!=info")]
    assert ["10", "11"] == [line["statement_id"] for line in records(recorded, "show_locks", "-n", "2")]
    assert ["2", "2"] == [line["statement_id"] for line in records(recorded, "show_locks", "-n", "5", "--where", "statement_id=2")]


def test_bundle_is_read_with_file(recorded: Path, tmp_path: Path) -> None:
    """What was packed for another place is read there without unpacking, but can't be followed."""
    packed = ended("bundle", "--log_dir", str(recorded), "-o", "b.tar.zst", "--sql", "full", cwd=tmp_path)
    words = ("logs", "--file", "b.tar.zst", "show_locks")
    found = ended(*words, "--json", cwd=tmp_path)
    poll = ended(*words, "--poll", "2026-11-24T12:00:29Z", "--json", cwd=tmp_path)
    following = ended(*words, "-f", cwd=tmp_path)

    assert packed.code == 0
    assert [line["seq"] for line in records(recorded, "show_locks")] == [json.loads(line)["seq"] for line in found.stdout.splitlines()]
    assert ["3", "4"] == [row["statement_id"] for row in json.loads(poll.stdout)["rows"]]
    assert (1, "sqmon: b.tar.zst: nothing is ever added to it; leave out --follow\n") == (following.code, following.stderr)


def test_lines_of_several_clusters_name_theirs(tmp_path: Path) -> None:
    """A directory of several clusters is read as a whole, by time, or one of them alone."""
    for cluster in ("north", "south"):
        recording = Recording(tmp_path / "logs" / cluster)
        recording.advance(len(cluster) if cluster == "north" else 1)
        recording.poll("show_locks", [lock(1)])
        recording.close()

    said = logs(tmp_path / "logs", "show_locks").stdout.splitlines()
    assert [line.split()[3:5] for line in said] == [["south", "show_locks"], ["north", "show_locks"]]
    alone = logs(tmp_path / "logs", "show_locks", "--cluster", "north").stdout.splitlines()
    assert [line.split()[3] for line in alone] == ["show_locks"]
    polls = logs(tmp_path / "logs", "show_locks", "--poll", "2026-11-24T13:00Z").stdout
    assert re.findall(r"^(\w+) show_locks: 1 row", polls, re.MULTILINE) == ["north", "south"]


def test_nothing_found_is_exit_code_1(recorded: Path) -> None:
    """As with grep, the exit code says whether anything was printed."""
    assert [(0, True), (1, False), (1, False)] == [
        (found.code, bool(found.stdout))
        for found in (logs(recorded, "-n", "1"), logs(recorded, "--grep", "no such text"), logs(recorded, "--until", "2026-11-24T11:00Z"))
    ]


def test_one_poll_is_a_table(recorded: Path) -> None:
    """The poll of a time has all of its rows, and one without rows says so."""
    table = logs(recorded, "show_locks", "--poll", "2026-11-24T12:00:29Z").stdout.splitlines()
    nothing = logs(recorded, "show_locks", "--poll", "2026-11-24T12:00:45Z")
    document = json.loads(logs(recorded, "show_locks", "--poll", "2026-11-24T12:00:29Z", "--json").stdout)

    assert table[0] == "show_locks: 2 rows at 2026-11-24 12:00:20.040 UTC"
    assert table[1] == "in all rows: username=etl, lock_mode=Inclusive"
    assert [["statement_id", "locked_object", "lock_age_s"], ["3", "table$t3", "3"], ["4", "table$t4", "4"]] == [
        row.split() for row in table[2:]
    ]
    assert (0, "show_locks: 0 rows at 2026-11-24 12:00:40.080 UTC\n") == (nothing.code, nothing.stdout)
    assert (3, ["3", "4"], "") == (document["poll"], [row["statement_id"] for row in document["rows"]], document["problem"])
    before = logs(recorded, "show_locks", "--poll", "2026-11-24T11:00Z")
    assert (1, "", "sqmon: show_locks: no good poll at 2026-11-24 11:00:00 UTC or before is in the files\n") == before


def test_two_polls_are_compared_row_by_row(tmp_path: Path) -> None:
    """What came, went and changed is told; an age that grew is no change, nor is the poll's own statement."""
    recording = Recording(tmp_path / "logs")

    def statement(number: int, status: str, *, own: bool = False) -> dict[str, Any]:
        text = "select show_server_status()" if own else "select 1"
        names = {"user_name": "sqream", "statementid": number, "statement": text}
        return {**names, "statementstarttime": "2026-11-24 11:00:00", "statementstatus": status}

    recording.poll(
        "show_server_status",
        [statement(1, "Executing"), statement(2, "In queue"), statement(3, "Executing"), statement(9, "Executing", own=True)],
    )
    recording.advance(60)
    recording.poll(
        "show_server_status",
        [statement(2, "Executing"), statement(3, "Executing"), statement(4, "Preparing"), statement(10, "Executing", own=True)],
    )
    recording.close()
    times = ("2026-11-24T12:00:30Z", "2026-11-24T12:02Z")
    shown = logs(tmp_path / "logs", "show_server_status", "--diff", *times).stdout.splitlines()
    document = json.loads(logs(tmp_path / "logs", "show_server_status", "--json", "--diff", *times).stdout)

    assert shown[0] == "show_server_status: 1 came, 1 went, 1 changed, 1 unchanged"
    assert [["-", "sqream", "1"], ["+", "sqream", "4"]] == [line.split()[:3] for line in shown if line[0] in "+-"]
    assert [line for line in shown if line[0] == "~"] == [
        "~ statementid=2 statementstarttime=2026-11-24 11:00:00 statementstatus: In queue → Executing"
    ]
    assert ([4], [1], ["statementstatus"], 1) == (
        [row["statementid"] for row in document["came"]],
        [row["statementid"] for row in document["went"]],
        document["changed"][0]["columns"],
        document["unchanged"],
    )
    assert logs(tmp_path / "logs", "show_server_status", "--diff", "-3000d", "-5m").code == 1


def test_csv_and_tables_have_the_columns_of_the_metric(recorded: Path) -> None:
    """CSV is of one metric; a table has a heading for each metric."""
    rows = [*csv.DictReader(io.StringIO(logs(recorded, "show_locks", "--csv").stdout))]
    table = logs(recorded, "show_locks", "show_cluster_nodes", "--table", "-n", "3").stdout.splitlines()
    several = logs(recorded, "--csv")

    assert (18, "1", "2026-11-24T12:00:00.000000000Z") == (len(rows), rows[0]["statement_id"], rows[0]["ts"])
    assert [line.split()[0] for line in table] == ["show_locks:", "2026-11-24", "2026-11-24", "show_cluster_nodes:", "2026-11-24"]
    assert (1, "sqmon: --csv: writes the columns of one metric; name it, as in sqmon logs show_locks --csv\n") == (
        several.code,
        several.stderr,
    )


def test_damage_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    """A broken archive, a torn line and a hole in seq are named on stderr behind everything that could be read."""
    log_dir = tmp_path / "logs"
    recording = Recording(log_dir, max_bytes=4096)
    for number in range(1, 61):
        recording.poll("show_locks", [lock(number)])
        recording.advance(1)
    recording.close()
    first, second, *_ = sorted((log_dir / "show_locks").iterdir())
    archive = log_dir / "archive" / "show_locks" / f"{first.name}.zst"
    archive.parent.mkdir(parents=True)
    first.rename(archive)
    lines = second.read_bytes().splitlines(keepends=True)
    second.write_bytes(b"".join([lines[0], *lines[2:], b"{not JSON}\n"]) + b'{"ts":"2026')
    found = logs(log_dir, "show_locks")
    unreadable, torn, missing = found.stderr.splitlines()

    assert found.code == 0
    assert "{not JSON}" not in found.stdout
    assert "statement_id=60 " in found.stdout
    assert unreadable.startswith(f"sqmon: show_locks/{first.name}: can't be read to its end: ")
    assert torn == "sqmon: 2 lines are torn or no record, and left out"
    assert re.search(r"^sqmon: show_locks: 1 line is missing \(seq \d+ of run 20261124T120000Z-0001\); `sqmon verify` tells", missing)


def test_single_file_and_single_segment_are_read_with_file(tmp_path: Path, recorded: Path) -> None:
    """--file takes the file of --log_file_path, a segment, or an archive."""
    recording = Recording(tmp_path / "all.jsonl", single=True, max_bytes=900)
    for number in range(6):
        recording.poll("show_locks", [lock(number)])
        recording.advance(1)
    recording.close()
    archived = next((recorded / "archive" / "show_locks").iterdir())

    def read(path: Path, *words: str) -> Ended:
        return ended("logs", *words, "--file", str(path), cwd=tmp_path, TZ="UTC", SQMON_LOG_DIR="/nowhere")

    found = [json.loads(line) for line in read(tmp_path / "all.jsonl", "--json").stdout.splitlines()]
    assert {"show_locks": 6, "sqmon": 6} == {metric: sum(line["metric"] == metric for line in found) for metric in ("show_locks", "sqmon")}
    assert "table$t2" in read(tmp_path / "all.jsonl", "show_locks", "--poll", "2026-11-24T12:00:03Z").stdout
    assert read(archived).stdout.startswith("2026-11-24 12:00:00.000 UTC show_locks statement_id=1 ")
    assert read(tmp_path / "nothing").stderr == f"sqmon: {tmp_path}/nothing: can't be read: no such file or directory\n"


def test_what_can_not_be_answered_is_one_line(recorded: Path, tmp_path: Path) -> None:
    """Unknown metrics, an empty directory, and what doesn't fit together are told in a line each, before anything is printed."""
    unknown = logs(recorded, "show_lokcs")
    (tmp_path / "empty").mkdir()
    empty = logs(tmp_path / "empty")
    both = logs(recorded, "--poll", "-1m", "-f", "--grep", "x")
    wrong = logs(recorded, "--where", "statement_id")
    broken = logs(recorded, "--grep", "(")

    assert (1, f"sqmon: {recorded}: has no lines of show_lokcs, but of show_cluster_nodes, show_locks, sqmon\n") == (
        unknown.code,
        unknown.stderr,
    )
    assert (1, f"sqmon: {tmp_path}/empty: no segments of a service here; give its --log_dir, or a --file\n") == (empty.code, empty.stderr)
    assert (1, 2) == (both.code, both.stderr.count("has no meaning with --poll"))
    assert (2, 1) == (wrong.code, wrong.stderr.count("\n"))
    assert "is not a condition, such as username=etl" in wrong.stderr
    assert (2, True) == (broken.code, "is not a regular expression" in broken.stderr)


def test_reader_that_goes_away_ends_it_quietly(recorded: Path) -> None:
    """`| head` gets its lines, and nothing is said on stderr."""
    words = command("logs", "--log_dir", str(recorded))
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert (0, b"") == (process.returncode, said)


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *words: str, **more: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command(*words), env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.text = ""

    def read(self, until: str = "") -> str:
        """Return what was printed, as soon as that is part of it, or at the end; AssertionError when it never is."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not until or until not in self.text:
            assert time.monotonic() < end, self.text
            if not select.select([self._ours], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # how a terminal says that nobody writes to it any more
                break
            self.text += data.decode("utf-8", "replace")
        return self.text

    def close(self) -> int:
        """Return the exit code."""
        self.process.wait(DEADLINE_SECONDS)
        os.close(self._ours)
        return self.process.returncode


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A directory with a text that would steer a terminal."""
    recording = Recording(tmp_path / "logs")
    recording.poll("show_locks", [lock(1, username="\x1b]0;title\x07\x1b[2J\u009b1mred\u202e")])
    recording.event("worker_exit", "error", target="show_locks", pid=1, kind="bug", reason="\x1b[2J\u202e")
    recording.close()
    return tmp_path / "logs"


@pytest.mark.parametrize(
    "form", [[], ["--json"], ["--csv"], ["--table"], ["--poll", "2026-11-24T13:00"], ["--poll", "2026-11-24T13:00", "--json"]]
)
def test_text_from_outside_steers_no_terminal(evil: Path, form: list[str]) -> None:
    """On a terminal only our own colours are sequences; everything else is written as an escape."""
    terminal = Terminal("logs", "show_locks", *form, "--no_pager", "--log_dir", str(evil), TERM="xterm")
    text = re.sub(r"\x1b\[\d*m", "", terminal.read())

    assert terminal.close() == 0
    assert [character for character in text if not character.isprintable() and character not in "\r\n"] == []
    assert "title" in text


def test_terminal_has_colours_and_a_pager_unless_it_wants_none(evil: Path) -> None:
    """Errors are red; NO_COLOR is respected; PAGER gets everything."""
    words = ("logs", "sqmon", "--log_dir", str(evil))
    coloured, plain = Terminal(*words, "--no_pager", TERM="xterm"), Terminal(*words, "--no_pager", TERM="xterm", NO_COLOR="1")
    paged = Terminal(*words, TERM="xterm", PAGER="sed s/^/paged:/")

    assert "\x1b[31mshow_locks: worker 1 ended (bug)" in coloured.read()
    assert "\x1b" not in plain.read()
    assert paged.read().count("paged:") == 2
    assert [0, 0, 0] == [each.close() for each in (coloured, plain, paged)]


@pytest.fixture
def following(simulator: Simulator, tmp_path: Path) -> Iterator[tuple[Any, subprocess.Popen[bytes]]]:
    """A service, and a reader that follows it."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        words = command("logs", "-f", "-n", "1", "--json", "--log_dir", str(run.log_dir))
        with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE) as process:
            yield run, process
            process.kill()


def test_following_gives_each_new_line_once(following: tuple[Any, subprocess.Popen[bytes]]) -> None:
    """From the last line on, every line of every stream comes, across segments, until Ctrl-C, which is exit code 0."""
    run, process = following
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    before = run.latest()
    run.wait_for_polls(*QUICK, count=5)
    os.kill(run.worker("show_locks"), signal.SIGKILL)
    run.wait_for("worker_exit", after=before)
    run.wait_for_polls("show_locks", count=3)
    last = run.latest()
    lines = [first]
    while lines[-1]["metric"] != "sqmon" or lines[-1]["seq"] < last:
        lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()

    assert process.wait(DEADLINE_SECONDS) == 0
    lines += map(json.loads, rest.splitlines())
    seen: dict[tuple[str, str], list[int]] = {}
    for line in lines[1:]:
        seen.setdefault((line["metric"], line["run_id"]), []).append(line["seq"])
    assert len(seen) >= 4
    assert all(seqs == [*range(seqs[0], seqs[0] + len(seqs))] for seqs in seen.values())
    assert all(stamp_ns(line["ts"]) > stamp_ns(first["ts"]) for line in lines[1:] if line["metric"] == "sqmon")


@pytest.mark.parametrize(
    ("text", "found", "holds"),
    [
        ("a=2", 2, True),
        ("a=2", "2", True),
        ("a=2", 2.0, True),
        ("a=2.50", 2.5, True),
        ("a=2", 20, False),
        ("a=1e3", 1000, True),
        ("a=true", True, True),
        ("a=1", True, False),
        ("a=null", None, True),
        ("a!=null", None, False),
        ("a!=x", "y", True),
        ("a<10", "9", True),
        ("a<10", 9, True),
        ("a>2026-11-24", "2026-11-24 10:00:00", True),
        ("a>1", None, False),
        ("a>1", "x", False),
        ("a<1e3", "-7.5", True),
        ("a>=-3", -3, True),
        ("a!=x", "x", False),
        ("a!=x", "xy", True),
        ("a!=x", 5, True),
        ("a!=2", 3, True),
        ("a!=2", "2", False),
        ("a~^b.d$", "bad", True),
        ("a!~x", "y", True),
        ('a=say "hi"\n', 'say "hi"\n', True),
        ("a=é", "é", True),
    ],
)
def test_conditions_compare_as_people_mean_it(text: str, found: object, holds: bool) -> None:
    """The search in the bytes finds what the comparison of values says."""
    line = json.dumps({"ts": "x", "a": found, "b": 'a "quoted\\" a'}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    other = b'{"ts":"x","b":"\\"a\\":2,"}\n'
    lines = [*Filter("", [condition(text)]).lines(other + line + other)]

    assert ([line] if holds else []) == lines


@pytest.mark.parametrize("grep", ["b.*d", "^{", r"}$", r"\Z", "(?=d)", "[^x]*d", "(?i)ABC", "a|e", r"\s", "x*", r"c\W"])
def test_search_in_many_lines_at_once_finds_what_a_search_in_each_finds(grep: str) -> None:
    """An expression that could run from one line into the next neither finds nor hides anything for that."""
    lines = [b'{"a":"abc d"}\n', b'{"b":"e"}\n', b"{x}\n", b'{"c":"abcd"}\n', b"{}\n"]

    assert [line for line in lines if re.search(grep.encode(), line[:-1], re.MULTILINE)] == [*Filter(grep, []).lines(b"".join(lines))]


def test_every_documented_event_has_a_sentence() -> None:
    """The table of events in the reference and the sentences name the same events."""
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8").partition("\n## Events")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", reference, re.MULTILINE))

    assert documented == EVENTS
    for event in EVENTS:
        assert "None" not in sentence({"event": event, "target": "m", "reason": None})
    assert sentence({"ts": "x", "event": "something_new", "target": "m", "x": 1}) == "something_new target=m x=1"


def test_lifetimes_are_sentences(tmp_path: Path) -> None:
    """A line of the stream of lifetimes says what became of what, and how long that lasted."""
    locked = {"locked_object": "table$t", "lock_mode": "Exclusive", "statement_id": "7", "username": "etl", "statement": "update\nt"}
    lines: list[dict[str, Any]] = [
        {"event": "lock_acquired", **locked},
        {"event": "lock_released", **locked, "held_min_s": 41.0, "held_max_s": 43.0},
        {"event": "statement_seen", "statement_id": "8", "username": None, "status": "In queue"},
        {"event": "statement_blocked", "statement_id": "8", "username": "bi", "blocked_by": "7", "locked_object": "table$t"},
        {"event": "node_down", "instance_id": "node_1", "server": "10.0.0.1", "port": 5000, "held_min_s": 60, "held_max_s": 60},
        {"event": "licence_changed", "column": "days", "before": 3, "now": 2},
    ]
    path = tmp_path / "lifetimes-20261124T120000.000000Z-000001.jsonl"
    heads = ({"ts": f"2026-11-24T12:00:0{number}.000000000Z", "seq": number, "metric": "lifetimes"} for number in range(1, 7))
    path.write_text("".join(json.dumps({**head, **line}) + "\n" for head, line in zip(heads, lines)), "utf-8")
    said = ended("logs", "--file", path.name, cwd=tmp_path, TZ="UTC").stdout.splitlines()

    assert [line.partition(" lifetimes ")[2] for line in said] == [
        "table$t (Exclusive) acquired by statement 7 of etl: update t",
        "table$t (Exclusive) released by statement 7 of etl, held between 41 s and 43 s: update t",
        "statement 8 of an unknown user seen (In queue)",
        "statement 8 of bi blocked by statement 7 on table$t",
        "node node_1 at 10.0.0.1:5000 down, was up about 1 min",
        "event=licence_changed column=days before=3 now=2",
    ]
