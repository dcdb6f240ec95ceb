"""The configuration: options, settings and the metrics file, checked and turned into frozen values."""
