#!/usr/bin/env bash
# From the simulator to LeRobot and back: exports demonstrations, trains ACT on them with LeRobot's trainer,
# evaluates the checkpoint with LeRobot in Python and with Reflexarc on the same scenes, and compares.
#
#     run.sh [OUT]                  (default: target/pick-one)
#
# What is there already is kept: remove OUT/data or OUT/act to make it anew. Settings, by environment:
#
#     PYTHON     interpreter with LeRobot     (target/lerobot/bin/python, which setup.sh makes)
#     EPISODES   scenes to evaluate           (100)
#     STEPS      training steps               (3000)
#     THREADS    episodes at the same time    (2)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/pick-one}
export PYTHON=${PYTHON:-target/lerobot/bin/python}
evaluate=${CARGO_TARGET_DIR:-target}/release/examples/evaluate
here=examples/lerobot

[ -x "$PYTHON" ] || $here/setup.sh
[ -x "$evaluate" ] || cargo build --release --workspace --example evaluate
mkdir -p "$out"
if [ ! -d "$out/data" ]; then
    "$evaluate" --suite pick-one --seed 1000000 --episodes 100 --export-lerobot "$out/data"
    "$PYTHON" $here/check_dataset.py "$out/data"
fi
checkpoint=$out/act/checkpoints/last/pretrained_model
[ -d "$checkpoint" ] || $here/train_act.sh "$out/data" "$out/act" --steps="${STEPS:-3000}"

scenes=(--suite pick-one --seed 1000 --episodes "${EPISODES:-100}" --limit-s 8
    --fps 20 --execution-horizon 10 --threads "${THREADS:-2}")
"$evaluate" "${scenes[@]}" --model "$checkpoint" --json "$out/reflexarc.json"
"$evaluate" "${scenes[@]}" --policy-command "$PYTHON $here/policy_server.py $checkpoint" --json "$out/python.json"
"$PYTHON" $here/compare.py "$out/python.json" "$out/reflexarc.json"
