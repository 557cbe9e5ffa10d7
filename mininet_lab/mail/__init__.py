"""The lab's mail: one description of each role, rendered for every server that may play it.

`description` says what the site file does not (domain, users, the WAN's side); `rendering`
turns both into files, directories and the agent's table of a role; `placeholder`, `delivery` and
`web` are small programs that run in a role's namespaces; `load`, `clients` and `ledger` send,
read and account for mail from the users' side.
"""
