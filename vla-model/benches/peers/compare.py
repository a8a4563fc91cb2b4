#!/usr/bin/env python3
"""`reflexarc bench` beside LeRobot on PyTorch: the same networks on the same cores, taken in turns.

    vla-model/benches/peers/setup.sh target/vla-peers
    cargo build --release --workspace --examples
    target/release/examples/random_checkpoint smolvla target/full/smolvla
    target/release/examples/random_checkpoint act target/full/act
    target/vla-peers/bin/python vla-model/benches/peers/compare.py --smolvla target/full/smolvla --act target/full/act

Every round runs each engine once, so that a noisy neighbour hits them alike. A figure is the smallest median
of the rounds. Prints a table and, with `--json FILE`, everything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH = {"smolvla": ["f32", "bf16", "bf16-all"], "act": ["f32", "bf16"]}
OURS = {"smolvla": ["f32", "bf16", "int8", "int4"], "act": ["f32", "bf16", "int8", "int4"]}


def with_cameras(folder: Path, cameras: int, into: Path) -> Path:
    """The same checkpoint with another number of cameras: only the configuration differs."""
    out = into / f"{folder.name}-{cameras}"
    out.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, out)
        elif path.name == "model.safetensors" or path.suffix == ".safetensors":
            os.symlink(path.resolve(), out / path.name)
    visual = None
    for name in ["config.json", "policy_preprocessor.json"]:
        config = json.loads((out / name).read_text())
        holders = [config["input_features"]] if name == "config.json" else [
            step["config"]["features"] for step in config["steps"] if "features" in step["config"]
        ]
        for features in holders:
            shape = next(f for f in features.values() if f["type"] == "VISUAL")
            visual = visual or shape
            for key in [k for k, f in features.items() if f["type"] == "VISUAL"]:
                del features[key]
            rest = dict(features)
            features.clear()
            features.update({f"observation.images.camera{i + 1}": visual for i in range(cameras)})
            features.update(rest)
        (out / name).write_text(json.dumps(config, indent=1))
    return out


def run(command: list[str]) -> dict:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--smolvla", type=Path)
    ap.add_argument("--act", type=Path)
    ap.add_argument("--reflexarc", default="target/release/reflexarc")
    ap.add_argument("--cameras", type=int, nargs="+", default=[1, 2])
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--reps", type=int, default=5)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--json", type=Path)
    args = ap.parse_args()
    rows: dict[tuple, list[dict]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cases = []
        for model, folder in [("smolvla", args.smolvla), ("act", args.act)]:
            for cameras in args.cameras if folder else []:
                cases.append((model, cameras, with_cameras(folder, cameras, Path(scratch))))
        for number in range(args.rounds):
            for model, cameras, folder in cases:
                common = ["--threads", str(args.threads), "--reps", str(args.reps)]
                for precision in TORCH[model]:
                    row = run([sys.executable, str(HERE / "torch_peer.py"), model, "--cameras", str(cameras),
                               "--dtype", precision, *common])
                    rows.setdefault((model, cameras, "torch", precision), []).append(row)
                for precision in OURS[model]:
                    row = run([args.reflexarc, "bench", str(folder), "--precision", precision, "--json", *common])
                    rows.setdefault((model, cameras, "reflexarc", precision), []).append(row)
                print(f"round {number + 1}/{args.rounds}: {model}, {cameras} cameras", file=sys.stderr)
    print(f"{'model':8} {'cameras':>7} {'engine':10} {'precision':9} {'p50 ms':>8} {'peak MiB':>9}  "
          f"{'x torch f32':>11} {'x torch bf16':>12}")
    best = {key: min(row["p50_ms"] for row in runs) for key, runs in rows.items()}
    for (model, cameras, engine, precision), runs in rows.items():
        p50 = best[model, cameras, engine, precision]
        f32 = p50 / best[model, cameras, "torch", "f32"]
        bf16 = p50 / min(v for k, v in best.items() if k[:3] == (model, cameras, "torch") and k[3] != "f32")
        peak = max(row["peak_rss_mib"] for row in runs)
        print(f"{model:8} {cameras:7} {engine:10} {precision:9} {p50:8.1f} {peak:9.0f}  {f32:11.3f} {bf16:12.3f}")
    if args.json:
        args.json.write_text(json.dumps([row for runs in rows.values() for row in runs], indent=1))


if __name__ == "__main__":
    main()
