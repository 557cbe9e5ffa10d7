"""The network: switches, links, servers and their interfaces, the live graph, and paths through it.

Nothing here knows OpenFlow, Ryu or mail.
"""
