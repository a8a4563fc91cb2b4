#!/usr/bin/env bash
# Trains an ACT policy of reduced size with LeRobot's own trainer, on the CPU.
#
#     train_act.sh DATASET OUT [further options of lerobot-train]
#
# PYTHON names the interpreter (default: python3). The checkpoint is OUT/checkpoints/last/pretrained_model.
# Nothing is downloaded: the backbone begins at random, so it learns at the rate of the rest.
set -euo pipefail
dataset=$1 out=$2
shift 2
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} TOKENIZERS_PARALLELISM=false
exec "${PYTHON:-python3}" -m lerobot.scripts.lerobot_train \
    --dataset.repo_id=local/pick-one --dataset.root="$dataset" \
    --policy.type=act --policy.device=cpu --policy.push_to_hub=false \
    --policy.pretrained_backbone_weights=null \
    --policy.dim_model=128 --policy.n_heads=4 --policy.dim_feedforward=512 \
    --policy.n_encoder_layers=2 --policy.use_vae=false \
    --policy.chunk_size=20 --policy.n_action_steps=20 \
    --policy.optimizer_lr=3e-4 --policy.optimizer_lr_backbone=1e-4 \
    --output_dir="$out" --job_name=pick-one --seed=1000 \
    --batch_size=4 --steps=3000 --save_freq=250 --log_freq=50 --num_workers=1 \
    --wandb.enable=false "$@"
