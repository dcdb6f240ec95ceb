"""Tests of sqmon.supervisor."""
