"""Is a service alive, through each card that could carry it?

    Site ──► targets ──JSON lines──► prober (a process of its own) ──► dialogues, raw ──► network
                                        │
    engine ◄── ProbeChanged ◄── client ◄┘ verdicts (findings in a row, judged), and a beat

The prober is a process of its own, so that nothing in the controller's hub delays a probe, and
nothing in a probe delays the hub. `client` is the controller's side of it.
"""
