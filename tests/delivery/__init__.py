"""Proof and transport."""
