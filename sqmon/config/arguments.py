"""The settings of a run, made from the options of the command line and the environment."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Optional

from sqmon.config import settings
from sqmon.config.clusters import Basis, Described, read_all
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, FileOutput, Output, Outside, Retention, SegmentOptions, SegmentOutput, Settings
from sqmon.errors import ConfigError

_MIB = 1 << 20


def connection_of(args: argparse.Namespace) -> Connection:
    """Return where to log in; raises ConfigError for what can't be sent to SQreamDB."""
    return Connection(
        host=args.host,
        port=args.port,
        database=args.database,
        user=args.user,
        service=args.service,
        clustered=args.clustered,
        use_ssl=args.use_ssl,
        server_timezone=args.server_timezone,
        password=PasswordSource(args.password, args.password_file),
    )


def outside_of(args: argparse.Namespace) -> Outside:
    """Return what the start-up checks need to know; raises ConfigError."""
    return Outside(
        connection=connection_of(args),
        allow_gpu=args.allow_gpu,
        loki=None if args.log_file_path is not None else (args.loki_host, args.loki_port),
        startup_timeout=args.startup_timeout,
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings of a run; raises ConfigError."""
    if args.clusters_dir is not None and args.log_file_path is not None and not _is_directory(args.log_file_path):
        raise ConfigError(["--clusters_dir: each cluster has a directory of its own; give --log_dir, or a --log_file_path that ends in /"])
    return Settings(
        connection=connection_of(args),
        output=_output_of(args),
        metrics_file=args.metrics_file or settings.default_metrics_file(),
        outside=outside_of(args),
        query_timeout=args.query_timeout,
        retention=Retention(
            seconds=args.retention_days * 86400,
            bytes=int(args.retention_mb * _MIB),
            min_free_bytes=int(args.min_free_mb * _MIB),
            agent_positions=args.agent_positions,
            has_agent=args.log_file_path is None,
            compress=args.compress == "auto",
        ),
        sql=args.sql,
        lifetimes=args.lifetimes == "on",
        metrics_port=args.metrics_port,
        metrics_address=args.metrics_address,
        clusters_dir=args.clusters_dir,
    )


def clusters_of(args: argparse.Namespace) -> list[Described]:
    """Return what --clusters_dir says of each cluster, the wrong ones with their problems, or of the one that --cluster names.

    Without the option there are none. Raises ConfigError when the directory can't be read.
    """
    if args.clusters_dir is None:
        return []
    metrics_file = args.metrics_file or settings.default_metrics_file()
    basis = Basis(connection_of(args), metrics_file, args.query_timeout, args.cluster)
    return [reading.described for reading in read_all(args.clusters_dir, basis).values()]


def _output_of(args: argparse.Namespace) -> Output:
    """Return where lines go: a --log_file_path that is not a directory makes it one file."""
    max_bytes, buffer_bytes = int(args.segment_mb * _MIB), int(args.buffer_mb * _MIB)
    place: Optional[str] = args.log_file_path
    if place is not None and not _is_directory(place):
        if args.log_dir is not None:
            raise ConfigError(["--log_dir: segments and a --log_file_path FILE exclude each other; give one of them"])
        return FileOutput(Path(place), max_bytes, args.file_backups, buffer_bytes, args.cluster)
    options = SegmentOptions(max_bytes, args.segment_hours * 3600, buffer_bytes, args.fsync)
    return SegmentOutput(Path(place) if place is not None else args.log_dir or settings.default_log_dir(), options, args.cluster)


def _is_directory(place: str) -> bool:
    return place.endswith(os.sep) or os.path.isdir(place)  # noqa: PTH112 - that of Path raises where a directory on the way is closed to us
