"""hactrl keeps application servers, first of all mail, available on OpenFlow switches."""
