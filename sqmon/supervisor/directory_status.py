"""What the status says of a log directory: its agent, and what was found of it in Loki."""

from __future__ import annotations

from typing import Optional

from sqmon.clock import utc_stamp
from sqmon.health.status_file import AgentStatus, ProofStatus
from sqmon.storage.agent_positions import AgentFile
from sqmon.storage.proof_file import Proof


def agent_status(agent: Optional[AgentFile]) -> Optional[AgentStatus]:
    """Return what is said of the agent, None where none is known of."""
    return None if agent is None else AgentStatus(positions=str(agent.path or ""), problem=agent.problem)


def proof_status(proof: Optional[Proof]) -> Optional[ProofStatus]:
    """Return what is said of the proof, None where nobody looks."""
    if proof is None:
        return None
    return ProofStatus(
        url=proof.url,
        looked=utc_stamp(proof.looked_ns),
        proved=proof.proved,
        problem=proof.problem,
        up_to=None if proof.up_to_ns is None else utc_stamp(proof.up_to_ns),
        unproved_lines=proof.unproved_lines,
    )
