#!/usr/bin/env python3
"""A zenoh router as rmw_zenohd configures it, on a port of loopback, until it is killed.

    pip install eclipse-zenoh==1.10.2
    python router.py 7447
"""

import json
import sys
import threading

import zenoh

config = zenoh.Config()
for name, value in {
    "mode": "router",
    "listen/endpoints": [f"tcp/127.0.0.1:{sys.argv[1]}"],
    "scouting/multicast/enabled": False,
    "scouting/gossip/target": {"router": ["router", "peer"], "peer": ["router"]},
    "timestamping/enabled": True,
}.items():
    config.insert_json5(name, json.dumps(value))
with zenoh.open(config):
    threading.Event().wait()
