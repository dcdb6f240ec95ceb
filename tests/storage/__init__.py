"""Tests of sqmon.storage."""
