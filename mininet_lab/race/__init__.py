"""The race: how long users are without an answer, with hactrl and with what they would use instead.

    client ── s1 ══ s2        s1 and s2: one segment
              ││└── balancer  (HAProxy runs there)
         A  B'││B  A'
          one  two            a greeter each: the server of all contenders

A contender keeps the greeter reachable at one address. `arena` is what all of them find: the
network, two servers with a greeter, and a client that makes a connection every 2 ms and reads the
greeting. `contenders` has one module for each kind, `failures` what is done to them, `measure` what
the client's log says, and `rounds` plays all of it, interleaved.
"""
