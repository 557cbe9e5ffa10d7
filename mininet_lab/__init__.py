"""The lab: networks, real mail servers, faults and scenarios on one machine."""
