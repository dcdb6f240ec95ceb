"""Proof that every line is where it should be, and the transport of lines to other places."""
