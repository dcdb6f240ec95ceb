"""Tests of sqmon.ipc."""
