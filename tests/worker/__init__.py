"""Tests of sqmon.worker."""
