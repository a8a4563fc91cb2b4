#!/usr/bin/env python3
"""Compares two evaluations of one policy on the same scenes: by LeRobot in Python, and by Reflexarc.

    compare.py PYTHON.json REFLEXARC.json

The files are those that `evaluate --json` writes. Prints both success rates with their Wilson intervals,
in how many scenes the outcome agrees, and an exact test (McNemar) of the scenes where it does not. Exits
with 1 when the rates differ by more than the intervals allow: when either lies outside the other's.
"""

from __future__ import annotations

import argparse
import json
import sys
from math import comb
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path)
    parser.add_argument("reflexarc", type=Path)
    arguments = parser.parse_args()
    runs = {"LeRobot": json.loads(arguments.python.read_text()), "Reflexarc": json.loads(arguments.reflexarc.read_text())}
    seeds = {name: [r["seed"] for r in run["results"]] for name, run in runs.items()}
    if seeds["LeRobot"] != seeds["Reflexarc"]:
        raise SystemExit("the two evaluations are not about the same scenes")

    print(f"{'policy run by':<14}{'successes':>10}{'rate':>9}{'95 % interval':>18}{'chunk p50':>12}{'p99':>11}")
    for name, run in runs.items():
        low, high = 100 * run["wilson_low"], 100 * run["wilson_high"]
        p50, p99 = (run["timing"]["model"][f"{p}_us"] / 1e3 for p in ("p50", "p99"))
        count = f"{run['successes']}/{run['episodes']}"
        print(f"{name:<14}{count:>10}{100 * run['success_rate']:>7.1f} %{low:>9.1f} to {high:>4.1f} %{p50:>9.1f} ms{p99:>8.1f} ms")

    pairs = list(zip(runs["LeRobot"]["results"], runs["Reflexarc"]["results"]))
    won = [(a["outcome"] == "success", b["outcome"] == "success") for a, b in pairs]
    same = sum(a == b for a, b in won)
    only_python, only_ours = won.count((True, False)), won.count((False, True))
    differ = only_python + only_ours
    tail = sum(comb(differ, k) for k in range(min(only_python, only_ours) + 1)) / 2**differ
    heights = sorted(abs(a["highest_m"] - b["highest_m"]) for a, b in pairs)
    print(f"same outcome in {same} of {len(pairs)} scenes; LeRobot alone {only_python}, Reflexarc alone {only_ours}")
    print(f"two-sided exact McNemar p = {min(1.0, 2 * tail):.3f}")
    print(f"highest point of the cube: median difference {1e3 * heights[len(heights) // 2]:.3f} mm, largest {1e3 * heights[-1]:.1f} mm")

    a, b = runs["LeRobot"], runs["Reflexarc"]
    equal = a["wilson_low"] <= b["success_rate"] <= a["wilson_high"] and b["wilson_low"] <= a["success_rate"] <= b["wilson_high"]
    print("equal within the interval" if equal else "NOT equal within the interval")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
