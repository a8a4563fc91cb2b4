#!/usr/bin/env python3
"""A LeRobot policy that answers over its standard streams: the other side of `evaluate --policy-command`.

    policy_server.py CHECKPOINT

A question is a line of JSON with the instruction, the state and the sizes of the cameras, then their pixels;
an answer is a line of JSON with the number and width of the actions, then 32-bit floats. The policy, its
normalisation and its actions are LeRobot's own: `predict_action_chunk` between the checkpoint's processors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    # Whatever a library prints must not end up between the answers.
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    config = PreTrainedConfig.from_pretrained(arguments.checkpoint)
    config.device = "cpu"
    policy = get_policy_class(config.type).from_pretrained(arguments.checkpoint, config=config).eval()
    prepare, finish = make_pre_post_processors(config, pretrained_path=str(arguments.checkpoint))

    def say(header: dict, data: bytes = b"") -> None:
        sink.write(json.dumps(header).encode() + b"\n" + data)
        sink.flush()

    def answer(header: dict, images: dict[str, torch.Tensor]) -> np.ndarray:
        observation = {f"observation.images.{name}": image for name, image in images.items()}
        observation["observation.state"] = torch.tensor(header["state"], dtype=torch.float32)
        observation["task"] = header["instruction"]
        with torch.inference_mode():
            actions = finish(policy.predict_action_chunk(prepare(observation)))
        return actions.squeeze(0).to(torch.float32).numpy()

    say({"name": f"lerobot-{config.type}"})
    while line := source.readline():
        header = json.loads(line)
        images = {}
        for camera in header["cameras"]:
            height, width = camera["height"], camera["width"]
            pixels = np.frombuffer(source.read(height * width * 3), dtype=np.uint8).reshape(height, width, 3)
            images[camera["name"]] = torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(torch.float32) / 255.0
        try:
            actions = answer(header, images)
        except Exception as error:  # the caller decides what an error means
            say({"error": f"{type(error).__name__}: {error}"})
            continue
        say({"count": actions.shape[0], "width": actions.shape[1]}, np.ascontiguousarray(actions, "<f4").tobytes())


if __name__ == "__main__":
    main()
