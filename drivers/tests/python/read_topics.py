#!/usr/bin/env python3
"""Reads a running robot's topics with nothing of ours: zenoh's own client and rosbags' decoder.

    pip install eclipse-zenoh==1.10.2 rosbags==0.11.9 numpy
    python read_topics.py --port 7447 --seconds 10

Prints one line for the first joint state, goal and scene camera picture, and then how many of each
came and how many were missing by their sequence numbers. Exits 0 when all three arrived in time.
"""

import argparse
import json
import struct
import sys
import threading
from pathlib import Path

import zenoh
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

GOAL_MSG = Path(__file__).resolve().parents[2] / "msg" / "Goal.msg"


def show_joints(message):
    pairs = zip(message.name, message.position)
    return " ".join(f"{name}={position:+.4f}" for name, position in pairs)


def show_goal(message):
    target = [round(float(value), 3) for value in message.target_position_m]
    return (
        f"decision {message.decision} instruction {message.instruction!r} plan {message.plan} "
        f"subtask {message.subtask!r} target_position_m {target} confidence {message.confidence:.2f}"
    )


def show_image(message):
    if len(message.data) != message.step * message.height:
        raise ValueError(f"expected {message.step * message.height} bytes, found {len(message.data)}")
    mean = float(message.data.mean())
    return f"{message.width}x{message.height} {message.encoding}, {len(message.data)} bytes, mean {mean:.1f}"


class Topic:
    """Decodes what comes on one topic; the callback runs on zenoh's thread."""

    def __init__(self, store, name, kind, show):
        self.store, self.name, self.kind, self.show = store, name, kind, show
        self.count = self.missing = 0
        self.newest = {}
        self.first = threading.Event()
        self.error = None

    def key(self, domain):
        package, _, message = self.kind.split("/")
        return f"{domain}/{self.name}/{package}::msg::dds_::{message}_/{self.store.hash_rihs01(self.kind)}"

    def __call__(self, sample):
        try:
            attachment = sample.attachment.to_bytes()
            sequence, stamp_ns, length = struct.unpack_from("<qqB", attachment)
            if len(attachment) != 33 or length != 16:
                raise ValueError(f"attachment of {len(attachment)} bytes, gid of {length}")
            gid = attachment[17:]
            self.missing += max(0, sequence - self.newest.get(gid, sequence - 1) - 1)
            self.newest[gid] = sequence
            message = self.store.deserialize_cdr(sample.payload.to_bytes(), self.kind)
            line = self.show(message)
        except Exception as error:  # Reported by the main thread, which then exits non-zero.
            self.error = f"{self.name}: {error}"
            self.first.set()
            return
        self.count += 1
        if not self.first.is_set():
            print(f"{self.name} ({self.kind}) sequence {sequence} stamp {stamp_ns} ns: {line}", flush=True)
            self.first.set()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=7447, help="the robot's zenoh port on this machine")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to wait for all topics")
    parser.add_argument("--namespace", default="", help="the robot's namespace, if it has one")
    parser.add_argument("--domain", type=int, default=0, help="the ROS domain")
    options = parser.parse_args()

    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(GOAL_MSG.read_text(), "reflexarc_msgs/msg/Goal"))
    prefix = options.namespace.strip("/")
    prefix = f"{prefix}/" if prefix else ""
    topics = [
        Topic(store, f"{prefix}joint_states", "sensor_msgs/msg/JointState", show_joints),
        Topic(store, f"{prefix}goal", "reflexarc_msgs/msg/Goal", show_goal),
        Topic(store, f"{prefix}camera/scene/image_raw", "sensor_msgs/msg/Image", show_image),
    ]

    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5("connect/endpoints", json.dumps([f"tcp/127.0.0.1:{options.port}"]))
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("scouting/gossip/enabled", "false")
    with zenoh.open(config) as session:
        subscribers = [session.declare_subscriber(topic.key(options.domain), topic) for topic in topics]
        timer = threading.Event()
        deadline = threading.Timer(options.seconds, timer.set)
        deadline.daemon = True
        deadline.start()
        while not timer.is_set() and not all(topic.first.is_set() for topic in topics):
            timer.wait(0.02)
        timer.wait(min(1.0, options.seconds))
        deadline.cancel()
        for subscriber in subscribers:
            subscriber.undeclare()

    for topic in topics:
        if topic.error:
            print(f"error: {topic.error}", file=sys.stderr)
        elif topic.count == 0:
            print(f"error: {topic.name}: nothing arrived within {options.seconds} s", file=sys.stderr)
        else:
            print(f"{topic.name}: {topic.count} read, {topic.missing} missing")
    return 0 if all(topic.count and not topic.error for topic in topics) else 1


if __name__ == "__main__":
    sys.exit(main())
