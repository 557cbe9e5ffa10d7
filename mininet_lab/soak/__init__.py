"""The soak: random faults of every kind, two at once, under steady mail, by a seed.

kinds, plan         which fault strikes when, and what is then out of order: pure
possible            who could serve whom meanwhile: pure
strikes, processes  the faults themselves, in the standing lab
rounds              plays the plan, mends everything, and attends to what an operator would
witness             a process of its own that looks who has the spool mounted
diary, score        what was done, line by line, and what is made of it: pure
"""
