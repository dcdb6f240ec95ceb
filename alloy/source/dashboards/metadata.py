"""The dashboard of metadata and licence: how fast the metadata server answers, and how much of the licence is left."""

from __future__ import annotations

from alloy.source.dashboards import licence
from alloy.source.dashboards.panels import YES_NO, Section, above, board, course, lines, listing, number, series
from alloy.source.logql import SITE, extreme, identifier, rows
from sqmon.config import thresholds

_STATS, _LICENCE = "get_leveldb_stats", "get_license_info"


def _sizes(*columns: str) -> str:
    """One line per column: the number's name becomes the label `size`."""
    return " or ".join(
        f'label_replace({extreme("max", rows(_LICENCE, column, site=SITE), column, over="$__auto")}, "size", "{column}", "cluster", ".*")'
        for column in columns
    )


def metadata() -> str:
    """Return the dashboard."""
    worst = rows(_STATS, "msg", "server_ip", "max", site=SITE)
    mean = rows(_STATS, "msg", "average", site=SITE)
    # Each worker counts for itself, so each is a series of its own.
    calls = rows(_STATS, "msg", "server_ip", "server_port", "count", site=SITE)
    rate = f'sum by (cluster, instance, msg) (rate_counter({calls} | unwrap {identifier("count")} | __error__="" [$__auto]))'
    expired = rows(_LICENCE, "is_date_expired", site=SITE)
    exceeded = rows(_LICENCE, "is_size_exceeded", site=SITE)
    return board(
        "metadata",
        "SQreamDB: metadata and licence",
        "How fast the metadata server answers, and how much of the licence is left.",
        [
            Section(
                "Metadata server",
                [
                    listing(
                        "Worst answer per message",
                        "Since the statistics were last reset: one slow answer stays until then.",
                        extreme("max", worst, "max", "msg", "server_ip", over="5m"),
                        "worst",
                        ("msg", "server_ip"),
                        unit="ms",
                        thresholds=above(thresholds.METADATA_MS),
                    ),
                    course(
                        "Mean answer per message",
                        "Since the statistics were last reset: the longer ago that was, the less a slow hour shows.",
                        extreme("max", mean, "average", "msg", over="$__auto"),
                        legend=series("msg"),
                        unit="ms",
                    ),
                    course(
                        "Messages per second",
                        "How fast the counters grow; resets are taken into account.",
                        rate,
                        legend=series("msg"),
                        unit="ops",
                    ),
                ],
            ),
            Section(
                "Licence",
                [
                    *licence.numbers(),
                    number(
                        "Expired",
                        "As SQreamDB says.",
                        extreme("max", expired, "is_date_expired", over="15m"),
                        thresholds=above(1),
                        mappings=YES_NO,
                    ),
                    number(
                        "Size exceeded",
                        "As SQreamDB says.",
                        extreme("max", exceeded, "is_size_exceeded", over="15m"),
                        thresholds=above(1),
                        mappings=YES_NO,
                    ),
                    licence.used_over_time(),
                    course(
                        "Sizes",
                        "In GB, as SQreamDB counts them.",
                        _sizes("compressed_cluster_size", "uncompressed_cluster_size", "cluster_size_limit"),
                        legend=series("size"),
                        unit="decgbytes",
                    ),
                    lines("Lines", "The records.", rows(_LICENCE, site=SITE)),
                ],
            ),
        ],
        since="now-6h",
    )
