"""What switches must do: pipeline, intents, compiler, diff, OpenFlow codec, packet walker."""
