"""The rules of a barrier segment's switches: one module for each stage, and what they read."""
