"""The queue of OpenFlow events: what switches say waits for room in it, news of them does not, and
what is not served is not passed over.

In a process of its own, because Ryu's parts make the standard library green.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.reported("C3")

#: An application whose queue is full of messages, which nobody serves yet.
FULL = """
import eventlet
from hactrl.shell.launcher import ryu_manager
ryu_manager()
from ryu.base.app_manager import RyuApp
from ryu.controller import ofp_event
from hactrl.shell.app import Hactrl

class Bare(Hactrl):
    def __init__(self):
        RyuApp.__init__(self)
        self.events = eventlet.queue.LightQueue()

    def get_handlers(self, event, state=None):
        return [lambda event: served.append(type(event).__name__)]

served = []
app = Bare()
message = ofp_event.EventOFPBarrierReply(None)
room = app._events_sem.balance
for _ in range(room):
    app._send_event(message, None)
"""

NEWS = """
with eventlet.Timeout(5):
    app._send_event(ofp_event.EventOFPStateChange(None), None)
eventlet.spawn(app._event_loop)
eventlet.sleep(0)
assert served.count("EventOFPStateChange") == 1, served
assert len(served) == room + 1
"""

MESSAGE = """
waiting = eventlet.spawn(app._send_event, message, None)
eventlet.sleep(0)
assert not waiting.dead
eventlet.spawn(app._event_loop)
with eventlet.Timeout(5):
    waiting.wait()
while len(served) < room + 1:
    eventlet.sleep(0)
assert app._events_sem.balance == room
"""


@pytest.mark.parametrize("what", [NEWS, MESSAGE], ids=["news does not wait", "a message waits"])
def test_when_the_queue_is_full(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL + what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


#: An application whose handlers fail at the second event, and whose connections are noted.
FAILING = """
import eventlet, sys, types
from hactrl.shell.launcher import ryu_manager
ryu_manager()
from ryu.base.app_manager import RyuApp
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER
from hactrl.shell.app import Hactrl, _AreServed

class Bare(Hactrl):
    def __init__(self):
        RyuApp.__init__(self)
        self.events = eventlet.queue.LightQueue()
        self._connections = types.SimpleNamespace(failed=lambda *told: failed.append(told))

    def get_handlers(self, event, state=None):
        return [self.handle]

    def handle(self, event):
        served.append(event)
        if len(served) == 2:
            raise ValueError("a defect")

served, failed = [], []
app = Bare()
datapath = types.SimpleNamespace()
message = ofp_event.EventOFPBarrierReply(types.SimpleNamespace(datapath=datapath))
end = ofp_event.EventOFPStateChange(datapath)
end.state = DEAD_DISPATCHER
eventlet.spawn(app._event_loop)
for event in (message, {second}, message):
    app._send_event(event, None)
eventlet.sleep(0.1)
assert len(served) == 3, served
assert failed == [(datapath, "EventOFPBarrierReply")], failed
"""


@pytest.mark.parametrize(
    ("second", "ends"), [("message", False), ("end", True), ("_AreServed()", True)]
)
def test_what_is_not_served_ends_that_connection_or_where_that_is_no_remedy_the_controller(
    second: str, ends: bool
) -> None:
    program = FAILING.replace("{second}", second)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == (70 if ends else 0), done.stderr
    assert ("the controller ends" in done.stderr) == ends
