"""LogQL queries, built from the catalogue so that each reads a column under every name that a server gives to it."""

from __future__ import annotations

from sqmon.config import catalogue, thresholds

NOW = "2m"
"""The range that holds the latest poll of every metric that is polled at least once a minute."""

SITE = ', cluster=~"$cluster", instance=~"$instance"'
"""What the variables of a dashboard add to a selector."""

GAPS = f'| event="gap" | reason!="stopped" or lasted_s > {thresholds.PLANNED_GAP_SECONDS:g}'
"""The gaps that deserve attention: a service that was stopped for a moment is no trouble."""

PLACE = ("cluster", "instance")
"""The SQreamDB, and the sqmon that saw it: every result is grouped by both."""

# Columns whose names are words of LogQL, or would say too little beside others.
_IDENTIFIERS = {"max": "max_ms", "average": "average_ms", "count": "calls"}


def identifier(column: str) -> str:
    """Return the name that a query uses for a column."""
    return _IDENTIFIERS.get(column, column)


def rows(metric: str, *columns: str, where: str = "", site: str = "") -> str:
    """Return the log query for the rows of a metric with `columns` as labels; `where` begins with `|`.

    A column is read under its older names too, which stand in where the newest is absent.
    """
    function = catalogue.FUNCTIONS[metric]
    known = {*function.columns, *function.computed, "poll", "poll_rows"}
    assert known.issuperset(columns), set(columns) - known
    read, merged = [], []
    for column in columns:
        # An older name may be that of a stream label (instance), so it is read into one that can't be.
        older = {f"older_{name}": name for name, newer in function.aliases.items() if newer == column}
        read += [f'{name}="{key}"' for name, key in {identifier(column): column, **older}.items()]
        if older:
            merged.append(f"{identifier(column)}=`{{{{ or .{identifier(column)} .{' .'.join(older)} }}}}`")
    text = f'{{job="sqmon", metric="{metric}"{site}}}'
    if read:
        text += f" | json {', '.join(read)}"
    if merged:
        text += f" | label_format {', '.join(merged)}"
    return f"{text} {where}".rstrip()


def events(*fields: str, where: str = "", level: str = "", site: str = "", stream: str = "sqmon") -> str:
    """Return the log query for sqmon's own stream with `fields` as labels; `level` is a pattern."""
    levels = f', level=~"{level}"' if level else ""
    named = ", ".join(f'{name}="{name}"' for name in fields)
    read = f" | json {named}" if fields else ""
    return f'{{job="sqmon", metric="{stream}"{levels}{site}}}{read} {where}'.rstrip()


def lifetimes(*fields: str, where: str = "", level: str = "", site: str = "") -> str:
    """Return the log query for the stream of lifetimes, likewise; `event` is among the fields."""
    return events("event", *fields, where=where, level=level, site=site, stream="lifetimes")


def count(query: str, *labels: str, over: str = NOW) -> str:
    """Return how many lines there are in each group."""
    return f"sum by ({', '.join((*PLACE, *labels))}) (count_over_time({query} [{over}]))"


def extreme(kind: str, query: str, value: str, *labels: str, over: str = NOW) -> str:
    """Return the `kind` (max, min) of a number in each group; lines where it is absent or null don't count."""
    name = identifier(value)
    return f'{kind} by ({", ".join((*PLACE, *labels))}) ({kind}_over_time({query} | unwrap {name} | __error__="" [{over}]))'


def largest(limit: int, query: str, value: str, *labels: str, over: str = NOW, per_place: bool = False) -> str:
    """Return the `limit` groups with the largest maximum of a number, in all or for each place; for groups of any number.

    By default Loki refuses a query with more than 500 series, and over HTTP it does so before topk makes them fewer,
    since it splits most functions into shards. quantile_over_time is not split, and its quantile 1 is the maximum.
    """
    by = f" by ({', '.join(PLACE)})" if per_place else ""
    groups = ", ".join((*PLACE, *labels))
    return f'topk{by} ({limit}, quantile_over_time(1, {query} | unwrap {identifier(value)} | __error__="" [{over}]) by ({groups}))'


def newest(limit: int, query: str, value: str, *labels: str, over: str, per_place: bool = True) -> str:
    """Return the `limit` groups with the largest newest value, for each place or in all; for groups of any number, as `largest`."""
    by = f" by ({', '.join(PLACE)})" if per_place else ""
    groups = ", ".join((*PLACE, *labels))
    return f'topk{by} ({limit}, last_over_time({query} | unwrap {value} | __error__="" [{over}]) by ({groups}))'


def while_polled(expr: str, *metrics: str, site: str = "") -> str:
    """Return the same as long as one of the metrics is polled: a monitor that is blind knows of nothing that goes on."""
    where = f'| event="poll" | target=~"{"|".join(metrics)}" | status=~"ok|empty"'
    return f"({expr}) and on (cluster, instance) {count(events('event', 'target', 'status', where=where, site=site))}"


def per_poll(query: str, metric: str, *labels: str, over: str = NOW, site: str = "") -> str:
    """Return how many lines of each group a poll has on average in the range, counting polls that have none."""
    where = f'| event="poll" | target="{metric}" | status=~"ok|empty"'
    polls = count(events("event", "target", "status", where=where, site=site), over=over)
    return f"{count(query, *labels, over=over)} / on (cluster, instance) group_left () {polls}"
