"""sqmon, the monitor service for SQreamDB: one process per metric, one JSON line per row, nothing lost."""

__version__ = "0.1.0"
