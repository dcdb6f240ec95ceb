"""The forkserver: the process from which all children are forked, with pysqream imported once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext


def forkserver() -> ForkServerContext:
    """Return the context whose processes are forked from one that has imported pysqream, and nothing else, once."""
    # Children would import the program's main script again, each for itself, for the sake of functions that it does not define.
    vars(sys.modules["__main__"]).pop("__file__", None)
    # The forkserver brings a second process that would clean up semaphores and shared memory, of which there are none here.
    nobody = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    vars(resource_tracker).update(ensure_running=lambda: None, getfd=lambda: nobody)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sqmon.worker.forkserver_preload"])
    return context
