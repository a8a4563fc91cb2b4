#!/bin/sh
# Installs the peers of the benchmark into FOLDER/venv and FOLDER/venv-placo (1.5 GB, Python 3.11 or newer):
# setup.sh FOLDER, with the folder that the benchmark prints.
set -e
folder="${1:?usage: setup.sh FOLDER, with the folder that the benchmark prints}"
here="$(cd "$(dirname "$0")" && pwd)"
for environment in venv venv-placo; do
    requirements="requirements${environment#venv}.txt"
    "${PYTHON:-python3}" -m venv "$folder/$environment"
    "$folder/$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/$requirements"
done
