"""Shortest paths in a backbone, kept up to date, and what follows from them."""
