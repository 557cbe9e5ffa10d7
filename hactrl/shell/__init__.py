"""Ryu, the process and its ports: starts a controller, wires its rooms together, and ends it."""
