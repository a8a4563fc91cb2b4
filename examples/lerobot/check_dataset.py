#!/usr/bin/env python3
"""Loads an exported dataset with LeRobot's own reader and checks what it makes of it.

    check_dataset.py DIR

Checked: counts, cameras, the instruction of the first and last frame, one frame of each end, a shuffled
batch, a chunk of actions with its padding mask, and the statistics against the data.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def check(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"FAULT: {what}")
    print(f"ok: {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    info = json.loads((folder / "meta/info.json").read_text())
    fps, width = info["fps"], info["features"]["action"]["shape"][0]

    dataset = LeRobotDataset("local/export", root=folder)
    check(len(dataset) == info["total_frames"], f"{len(dataset)} frames")
    check(dataset.meta.total_episodes == info["total_episodes"], f"{dataset.meta.total_episodes} episodes")
    cameras = sorted(k for k, v in info["features"].items() if v["dtype"] == "image")
    check(sorted(dataset.meta.camera_keys) == cameras, f"cameras {cameras}")
    for index in (0, len(dataset) - 1):
        frame = dataset[index]
        task = frame["task"]
        check(isinstance(task, str) and " " in task, f"frame {index}: the instruction is {task!r}")
        for camera in cameras:
            height, columns, _ = info["features"][camera]["shape"]
            image = frame[camera]
            check(image.shape == (3, height, columns), f"frame {index}: {camera} is {tuple(image.shape)}")
            check(0.0 <= image.min() and 0.5 < image.max() <= 1.0, f"frame {index}: {camera} lies in 0..1")
        check(frame["action"].shape == (width,), f"frame {index}: an action of {width} values")
    check(int(dataset[len(dataset) - 1]["index"]) == len(dataset) - 1, "indices run over the whole set")

    chunk = LeRobotDataset("local/export", root=folder, delta_timestamps={"action": [i / fps for i in range(8)]})
    last = chunk[len(chunk) - 1]
    check(last["action"].shape == (8, width), "action chunks of 8")
    check(last["action_is_pad"].tolist() == [False] + [True] * 7, "the end of an episode is padding")
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)))
    check(all(isinstance(t, str) for t in batch["task"]), "a batch carries its instructions")

    stats = dataset.meta.stats
    for key in ("action", "observation.state"):
        values = np.stack(dataset.hf_dataset.with_format("numpy")[key]).astype(np.float64)
        for name, found in (("mean", values.mean(0)), ("std", values.std(0)), ("min", values.min(0)), ("q99", np.quantile(values, 0.99, 0))):
            check(np.allclose(stats[key][name], found, atol=1e-6), f"{name} of {key}")
    sample = torch.stack([dataset[i][cameras[0]] for i in range(0, len(dataset), max(1, len(dataset) // 64))])
    mean = sample.mean(dim=(0, 2, 3)).numpy()
    check(np.allclose(stats[cameras[0]]["mean"].reshape(3), mean, atol=0.02), f"mean of {cameras[0]}")


if __name__ == "__main__":
    main()
