"""OpenFlow 1.3, with Nicira's extensions, in both directions: our rules as messages of Ryu, and
what a switch answers as our rules.

This package is, beside the application's shell, the only one that knows Ryu; `framework` says
whether that, or os-ken, is underneath.

- `messages(datapath, change)`: what to send for a change of `flows.diff`.
- `Reading(datapath)`: reads back all that is ours, as a `RuleSet`; `Count(datapath)` only counts;
  `Counting(datapath)` reads what rules have counted.
- `ports_up`, `port_change`: which ports are up, from a port description or a port-status.
- `frame_in`, `frame_out`, `frame_again`: whole frames from and to a switch; `is_plugged`: whether
  one came from outside.
- `error_text`: what a switch complains of, in words. An error has the transaction id of the
  message that it refuses, so whoever sends keeps `xid: change`.

Importing it teaches Ryu two fields and has every message looked through before Ryu reads it
(`flows.openflow.ryu_mended`, `frame_check`). `flows.openflow.connection` takes the place of Ryu's
receive loop, where a controller runs.
"""

from flows.openflow.counting import Counting, Counts
from flows.openflow.frames import frame_again, frame_in, frame_out, is_plugged
from flows.openflow.messages import messages
from flows.openflow.replies import Count, Reading, error_text, port_change, ports_up, rule_set

__all__ = [
    "Count",
    "Counting",
    "Counts",
    "Reading",
    "error_text",
    "frame_again",
    "frame_in",
    "frame_out",
    "is_plugged",
    "messages",
    "port_change",
    "ports_up",
    "rule_set",
]
