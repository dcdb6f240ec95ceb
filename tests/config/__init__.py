"""Tests of sqmon.config."""
