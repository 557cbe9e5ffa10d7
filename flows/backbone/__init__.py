"""The rules of a backbone's switches."""
