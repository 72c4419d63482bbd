#!/usr/bin/env bash
# The comparison on ImageNette on one GPU within SECONDS: settings on validation images first, then the methods with them.
#
#     benchmarks/gpu/imagenette.sh DIRECTORY SECONDS [FIELD=VALUE ...]
#
# benchmarks/gpu/images holds train.parquet and test.parquet (pack_images.py). What is made stays in DIRECTORY, so that the
# same command goes on where it stopped. FIELD=VALUE: other values of the comparison. At most $PROCESSES (default: 15) work
# at once. ResNet-18 has a quarter of its channels (networks.py): the whole one takes most of a GPU's time.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: imagenette.sh DIRECTORY SECONDS [FIELD=VALUE ...]" >&2; exit 2; }
directory=$1 seconds=$2; shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
toml=$here/../imagenette.toml python=${PYTHON:-python3} processes=${PROCESSES:-15}
common=(dataset.source="parquet:$here/images/train.parquet,$here/images/test.parquet"
  generator.source="$here/../generators/imagenette"
  "evaluation.architectures=['convnet','networks:resnet18_quarter']" "$@")
real=random,herding,lgd-real-easiest,k-center,lgd-real
sampled=dit,lgd-anchored-easiest,lgd,lgd-anchored,mgd3,igd,lgd-selection-only,lgd-omega0,lgd-kappa1,lgd-no-deviation,hybrid
mkdir -p "$directory"
export OMP_NUM_THREADS=1
left() { echo $((seconds > SECONDS ? seconds - SECONDS : 0)); }
compare() { # DIRECTORY SECONDS PROCESSES ARGUMENT ...
  OUT=$1 "$here/run.sh" compare "$toml" --seconds "$2" --processes "$3" "${@:4}"
}

# NVIDIA's multi-process service lets the kernels of several processes overlap.
control=$(PATH=$PATH:/usr/local/nvidia/bin command -v nvidia-cuda-mps-control || true)
if [ -n "$control" ]; then
  CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d)
  export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
  "$control" -d
  trap 'echo quit | "$control"' EXIT
fi

if [ ! -e "$directory/validation/chosen.txt" ]; then
  variants=()
  for strength in 0.033 0.066 0.1; do
    variants+=(--variant guidance.strength=$strength lgd,lgd-anchored,lgd-anchored-easiest guidance.strength=$strength)
  done
  for strength in 0.05 0.1 0.2; do variants+=(--variant modes.strength=$strength mgd3 modes.strength=$strength); done
  for strength in 0.015 0.03; do variants+=(--variant influence.strength=$strength igd influence.strength=$strength); done
  part=$(($(left) * 45 / 100))
  compare "$directory/test" $part $((processes * 2 / 5)) --runs 3 --set "${common[@]}" --variant real $real \
    >"$directory/real.log" 2>&1 &
  compare "$directory/validation" $part $((processes * 3 / 5)) --runs 1 "${variants[@]}" \
    --set "${common[@]}" dataset.eval_split=validation evaluation.redundancy_seeds=0 | tee "$directory/validation.log" || true
  "$python" "$here/choose.py" "$directory/validation"
  wait
fi
read -ra chosen <"$directory/validation/chosen.txt"
compare "$directory/test" "$(left)" "$processes" --runs 3 --set "${common[@]}" \
  --variant chosen $sampled "${chosen[@]}" --variant real $real | tee "$directory/test.log"
