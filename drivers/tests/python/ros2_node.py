#!/usr/bin/env python3
"""A ROS 2 node that is not ours (ROBOTIS' zenoh_ros2_sdk) finds a running robot, reads it and instructs it.

    pip install zenoh_ros2_sdk==0.1.8 eclipse-zenoh==1.10.2 rosbags==0.11.9
    python ros2_node.py --port 7447 --tell "pick up the blue cube"

Lists the topics with type, node and QoS as `ros2 topic info -v` does, reads joint states, and publishes an
instruction until the robot's goals are about it. Exits 0 when all of that happened in time.
"""

import argparse
import os
import sys
import threading
import time
from pathlib import Path

DRIVERS = Path(__file__).resolve().parents[2]
TIME = "int32 sec\nuint32 nanosec\n"
HEADER = "builtin_interfaces/Time stamp\nstring frame_id\n"
JOINT_STATE = "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n"

# Topic, type, and the QoS of whoever publishes it.
PUBLISHED = [
    ("/joint_states", "sensor_msgs/msg/JointState", "::,10:,:,:,,"),
    ("/goal", "reflexarc_msgs/msg/Goal", "::,1:,:,:,,"),
    ("/camera/scene/image_raw", "sensor_msgs/msg/Image", "2::,1:,:,:,,"),
]


def wait_for(what, seconds, condition):
    """The first true value of `condition()`; ends the program when there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    print(f"error: waited {seconds} s in vain until {what}", file=sys.stderr, flush=True)
    # The SDK's threads would keep the program alive.
    os._exit(1)


def show_graph(discovery, seconds):
    """Waits until the graph has all that it must have: over a router, endpoints show one by one."""

    def ends(name, role):
        info = discovery.get_topic_info(name, verbose=True, **ROUTER)
        return getattr(info, role) if info else []

    for name, kind, qos in PUBLISHED:
        wanted = (kind, qos)
        wait_for(
            f"{name} has a publisher with {wanted}",
            seconds,
            lambda: wanted in [(end.topic_type, end.qos) for end in ends(name, "publishers")],
        )
    wait_for(
        "/instruction has a latched subscription",
        seconds,
        lambda: ":1:,1:,:,:,," in [end.qos for end in ends("/instruction", "subscribers")],
    )
    for name, kinds in discovery.get_topic_names_and_types(**ROUTER):
        for role in "publishers", "subscribers":
            for end in ends(name, role):
                print(f"{name} ({', '.join(kinds)}) {role[:-1]} {end.node_name}, qos {end.qos}, {end.type_hash}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=7447, help="the router's or robot's zenoh port")
    parser.add_argument("--mode", choices=["peer", "client"], default="peer", help="zenoh mode; ROS 2 nodes are peers")
    parser.add_argument("--tell", default="pick up the blue cube", help="the instruction")
    parser.add_argument("--plan", default="", help="what the plan must contain then")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to wait for each thing")
    options = parser.parse_args()
    os.environ["ZENOH_CONFIG_OVERRIDE"] = f'mode="{options.mode}"'
    ROUTER.update(router_port=options.port)

    from zenoh_ros2_sdk import discovery
    from zenoh_ros2_sdk.publisher import ROS2Publisher
    from zenoh_ros2_sdk.session import ZenohSession
    from zenoh_ros2_sdk.subscriber import ROS2Subscriber

    hashes = dict(
        line.split() for line in (DRIVERS / "tests/golden/hashes.txt").read_text().splitlines() if line
    )
    session = ZenohSession.get_instance("127.0.0.1", options.port)
    # The SDK would clone definitions from the network otherwise.
    session.register_message_type(TIME, "builtin_interfaces/msg/Time")
    session.register_message_type(HEADER, "std_msgs/msg/Header")
    show_graph(discovery, options.seconds)

    joints, goals, lock = [], [], threading.Lock()

    def keep(store):
        def callback(message):
            with lock:
                store.append(message)

        return callback

    def subscribe(topic, kind, definition, store):
        return ROS2Subscriber(
            topic, kind, keep(store), msg_definition=definition, type_hash=hashes[kind], **ROUTER
        )

    _joints = subscribe("/joint_states", "sensor_msgs/msg/JointState", JOINT_STATE, joints)
    _goals = subscribe(
        "/goal", "reflexarc_msgs/msg/Goal", (DRIVERS / "msg/Goal.msg").read_text(), goals
    )
    wait_for("joint states arrive", options.seconds, lambda: len(joints) >= 50)
    first = joints[0]
    pairs = " ".join(f"{name}={position:+.3f}" for name, position in zip(first.name, first.position))
    print(f"read {len(joints)} joint states, the first: {pairs}")
    wait_for("a goal arrives", options.seconds, lambda: goals)
    print(f"the goal before: instruction {goals[-1].instruction!r} plan {goals[-1].plan}")

    teller = ROS2Publisher(
        "/instruction",
        "std_msgs/msg/String",
        msg_definition="string data\n",
        type_hash=hashes["std_msgs/msg/String"],
        qos=":1:,1:,:,:,,",
        **ROUTER,
    )

    def obeyed():
        teller.publish(data=options.tell)
        time.sleep(0.4)
        with lock:
            goal = goals[-1]
        return goal if goal.instruction == options.tell and options.plan in " ".join(goal.plan) else None

    goal = wait_for("the robot's goal is about the instruction", options.seconds, obeyed)
    print(f"the goal after: instruction {goal.instruction!r} plan {goal.plan}")
    session.session.close()
    return 0


ROUTER = {"router_ip": "127.0.0.1"}

if __name__ == "__main__":
    sys.exit(main())
