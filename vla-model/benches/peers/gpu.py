#!/usr/bin/env python3
"""On a machine with a GPU: our parity suite on it, then our latency beside PyTorch's, taken in turns.

    cargo build --release -p reflexarc-runtime -p reflexarc-vla-model --bin reflexarc --example random_checkpoint \\
        --features reflexarc-runtime/gpu,reflexarc-vla-model/gpu
    cargo test --release -p reflexarc-vla-model --features gpu --test devices --no-run     # prints its path
    vla-model/benches/peers/gpu.py --reflexarc target/release/reflexarc --devices-test target/release/deps/devices-… \\
        --random-checkpoint target/release/examples/random_checkpoint --out out/gpu

Needs a Python with LeRobot and a PyTorch for the GPU. Full-size networks with random weights, written by
`random_checkpoint` (the goal model as it ships). All PyTorch peers start at once, compile and warm up side by
side, wait, and are then timed one by one with nothing else running. What fails or takes too long is reported
as such; the rest goes on. Writes `report.json` and the logs to --out and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import with_cameras

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CAMERAS = [1, 2]
OURS = {"smolvla": ["f32", "int8", "int4"], "act": ["f32", "int8"]}
EAGER = {"smolvla": ["f32", "tf32", "bf16", "bf16-all"], "act": ["f32", "tf32", "bf16"], "goal": ["f32"]}
COMPILED = {"smolvla": ["tf32", "bf16-all"], "act": ["tf32", "bf16"], "goal": ["f32"]}
# Without and with CUDA graphs.
MODES = ["default", "reduce-overhead"]


class Peer:
    """A PyTorch process that warms up at once and is timed when told."""

    def __init__(self, args: argparse.Namespace, model: str, cameras: int, dtype: str, mode: str | None,
                 whole: bool = False):  # fmt: skip
        how = mode and mode + (", whole" if whole else "")
        self.what = {"engine": "torch", "model": model, "cameras": cameras, "precision": dtype, "compiled": how}
        self.given_up = None
        name = f"torch-{model}-{cameras}-{dtype}-{mode or 'eager'}" + ("-whole" if whole else "")
        self.hold, self.ready = args.out / f"{name}.hold", args.out / f"{name}.ready"
        for path in [self.hold, self.ready]:
            path.unlink(missing_ok=True)
        command = [sys.executable, str(HERE / "torch_peer.py"), model, "--cameras", str(cameras), "--dtype", dtype,
                   "--device", args.torch_device, "--reps", str(args.reps), "--size", args.size,
                   "--hold", str(self.hold)]  # fmt: skip
        if mode:
            command += ["--compile", mode] + (["--whole"] if whole else [])
        self.log = open(args.out / f"{name}.log", "w+")
        environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "2"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)

    def waits(self) -> bool:
        return self.ready.exists() or self.process.poll() is not None

    def give_up(self, why: str) -> None:
        self.process.kill()
        self.given_up = why

    def measure(self, limit_s: float) -> dict:
        if self.given_up:
            return {**self.what, "failed": self.given_up}
        self.hold.touch()
        try:
            out, _ = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return {**self.what, "failed": f"no result within {limit_s:.0f} s"}
        if self.process.returncode:
            self.log.seek(0)
            return {**self.what, "failed": self.log.read().strip().splitlines()[-1:]}
        return json.loads(out[out.index("{") :])


def ours(args: argparse.Namespace, what: dict, path: Path, *more: str) -> dict:
    """One run of `reflexarc bench`."""
    command = [args.reflexarc, "bench", str(path), "--json", "--reps", str(args.reps), "--precision",
               what["precision"], "--device", what.get("on", "gpu"), *more]  # fmt: skip
    what = {"engine": "reflexarc", **what}
    log = args.out / "-".join(["reflexarc", what["model"], str(what["cameras"]), what["precision"] + ".log"])
    try:
        with open(log, "w") as errors:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=args.limit)
    except subprocess.TimeoutExpired:
        return {**what, "failed": f"no result within {args.limit:.0f} s"}
    if done.returncode:
        return {**what, "failed": log.read_text().strip().splitlines()[-1:]}
    return {**json.loads(done.stdout), **what}


def parity(args: argparse.Namespace) -> dict:
    begun = time.monotonic()
    log = args.out / "parity.log"
    with open(log, "w") as out:
        try:
            code = subprocess.run([args.devices_test, "--nocapture"], stdout=out, stderr=out, timeout=args.compile_limit).returncode
        except subprocess.TimeoutExpired:
            code = f"no result within {args.compile_limit:.0f} s"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(("test ", "test result"))]
    print(f"parity suite: exit {code}, {time.monotonic() - begun:.0f} s", *lines[-24:], sep="\n  ", flush=True)
    return {"exit": code, "lines": lines}


def show(rows: list[dict]) -> None:
    print(f"\n{'model':8} {'cameras':>7} {'engine':9} {'precision':9} {'how':18} {'p50 ms':>9} {'p90 ms':>9} {'warm-up s':>9}")
    for row in rows:
        how = row.get("on") or row.get("compiled") or ("eager" if row["engine"] == "torch" else "gpu")
        times = (f"{row['p50_ms']:9.3f} {row['p90_ms']:9.3f} {row['warm_up_s']:9.1f}" if "p50_ms" in row
                 else f"failed: {row['failed']}")  # fmt: skip
        print(f"{row['model']:8} {row['cameras']:7} {row['engine']:9} {row['precision']:9} {how:18} {times}",
              row.get("fallback") and "computed in f32" or "")  # fmt: skip
        stages = row.get("stages", [])
        if len(stages) > 1:
            parts = [f"{stage['stage']} {stage['p50_ms']:.2f} ms {stage['gflop_per_s']:.0f} GFLOP/s" for stage in stages]
            print(" " * 18, "; ".join(parts))


def run(args: argparse.Namespace, scratch: Path) -> None:
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", flush=True)

    models = [model for model in ["smolvla", "act", "goal"] if model not in args.skip]
    peers = []
    for kind, table, mode in [*(("compiled", COMPILED, mode) for mode in MODES), ("eager", EAGER, None)]:
        for model in [m for m in models if kind not in args.skip and (kind == "eager" or m in args.compiled)]:
            for cameras in [2] if model == "goal" else CAMERAS:
                dtypes = [dtype for dtype in table[model] if dtype in args.dtypes]
                peers += [Peer(args, model, cameras, dtype, mode) for dtype in dtypes]
    if args.whole and "smolvla" in models:
        peers += [Peer(args, "smolvla", cameras, "bf16-all", MODES[-1], whole=True) for cameras in CAMERAS]
    folders = {}
    for model in [m for m in models if m != "goal" and "ours" not in args.skip]:
        if args.size == "tiny":
            if model == "smolvla":
                continue  # the fixture has no tokenizer
            folder = ROOT / f"vla-model/tests/data/lerobot/{model}_tiny"
        else:
            folder = scratch / model
            subprocess.run([args.random_checkpoint, model, str(folder)], check=True)
        for cameras in CAMERAS:
            folders[model, cameras] = with_cameras(folder, cameras, scratch)
    say("checkpoints are there")
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    card = subprocess.run(query, capture_output=True, text=True).stdout.strip() if shutil.which(query[0]) else ""
    report: dict = {"card": card, "parity": parity(args) if args.devices_test else None, "rows": []}
    rows = report["rows"]
    say("waiting for PyTorch to compile")
    while not all(peer.waits() for peer in peers) and time.monotonic() - begun < args.compile_limit:
        time.sleep(0.2)
    for peer in peers:
        if not peer.waits():
            peer.give_up(f"still compiling after {args.compile_limit:.0f} s")
    say(f"{sum(not peer.given_up for peer in peers)} of {len(peers)} PyTorch peers are ready")
    for model in models:
        for cameras in [2] if model == "goal" else CAMERAS:
            if "ours" not in args.skip and model == "goal":
                weights = ROOT / "vla-model/weights/goal.safetensors"
                for precision, on in [("f32", "gpu"), ("f32", "cpu"), ("int8", "cpu")]:
                    what = {"model": model, "cameras": cameras, "precision": precision, "on": on}
                    rows.append(ours(args, what, weights))
            elif (model, cameras) in folders:
                for precision in [p for p in OURS[model] if p in args.precisions]:
                    what = {"model": model, "cameras": cameras, "precision": precision}
                    rows.append(ours(args, what, folders[model, cameras]))
            for peer in peers:
                if (peer.what["model"], peer.what["cameras"]) == (model, cameras):
                    rows.append(peer.measure(60))
            (args.out / "report.json").write_text(json.dumps(report, indent=1))
            say(f"{model}, {cameras} cameras: measured")
    show(rows)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--reflexarc", default=ROOT / "target/release/reflexarc")
    ap.add_argument("--devices-test", help="binary of the parity suite; left out without")
    ap.add_argument("--random-checkpoint", default=ROOT / "target/release/examples/random_checkpoint")
    ap.add_argument("--out", type=Path, default=Path("out/gpu"))
    ap.add_argument("--scratch", help="where checkpoints go for the while (1.2 GB)")
    ap.add_argument("--reps", type=int, default=30)
    ap.add_argument("--limit", type=float, default=120, help="seconds for one of our runs")
    ap.add_argument("--compile-limit", type=float, default=240, help="seconds from the start for PyTorch to compile")
    ap.add_argument("--skip", nargs="*", default=[], choices=["ours", "eager", "smolvla", "act", "goal"])
    ap.add_argument("--compiled", nargs="*", default=list(COMPILED), help="which of PyTorch's to compile: all")
    ap.add_argument("--precisions", nargs="*", default=["f32", "int8", "int4"], help="which of ours")
    ap.add_argument("--dtypes", nargs="*", default=["f32", "tf32", "bf16", "bf16-all"], help="which of PyTorch's")
    ap.add_argument("--whole", action="store_true", help="SmolVLA compiled as one as well, which takes minutes")
    ap.add_argument("--torch-device", default="cuda")
    ap.add_argument("--size", choices=["full", "tiny"], default="full", help="tiny: to try this script")
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        run(args, Path(scratch))


if __name__ == "__main__":
    main()
