"""Who carries out what the engine decides, each at another edge: agents, power, hosts."""
