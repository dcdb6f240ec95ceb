"""The simulator, tested with the real driver, byte by byte, and with a clock that tests wind."""
