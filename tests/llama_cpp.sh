#!/bin/bash
# Make the environment of llama-cpp-python's server and of llama-server, once, outside the checkout; print where it is.
#   tests/llama_cpp.sh [folder]    PYTHON311=… names the interpreter; a C++ compiler is needed, and a quarter of an hour
set -euo pipefail
VERSION=0.3.36
HERE=${1:-${DRAGOMAN_LLAMA_CPP:-$HOME/.cache/dragoman/llama-cpp-$VERSION}}
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

# The package carries llama.cpp's source. One build makes llama-server and the libraries that the package loads.
pip download -q --no-deps --no-binary llama-cpp-python -d "$HERE/source" "llama-cpp-python==$VERSION"
tar -xzf "$HERE"/source/*.tar.gz -C "$HERE/source" --strip-components=1
cmake -S "$HERE/source/vendor/llama.cpp" -B "$HERE/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
  -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF \
  -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF 1>&2
cmake --build "$HERE/build" --target llama-server llama mtmd -j "${JOBS:-2}" 1>&2
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" pip install -q "$HERE/source[server]" gguf==0.19.0
SITE=$("$HERE/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir -p "$SITE/llama_cpp/lib"
cp -a "$HERE"/build/bin/*.so* "$SITE/llama_cpp/lib/"
cp -a "$HERE"/build/bin/* "$HERE/bin/"
rm -rf "$HERE/source" "$HERE/build"
"$HERE/bin/python" -c "import llama_cpp; assert llama_cpp.__version__ == '$VERSION'"
"$HERE/bin/llama-server" --version 1>&2
touch "$HERE/ready"
echo "$HERE"
