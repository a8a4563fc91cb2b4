#!/usr/bin/env bash
# Installs LeRobot with PyTorch into a Python environment of its own, for `compare.py`.
#   vla-model/benches/peers/setup.sh FOLDER      (about 6 GB; needs Python 3.12 or newer)
set -euo pipefail
folder=${1:?usage: setup.sh FOLDER}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 12) else "Python 3.12 or newer is needed; name one in PYTHON")'
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet 'lerobot[smolvla]==0.6.1' torch==2.11.0 transformers==5.5.4
echo "ready: $folder/bin/python vla-model/benches/peers/compare.py --help"
