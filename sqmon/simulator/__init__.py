"""A simulated SQreamDB: the wire protocol, a living cluster behind it, and faults on demand; imports nothing of the service."""

from __future__ import annotations

from sqmon.simulator.certificate import CertificateError
from sqmon.simulator.columns import Column
from sqmon.simulator.server import Simulator

__all__ = ["CertificateError", "Column", "Simulator"]
