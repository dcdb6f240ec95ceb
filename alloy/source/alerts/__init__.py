"""Alert rules for Loki's ruler, as code."""
