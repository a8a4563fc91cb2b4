#!/usr/bin/env python3
"""Times LeRobot's own SmolVLA or ACT, or a twin of our goal model, on PyTorch and prints one JSON line.

Full-size networks with seeded random weights (time does not depend on the values; the goal model has those that
ship); the observation is already on the device and normalised, the instruction already tokenised and padded to
48, as LeRobot does (the goal model: already encoded, as ours keeps it).

    torch_peer.py smolvla --cameras 2 --dtype bf16
    torch_peer.py act --cameras 1
    torch_peer.py goal --device cuda --compile reduce-overhead

`--dtype bf16` is, for SmolVLA, LeRobot's own mix for the published checkpoint: vision and language in bf16,
action expert and projections in f32. `bf16-all` has the expert in bf16 too, which is faster. For the others it is
automatic mixed precision. `tf32` rounds the factors of f32 products to 10 bits on a GPU, as LeRobot does when it
compiles. `--compile MODE` runs the network through torch.compile: of SmolVLA the vision tower and the layers, once
for the prefix and once for a step; with `--whole` all behind the images' preparation at once, as LeRobot's
`compile_model` does, ten steps unrolled, which takes ten times as long. What compiling takes is told apart. `--hold FILE` waits after the
warm-up until FILE is there, so that several can compile at once and be timed one by one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/data/lerobot"))

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

    policy = gen.build_policy(gen.SIZES[args.size], args.cameras)
    if args.dtype.startswith("bf16"):
        policy.model.vlm_with_expert.vlm.to(torch.bfloat16)
    if args.dtype == "bf16-all":
        policy.model.vlm_with_expert.lm_expert.to(torch.bfloat16)
    batch, noise = gen.make_batch(gen.SIZES[args.size], args.cameras, 1)
    batch = {k: v.to(args.device) for k, v in batch.items()}
    noise = noise.to(args.device)
    policy.to(args.device)
    if args.compile and args.whole:
        policy.model.sample_actions = torch.compile(policy.model.sample_actions, mode=args.compile)
    elif args.compile:
        network = policy.model.vlm_with_expert
        network.forward = torch.compile(network.forward, mode=args.compile)
        network.embed_image = torch.compile(network.embed_image, mode=args.compile)
    return lambda: policy.predict_action_chunk(dict(batch), noise=noise)


def act(args: argparse.Namespace):
    import gen_act_ref as gen

    policy = gen.build_policy(gen.SIZES[args.size], args.cameras).to(args.device)
    batch = {k: v.to(args.device) for k, v in gen.make_batch(gen.SIZES[args.size], args.cameras, 1).items()}
    if args.compile:
        policy.model = torch.compile(policy.model, mode=args.compile)

    def run() -> None:
        # bf16 as LeRobot's `use_amp` does it.
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.dtype.startswith("bf16")):
            policy.predict_action_chunk(dict(batch))

    return run


def goal(args: argparse.Namespace):
    import goal_twin
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model = goal_twin.load(HERE.parents[1] / "weights/goal.safetensors").to(args.device)
    words = torch.arange(20, device=args.device) + 4
    inputs = {name: value.to(args.device) for name, value in goal_twin.inputs(model.config, 1).items()}
    with torch.inference_mode():
        instruction = model.instruct(words)
        # Attention as plain products, which the counter sees on every device.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(**inputs, instruction=instruction)
    args.counted = {"parameters": model.parameter_count(), "flop": counter.get_total_flops()}
    network = torch.compile(model, mode=args.compile) if args.compile else model

    def run() -> None:
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.dtype.startswith("bf16")):
            network(**inputs, instruction=instruction)

    return run


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", choices=["smolvla", "act", "goal"])
    ap.add_argument("--size", choices=["full", "tiny"], default="full", help="tiny: to try this script")
    ap.add_argument("--cameras", type=int, default=1)
    ap.add_argument("--dtype", choices=["f32", "tf32", "bf16", "bf16-all"], default="f32")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--compile", choices=["default", "reduce-overhead", "max-autotune"])
    ap.add_argument("--whole", action="store_true")
    ap.add_argument("--hold", type=Path)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--reps", type=int, default=5)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high" if args.dtype == "tf32" else "highest")
    args.counted = {}
    run = {"smolvla": smolvla, "act": act, "goal": goal}[args.model](args)
    cuda = args.device != "cpu"

    def chunk() -> None:
        if args.compile:
            # All graphs of one chunk belong together: what one leaves, the next reads.
            torch.compiler.cudagraph_mark_step_begin()
        run()
        if cuda:
            torch.cuda.synchronize()

    Path("/proc/self/clear_refs").write_text("5")  # the peak of inference, not of construction
    with torch.inference_mode():
        begun = time.perf_counter()
        for _ in range(2):
            chunk()
        warm_up_s = time.perf_counter() - begun
        if args.hold:
            args.hold.with_suffix(".ready").touch()
            while not args.hold.exists():
                time.sleep(0.05)
        for _ in range(3 if cuda else 0):  # clocks and caches
            chunk()
        times = []
        for _ in range(args.reps):
            begun = time.perf_counter()
            chunk()
            times.append((time.perf_counter() - begun) * 1e3)
    print(json.dumps({
        "engine": "torch", "model": args.model, "cameras": args.cameras, "precision": args.dtype,
        "device": torch.cuda.get_device_name() if cuda else "cpu", "compiled": args.compile and args.compile + (", whole" if args.whole else ""),
        "threads": args.threads, "reps": args.reps, "warm_up_s": warm_up_s,
        "p50_ms": statistics.median(times), "p90_ms": quantile(times, 0.9), "min_ms": min(times),
        "peak_rss_mib": peak_rss_mib(),
        "peak_device_mib": torch.cuda.max_memory_allocated() / 2**20 if cuda else None, **args.counted,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
