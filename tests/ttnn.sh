#!/bin/bash
# Run the tests of `backend: ttnn` on the real ttnn and tt-metal's real Generator: on a card where there is one, else on
# ttnn's mock device. The environment is made once, outside the checkout; three minutes and 1 GB.
#   TT_METAL_HOME=…   a checkout of tt-metal: its `models` must match TTNN_VERSION (0.67.0: 26 February 2026)
#   TTNN_PYTHON=…     the interpreter, python3.12 if unset; ttnn has wheels for 3.10 and 3.12 only
set -euo pipefail
if [ ! -d "${TT_METAL_HOME:-}/models/tt_transformers" ]; then
  echo "****  NOTHING WAS TESTED: TT_METAL_HOME names no checkout of tt-metal (${TT_METAL_HOME:-it is not set}).  ****" >&2
  exit 2
fi
VERSION=${TTNN_VERSION:-0.67.0}
PYTHON=${TTNN_PYTHON:-python3.12}
TAG=$("$PYTHON" -c 'import sys; print("py%d%d" % sys.version_info[:2])')
HERE=${DRAGOMAN_TTNN_ENV:-$HOME/.cache/dragoman/ttnn-$VERSION-$TAG}
export PIP_DISABLE_PIP_VERSION_CHECK=1

mkdir -p "$(dirname "$HERE")"
exec 9> "$HERE.lock"
flock 9  # two checkouts may ask at once
if [ ! -e "$HERE/ready" ]; then
  rm -rf "$HERE"
  "$PYTHON" -m venv "$HERE"
  # torch goes first, by its version: the newest of all may come with gigabytes for other devices.
  "$HERE/bin/pip" install -q "torch==${TORCH_VERSION:-2.13.0}"
  # What the `models` of that day need beside ttnn, which names none of it.
  "$HERE/bin/pip" install -q "ttnn==$VERSION" 'transformers==4.53.*' 'numpy<2' loguru tqdm pydantic
  "$HERE/bin/pip" install -q pytest pytest-aiohttp hypothesis
  touch "$HERE/ready"
fi
flock -u 9
cd "$(dirname "$0")/.."
"$HERE/bin/pip" install -q -e .
DRAGOMAN_TTNN=1 "$HERE/bin/python" -m pytest -m ttnn -rA tests/e2e/test_ttnn.py "$@"
