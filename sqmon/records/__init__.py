"""Rows become lines: values, computed columns, masking, truncation and encoding, without any I/O."""
