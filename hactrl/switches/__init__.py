"""OpenFlow connections: which switch each is, and how it is kept at the wanted rules."""
