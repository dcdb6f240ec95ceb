"""SQreamDB on a wire, without SQreamDB: login, statements, column buffers, faults (imports nothing of the service)."""
