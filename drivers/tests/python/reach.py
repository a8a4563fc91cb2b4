#!/usr/bin/env python3
"""What of a machine can be reached from another one: every TCP port, zenoh's scouting, and a zenoh session.

    pip install eclipse-zenoh==1.10.2
    python reach.py 10.77.0.1 PORT

PORT is where a zenoh node of that machine listens, on whatever address. Prints what answers, one line each;
nothing if nothing does.
"""

import errno
import json
import selectors
import socket
import sys
import time

import zenoh


def open_ports(host):
    """All ports that accept a connection, or drop it without a word, of 1 to 65535."""
    for start in range(1, 65536, 2048):
        selector, waiting = selectors.DefaultSelector(), {}
        for port in range(start, min(start + 2048, 65536)):
            probe = socket.socket()
            probe.setblocking(False)
            status = probe.connect_ex((host, port))
            if status == errno.EINPROGRESS:
                selector.register(probe, selectors.EVENT_WRITE, port)
                waiting[port] = probe
            else:
                probe.close()
                if status == 0:
                    yield port
        end = time.monotonic() + 3
        while waiting and time.monotonic() < end:
            for ready, _ in selector.select(0.2):
                probe = waiting.pop(ready.data)
                status = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                selector.unregister(probe)
                probe.close()
                if status == 0:
                    yield ready.data
        for port, probe in waiting.items():
            probe.close()
            yield f"{port} (silent)"


def session(host, port):
    config = zenoh.Config()
    for name, value in {
        "mode": "client",
        "connect/endpoints": [f"tcp/{host}:{port}"],
        "scouting/multicast/enabled": False,
    }.items():
        config.insert_json5(name, json.dumps(value))
    try:
        with zenoh.open(config) as opened:
            heard = []
            subscriber = opened.declare_subscriber("**", heard.append)
            opened.put("0/enable/std_msgs::msg::dds_::Bool_/x", b"")
            time.sleep(1)
            subscriber.undeclare()
            return f"a session, which heard {len(heard)} messages"
    except zenoh.ZError:
        return None


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    for found in open_ports(host):
        print(f"tcp port {found}")
    found = session(host, port)
    if found:
        print(f"zenoh at port {port}: {found}")
    with zenoh.scout(what="peer|router") as hellos:
        time.sleep(2)
        while hello := hellos.try_recv():
            print(f"zenoh scouting: {hello}")


if __name__ == "__main__":
    main()
