#!/usr/bin/env python3
"""Times LeRobot's own SmolVLA or ACT on PyTorch and prints one JSON line.

Full-size networks with seeded random weights (time does not depend on the values); the observation is
already on the device and normalised, the instruction already tokenised and padded to 48, as LeRobot does.

    torch_peer.py smolvla --cameras 2 --dtype bf16
    torch_peer.py act --cameras 1

`--dtype bf16` is, for SmolVLA, LeRobot's own mix for the published checkpoint: vision and language in bf16,
action expert and projections in f32. `bf16-all` has the expert in bf16 too, which is faster. For ACT it is
automatic mixed precision. `--device cuda` adds a peer
on the GPU; `--compile` runs it through torch.compile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/data/lerobot"))

import torch


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def peak_rss_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def smolvla(args: argparse.Namespace):
    import gen_smolvla_ref as gen

    policy = gen.build_policy(gen.FULL, args.cameras)
    if args.dtype != "f32":
        policy.model.vlm_with_expert.vlm.to(torch.bfloat16)
    if args.dtype == "bf16-all":
        policy.model.vlm_with_expert.lm_expert.to(torch.bfloat16)
    batch, noise = gen.make_batch(gen.FULL, args.cameras, 1)
    batch = {k: v.to(args.device) for k, v in batch.items()}
    noise = noise.to(args.device)
    policy.to(args.device)
    if args.compile:
        policy.model.sample_actions = torch.compile(policy.model.sample_actions, mode="max-autotune")
    return lambda: policy.predict_action_chunk(dict(batch), noise=noise)


def act(args: argparse.Namespace):
    import gen_act_ref as gen

    policy = gen.build_policy(gen.FULL, args.cameras).to(args.device)
    batch = {k: v.to(args.device) for k, v in gen.make_batch(gen.FULL, args.cameras, 1).items()}
    if args.compile:
        policy.model = torch.compile(policy.model, mode="max-autotune")

    def run() -> None:
        # bf16 as LeRobot's `use_amp` does it.
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.dtype != "f32"):
            policy.predict_action_chunk(dict(batch))

    return run


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", choices=["smolvla", "act"])
    ap.add_argument("--cameras", type=int, default=1)
    ap.add_argument("--dtype", choices=["f32", "bf16", "bf16-all"], default="f32")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--reps", type=int, default=5)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    run = {"smolvla": smolvla, "act": act}[args.model](args)

    def finish() -> None:
        if args.device != "cpu":
            torch.cuda.synchronize()

    Path("/proc/self/clear_refs").write_text("5")  # the peak of inference, not of construction
    with torch.inference_mode():
        for _ in range(2):
            run()
            finish()
        times = []
        for _ in range(args.reps):
            begun = time.perf_counter()
            run()
            finish()
            times.append((time.perf_counter() - begun) * 1e3)
    print(json.dumps({
        "engine": "torch", "model": args.model, "cameras": args.cameras, "precision": args.dtype,
        "device": args.device, "compiled": args.compile, "threads": args.threads, "reps": args.reps,
        "p50_ms": statistics.median(times), "p90_ms": quantile(times, 0.9), "min_ms": min(times),
        "peak_rss_mib": peak_rss_mib(),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
