#!/usr/bin/env bash
# Measure lgd on one NVIDIA GPU in at most eight minutes; without a GPU, the small form on the CPU.
#
#     benchmarks/gpu/run.sh [--small] [--parts digits sampling ...]
#     benchmarks/gpu/run.sh train --source parquet:TRAIN,TEST --autoencoder TAEF2 [--minutes 9]     # trains a generator
#     benchmarks/gpu/run.sh compare CONFIG --seconds 600 --methods random dit lgd --runs 3          # compares methods
#
# Writes into $OUT (default: benchmarks/gpu/out): gpu.json and gpu.md, or what train_generator.py lists. $PYTHON (default:
# python3) must have torch. Other packages may come from benchmarks/gpu/wheels, which collect_wheels.py fills on a machine
# with a network.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
script=measure.py needs=", ray"
if [ "${1:-}" = train ]; then script=train_generator.py needs=""; shift; fi
if [ "${1:-}" = compare ]; then script=compare.py needs=""; shift; fi
export PYTHONPATH="$root/src:$here:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
if compgen -G "$here/wheels/*.whl" >/dev/null && ! "$python" -c "import diffusers, loky, pydantic, tyro${needs}" 2>/dev/null; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$here"/wheels/*.whl
  export PYTHONPATH="$PYTHONPATH:$site"
fi
"$python" "$here/$script" --out "${OUT:-$here/out}" "$@"
