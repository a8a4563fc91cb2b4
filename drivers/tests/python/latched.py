#!/usr/bin/env python3
"""Latched values against zenoh-ext's own AdvancedPublisher and AdvancedSubscriber, which rmw_zenoh uses.

    pip install eclipse-zenoh==1.10.2 rosbags==0.11.9
    python latched.py target/release/examples/publish

Starts the example `publish` as the robot. Its subscription must get what an AdvancedPublisher said before the
robot was there; an AdvancedSubscriber must get the robot's last value, once, whoever came first. Exits 0 if so.
"""

import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import zenoh
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from zenoh.ext import (
    CacheConfig,
    HistoryConfig,
    MissDetectionConfig,
    RecoveryConfig,
    declare_advanced_publisher,
    declare_advanced_subscriber,
)

GOAL_MSG = Path(__file__).resolve().parents[2] / "msg" / "Goal.msg"
STORE = get_typestore(Stores.ROS2_JAZZY)
STORE.register(get_types_from_msg(GOAL_MSG.read_text(), "reflexarc_msgs/msg/Goal"))


def key(topic, kind):
    package, _, message = kind.split("/")
    return f"0/{topic}/{package}::msg::dds_::{message}_/{STORE.hash_rihs01(kind)}"


INSTRUCTION = key("instruction", "std_msgs/msg/String")
TORQUE_OFF = key("torque_off", "std_msgs/msg/Bool")
GOAL = key("goal", "reflexarc_msgs/msg/Goal")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def peer(listen=(), connect=()):
    """A session as rmw_zenoh opens it, without a router."""
    config = zenoh.Config()
    for name, value in {
        "mode": "peer",
        "listen/endpoints": [f"tcp/127.0.0.1:{port}" for port in listen],
        "connect/endpoints": [f"tcp/127.0.0.1:{port}" for port in connect],
        "scouting/multicast/enabled": False,
        "timestamping/enabled": True,
    }.items():
        config.insert_json5(name, json.dumps(value))
    return zenoh.open(config)


class Robot:
    def __init__(self, program, port, connect=None):
        arguments = [program, "--listen", f"tcp/127.0.0.1:{port}", "--seconds", "60"]
        if connect:
            arguments += ["--connect", f"tcp/127.0.0.1:{connect}"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def wait_for(what, condition, seconds=15.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    sys.exit(f"error: waited in vain until {what}")


def subscribe(session, samples):
    """As rmw_zenoh does for a reliable, transient local subscription of depth 1."""
    return declare_advanced_subscriber(
        session,
        TORQUE_OFF,
        samples.append,
        history=HistoryConfig(detect_late_publishers=True, max_samples=1),
        recovery=RecoveryConfig(periodic_queries=None, heartbeat=True),
    )


def expect_last(samples, what):
    wait_for(f"the robot's last value arrives ({what})", lambda: samples)
    time.sleep(1.0)
    values = [STORE.deserialize_cdr(s.payload.to_bytes(), "std_msgs/msg/Bool").data for s in samples]
    sequences = [struct.unpack_from("<q", s.attachment.to_bytes())[0] for s in samples]
    if (values, sequences) != ([False], [2]):
        sys.exit(f"error: {what}: expected one value, False with number 2, found {values} {sequences}")
    print(f"AdvancedSubscriber, {what}: the last value, once")


def robot_to_subscriber(program):
    port = free_port()
    with Robot(program, port):
        wait_for("the robot listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        time.sleep(0.5)
        with peer(connect=[port]) as session:
            samples = []
            subscriber = subscribe(session, samples)
            expect_last(samples, "subscriber after the publisher")
            subscriber.undeclare()
    port = free_port()
    with peer(listen=[port]) as session:
        samples = []
        subscriber = subscribe(session, samples)
        time.sleep(0.5)
        with Robot(program, free_port(), connect=port):
            # The robot's two values may come live, and the last of them from the cache.
            wait_for("the late robot's value arrives", lambda: samples)
            time.sleep(1.0)
            sequences = [struct.unpack_from("<q", s.attachment.to_bytes())[0] for s in samples]
            if sequences not in ([2], [1, 2]):
                sys.exit(f"error: late publisher: expected number 2 once, found {sequences}")
            print("AdvancedSubscriber before the publisher: the last value, once")
        subscriber.undeclare()


def publisher_to_robot(program, what, **detection):
    port = free_port()
    with peer(listen=[port]) as session:
        publisher = declare_advanced_publisher(
            session, INSTRUCTION, cache=CacheConfig(1), publisher_detection=True, **detection
        )
        for sequence, text in enumerate(["wave", "fold the cloth"], start=1):
            message = STORE.types["std_msgs/msg/String"](text)
            attachment = struct.pack("<qqB", sequence, time.time_ns(), 16) + bytes(range(16))
            publisher.put(bytes(STORE.serialize_cdr(message, "std_msgs/msg/String")), attachment=attachment)
        goals = []
        subscriber = session.declare_subscriber(
            GOAL, lambda s: goals.append(STORE.deserialize_cdr(s.payload.to_bytes(), "reflexarc_msgs/msg/Goal"))
        )
        with Robot(program, free_port(), connect=port):
            wait_for(
                f"the robot has the cached instruction ({what})",
                lambda: goals and goals[-1].instruction == "fold the cloth",
            )
            print(f"AdvancedPublisher, {what}: the robot took its cached value")
        subscriber.undeclare()
        publisher.undeclare()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    robot_to_subscriber(sys.argv[1])
    publisher_to_robot(
        sys.argv[1], "numbered (reliable)", sample_miss_detection=MissDetectionConfig(heartbeat=0.5, sporadic_heartbeat=None)
    )
    publisher_to_robot(sys.argv[1], "time-stamped (best effort)")


if __name__ == "__main__":
    main()
