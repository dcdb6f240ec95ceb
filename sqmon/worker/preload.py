"""The imports and first uses that the forkserver does once, so that all of its children share the memory."""

import _strptime  # type: ignore[import-not-found]  # noqa: F401 - what datetime.strptime imports at its first call
import codecs
import gc
import hashlib

import sqmon.interpreter  # first, since it imports msgspec before anybody else does
import sqmon.ipc.start
import sqmon.worker.check_probe
import sqmon.worker.process  # noqa: F401
from sqmon.records.encoder import Encoder

# The first hash makes OpenSSL set itself up, the first record msgspec and strftime: half a megabyte that no worker has to repeat.
hashlib.sha256(b"").hexdigest()
list(Encoder("warm_up", "").rows(["a", "b"], [(1, "x"), (None, 1.5)], poll=1, started_ns=0))

# Python imports a codec when it is first used: this one for each name of a host, with a megabyte of tables;
codecs.lookup("idna")
# and a worker without a free descriptor, which can't open its file, uses this one to tell so.
codecs.lookup("utf-16-le")

# Frozen objects are left alone by the collector, so that a collection in a worker does not copy the shared pages.
gc.collect()
gc.freeze()
