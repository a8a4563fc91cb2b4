#!/usr/bin/env python3
"""Writes one golden payload per message type, as rosbags (not our code) encodes it.

    pip install rosbags==0.11.9 numpy
    python tests/golden/generate.py

Each NAME.hex holds the payload in hexadecimal, 32 bytes a line, and hashes.txt the type hashes that
rosbags computes. tests/golden.rs holds the same values in Rust and compares both ways.
"""

from pathlib import Path

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

HERE = Path(__file__).resolve().parent
store = get_typestore(Stores.ROS2_JAZZY)
goal_text = (HERE.parent.parent / "msg" / "Goal.msg").read_text()
store.register(get_types_from_msg(goal_text, "reflexarc_msgs/msg/Goal"))
T = store.types

Time = T["builtin_interfaces/msg/Time"]
Duration = T["builtin_interfaces/msg/Duration"]
Header = T["std_msgs/msg/Header"]
Dim = T["std_msgs/msg/MultiArrayDimension"]
Layout = T["std_msgs/msg/MultiArrayLayout"]
Point = T["trajectory_msgs/msg/JointTrajectoryPoint"]
Status = T["diagnostic_msgs/msg/DiagnosticStatus"]
KeyValue = T["diagnostic_msgs/msg/KeyValue"]


def header(frame: str) -> Header:
    return Header(Time(1763650000, 123456789), frame)


def f64(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def message(name: str, *fields):
    return name, T[name](*fields)


GOLDENS = {
    "string": message("std_msgs/msg/String", "pick up the röd mug"),
    "string_empty": message("std_msgs/msg/String", ""),
    "bool": message("std_msgs/msg/Bool", True),
    "header": message("std_msgs/msg/Header", Time(-1, 999999999), "base"),
    "image": message(
        "sensor_msgs/msg/Image", header("scene"), 2, 3, "rgb8", 0, 9, np.arange(18, dtype=np.uint8)
    ),
    "compressed_image": message(
        "sensor_msgs/msg/CompressedImage", header("wrist"), "jpeg", np.array([255, 216, 255], dtype=np.uint8)
    ),
    "joint_state": message(
        "sensor_msgs/msg/JointState",
        header(""),
        ["joint1", "gripper"],
        f64(0.5, 0.08),
        f64(),
        f64(-1.25, 20.0),
    ),
    "joint_state_empty": message(
        "sensor_msgs/msg/JointState", header("b"), [], f64(), f64(), f64()
    ),
    "float32_multi_array": message(
        "std_msgs/msg/Float32MultiArray",
        Layout([Dim("rows", 1, 6), Dim("columns", 2, 6), Dim("channels", 3, 3)], 0),
        np.array([0.0, 0.25, -0.5, 1.0, 2.0, 3.5], dtype=np.float32),
    ),
    "joint_trajectory": message(
        "trajectory_msgs/msg/JointTrajectory",
        header("base"),
        ["joint1", "joint2", "gripper"],
        [
            Point(f64(0.1, -0.2, 0.04), f64(1.0, 2.0, 0.0), f64(), f64(0.0, 0.0, 15.0), Duration(0, 4166667)),
            Point(f64(), f64(), f64(), f64(), Duration(1, 5)),
        ],
    ),
    "joint_trajectory_point": message(
        "trajectory_msgs/msg/JointTrajectoryPoint", f64(3.0), f64(), f64(9.5), f64(), Duration(2, 1)
    ),
    "diagnostic_array": message(
        "diagnostic_msgs/msg/DiagnosticArray",
        header(""),
        [
            Status(1, "reflex", "late", "", [KeyValue("missed", "3"), KeyValue("p99_us", "512")]),
            Status(0, "camera/scene", "ok", "cam0", []),
        ],
    ),
    "diagnostic_status": message(
        "diagnostic_msgs/msg/DiagnosticStatus", 3, "wrist", "stale", "w1", [KeyValue("age_ms", "250")]
    ),
    "key_value": message("diagnostic_msgs/msg/KeyValue", "a", "bc"),
    "goal": message(
        "reflexarc_msgs/msg/Goal",
        header("base"),
        "pick up the red mug",
        ["pick(red mug)"],
        "reach",
        ["PLAN", "PICK", "red", "mug"],
        "",
        f64(0.5, -0.1, 0.12),
        f64(1.0, 0.0, 0.0, 0.0),
        0.08,
        20.0,
        0.25,
        0.75,
        0.5,
        42,
        1763650000000000000,
    ),
}

if __name__ == "__main__":
    hashes = {}
    for name, (kind, value) in GOLDENS.items():
        digits = bytes(store.serialize_cdr(value, kind)).hex()
        lines = [digits[start : start + 64] for start in range(0, len(digits), 64)]
        (HERE / f"{name}.hex").write_text("\n".join(lines) + "\n")
        hashes[kind] = store.hash_rihs01(kind)
    text = "".join(f"{kind} {hashes[kind]}\n" for kind in sorted(hashes))
    (HERE / "hashes.txt").write_text(text)
    print(text, end="")
