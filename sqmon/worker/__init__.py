"""The children that the forkserver starts: one process per metric, and the one that runs start-up checks."""
