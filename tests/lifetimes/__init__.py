"""Tests of sqmon.lifetimes."""
