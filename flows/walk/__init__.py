"""Packets through rule sets, without a switch."""
