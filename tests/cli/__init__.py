"""Tests of sqmon.cli."""
