"""A program that connects to a controller as the switch with this datapath id, and then goes.

    python impostor_switch.py DATAPATH_ID

It greets, tells its features and that it has no ports, and leaves when the controller hangs up, or
wants to be its master. Prints which: `refused` or `taken`.
"""

from __future__ import annotations

import socket
import sys

from ryu.ofproto import ofproto_v1_3, ofproto_v1_3_parser

_HEADER = 8


def main(datapath_id: int) -> None:
    with socket.create_connection(("127.0.0.1", 6653), timeout=10.0) as controller:
        stream = controller.makefile("rb")
        controller.sendall(message(ofproto_v1_3.OFPT_HELLO, 1))
        while head := stream.read(_HEADER):
            _, kind, length, number = ofproto_v1_3_parser.ofproto_parser.header(head)
            stream.read(length - _HEADER)
            if kind == ofproto_v1_3.OFPT_FEATURES_REQUEST:
                features = datapath_id.to_bytes(8) + bytes(16)
                controller.sendall(message(ofproto_v1_3.OFPT_FEATURES_REPLY, number, features))
            elif kind == ofproto_v1_3.OFPT_MULTIPART_REQUEST:
                no_ports = ofproto_v1_3.OFPMP_PORT_DESC.to_bytes(2) + bytes(6)
                controller.sendall(message(ofproto_v1_3.OFPT_MULTIPART_REPLY, number, no_ports))
            elif kind == ofproto_v1_3.OFPT_ROLE_REQUEST:
                print("taken")
                return
    print("refused")


def message(kind: int, number: int, body: bytes = b"") -> bytes:
    length = _HEADER + len(body)
    head = bytes((ofproto_v1_3.OFP_VERSION, kind)) + length.to_bytes(2)
    return head + number.to_bytes(4) + body


if __name__ == "__main__":
    main(int(sys.argv[1]))
