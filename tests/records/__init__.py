"""Tests of sqmon.records."""
