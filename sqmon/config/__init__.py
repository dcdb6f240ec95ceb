"""What the operator says: settings, options, the metrics file and what it may poll, as frozen values."""
