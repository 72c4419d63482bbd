#!/usr/bin/env bash
# The comparison on ImageNette on one GPU, within SECONDS: a generator, settings on validation images, then all methods.
#
#     benchmarks/gpu/imagenette.sh KEPT SECONDS [FIELD=VALUE ...]
#
# benchmarks/gpu/images holds train.parquet and test.parquet (pack_images.py) and taef2, an autoencoder. What is made stays
# in the directory KEPT, so that the same command goes on where it stopped. FIELD=VALUE: other values of the comparison.
# MINUTES (default: 2.6) is how long the generator is trained, with $TRAIN as more arguments. Two comparisons at a time share $PROCESSES (default: 15).
set -uo pipefail
kept=$1 seconds=$2; shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
toml=$here/../imagenette.toml python=${PYTHON:-python3} processes=${PROCESSES:-15}
generator=$kept/generator/generator
source=parquet:$here/images/train.parquet,$here/images/test.parquet
real=random,herding,lgd-real-easiest,k-center,lgd-real
sampled=dit,lgd,lgd-anchored,lgd-anchored-easiest,mgd3,igd,lgd-selection-only,lgd-omega0,lgd-kappa1,lgd-no-deviation,hybrid
common=(dataset.source="$source" generator.source="$generator" "$@")
mkdir -p "$kept"
left() { echo $((seconds - SECONDS > 0 ? seconds - SECONDS : 0)); }
compare() { # DIRECTORY SECONDS PROCESSES ARGUMENT ...
  OUT=$1 "$here/run.sh" compare "$toml" --seconds "$2" --processes "$3" "${@:4}"
}

# NVIDIA's multi-process service lets the kernels of several processes overlap.
export CUDA_MPS_PIPE_DIRECTORY=/tmp/lgd-mps CUDA_MPS_LOG_DIRECTORY=/tmp/lgd-mps
if [ -z "${NO_MPS:-}" ] && control=$(PATH=$PATH:/usr/local/nvidia/bin command -v nvidia-cuda-mps-control); then
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY"
  pgrep -f nvidia-cuda-mps-control >/dev/null || "$control" -d
  timeout 40 "$python" -c "import torch; print(torch.ones(9, device='cuda').sum().item(), torch.cuda.get_device_name())" ||
    { echo quit | "$control"; NO_MPS=1; }
else
  NO_MPS=1
fi
[ -z "${NO_MPS:-}" ] && echo "multi-process service: on" || { echo "multi-process service: off"; unset CUDA_MPS_PIPE_DIRECTORY; }

if [ ! -e "$generator/classes.json" ]; then
  (OUT=$kept/generator OMP_NUM_THREADS=4 "$here/run.sh" train --source "$source" --autoencoder "$here/images/taef2" \
    --image-size 128 --size custom --blocks 12 --heads 6 --head-width 48 --minutes "${MINUTES:-2.6}" \
    --keep 0.02 0.05 0.1 0.25 0.5 ${TRAIN:-} >"$kept/train.log" 2>&1 || { tail -5 "$kept/train.log"; kill $$; }) &
fi
export OMP_NUM_THREADS=1

if [ ! -e "$kept/validation/chosen.txt" ]; then
  variants=()
  for strength in 0.033 0.066 0.1; do
    variants+=(--variant guidance.strength=$strength lgd,lgd-anchored,lgd-anchored-easiest guidance.strength=$strength)
  done
  for strength in 0.05 0.1 0.2; do variants+=(--variant modes.strength=$strength mgd3 modes.strength=$strength); done
  for strength in 0.015 0.03; do variants+=(--variant influence.strength=$strength igd influence.strength=$strength); done
  for anchor in same none; do variants+=(--variant stages.seed_anchor=$anchor lgd-anchored stages.seed_anchor=$anchor); done
  compare "$kept/validation" $(($(left) * 45 / 100)) $((processes * 3 / 5)) --runs 2 "${variants[@]}" \
    --set "${common[@]}" dataset.eval_split=validation "evaluation.architectures=['convnet','networks:resnet18_quarter']" \
    evaluation.redundancy_seeds=0 >"$kept/validation.log" 2>&1 &
  choosing=$!
  compare "$kept/test" $(($(left) * 45 / 100)) $((processes * 2 / 5)) --runs 3 --set "${common[@]}" \
    --variant real $real >"$kept/real.log" 2>&1 &
  wait $choosing $!
  "$python" "$here/choose.py" "$kept/validation" | tee "$kept/chosen.md"
fi
echo "chosen after $SECONDS s: $(cat "$kept/validation/chosen.txt")"
read -ra chosen <"$kept/validation/chosen.txt"

quality() {
  for folder in "$kept"/generator/{at-*,generator}; do
    [ -s "$kept/quality-$(basename "$folder").md" ] || PYTHONPATH="$here/../../src:$here/..:${PYTHONPATH:-}" "$python" \
      "$here/../generator_quality.py" "$kept/test" --generator "$folder" --scales 2 >"$kept/quality-$(basename "$folder").md"
  done
}
quality >"$kept/quality.log" 2>&1 &
compare "$kept/test" "$(left)" "$processes" --runs 3 --set "${common[@]}" \
  --variant chosen $sampled "${chosen[@]}" \
  --variant early dit,lgd "${chosen[@]}" generator.source="$kept/generator/at-0.1" \
  --variant real $real 2>&1 | tee "$kept/test.log"
