"""The simulator proved: by the real driver, by bytes, and by a wound-up clock."""
