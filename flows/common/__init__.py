"""What the rules of barrier segments and of backbones share."""
