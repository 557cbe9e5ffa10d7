"""What runs on each server: the agent, the guards of its roles, and the protocol they speak.

    hactrl-agent ── guard of a role ── init (process 1 of the role's namespaces) ── daemons
         │                │
         └──── TCP ───────┴──► controller (hactrl.outlets.agent_server)

docs/agent.md says what each does and what follows from the death of each.
"""
