"""What the forkserver imports once for all workers; it imports nothing later, so the memory of all this is shared."""

import gc
import signal

import sqmon.probe
import sqmon.worker  # noqa: F401

# A SIGTERM for the whole process group is for the workers; the forkserver ends when the supervisor does, and it still has to tell
# the supervisor how they ended. SIGHUP is the supervisor's.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)

# Frozen objects are left alone by the collector, so that a collection in a worker does not copy the shared pages.
gc.collect()
gc.freeze()
