"""The forkserver and its children: one process per metric, the probe of the start-up checks, and the archiver."""
