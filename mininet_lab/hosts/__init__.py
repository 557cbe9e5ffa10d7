"""What hosts do on a campus: they come, they move, they pretend to be others, they ask around."""
