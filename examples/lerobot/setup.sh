#!/usr/bin/env bash
# Makes a Python environment with LeRobot in the folder given (default: target/lerobot).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-target/lerobot}
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet "lerobot[dataset,training]==0.6.1"
"$folder/bin/python" -c 'import lerobot, torch; print("lerobot", lerobot.__version__, "torch", torch.__version__)'
