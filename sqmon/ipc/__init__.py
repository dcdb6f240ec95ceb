"""Everything that crosses a process boundary: start arguments, reports, orders, and the messages of start-up checks."""
