"""Pacemaker with Corosync in hactrl's place: what people would use for a spool that moves.

The network, the mail, the spool, the power and its cuts are the lab's; the switches are plain
learning ones, and each server is one host with an address of its own on its first card of each
segment. `tuning` says with which settings, and why; `corosync`, `cib` and `agents` render files;
`servers` boots a server with it, `cluster` asks it and moves what it runs.
"""
