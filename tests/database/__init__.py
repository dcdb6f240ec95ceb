"""Tests of sqmon.database."""
