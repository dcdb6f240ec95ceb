"""Lines reach files or are reported as lost, and are read again: segments, the single file, retention."""
