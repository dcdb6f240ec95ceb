"""Everything that crosses a process boundary: start arguments, reports, and what start-up checks ask and answer."""
