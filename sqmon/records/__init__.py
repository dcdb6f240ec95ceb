"""Rows become lines: values, computed columns, names, truncation and encoding; no I/O."""
