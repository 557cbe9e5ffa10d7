"""What the switches must do: pipeline, intents, compiler, diff, OpenFlow codec and packet walker."""
