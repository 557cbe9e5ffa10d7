"""What the engine and the rules say, in words, in figures, and packet by packet."""
