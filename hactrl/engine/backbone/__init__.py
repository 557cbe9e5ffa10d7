"""What a backbone shows of itself, and to which interfaces clients are brought."""
