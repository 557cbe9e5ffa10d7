"""From the engine to the switches: events in, decisions, what each switch should hold."""
