#!/usr/bin/env bash
# One run on a machine with a GPU: installs the wheels, checks the CUDA path, measures it, and leaves
# JSON files and a log in $OUT, whatever fails. Run from the repository's root:
#   bash bench/kit/kit.sh .whl
# Each step has a limit of its own; together they end within DEADLINE seconds of the start. Without a
# GPU the same runs in tiny sizes on the CPU, to see that it runs.
set -uo pipefail
WHEELS=${1:-.whl}
OUT=${OUT:-kit-out}
DEADLINE=${DEADLINE:-510}
PYTHON=${PYTHON:-python3}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$OUT"
rm -f "$OUT/steps.jsonl" "$OUT/log.txt"
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=true HF_HUB_OFFLINE=1 XDG_CACHE_HOME=$WORK/cache

left() { echo $((DEADLINE - SECONDS)); }

# step NAME SECONDS COMMAND...: notes the exit code and the time, and never ends the script.
step() {
  local name=$1 limit=$2 begin=$SECONDS code
  shift 2
  [ "$limit" -le "$(left)" ] || limit=$(left)
  if [ "$limit" -lt 10 ]; then
    echo "{\"step\": \"$name\", \"skipped\": true}" | tee -a "$OUT/steps.jsonl"
    return
  fi
  # SIGINT first, at which Python cleans up and writes what it has.
  timeout --signal INT --kill-after 15 "$limit" "$@" >"$WORK/$name.log" 2>&1
  code=$?
  { echo "=== $name"; tail -c 40000 "$WORK/$name.log"; } >>"$OUT/log.txt"
  [ "$code" -eq 0 ] || tail -n 6 "$WORK/$name.log"
  echo "{\"step\": \"$name\", \"code\": $code, \"seconds\": $((SECONDS - begin))}" |
    tee -a "$OUT/steps.jsonl"
}

# 1. The wheels, beside what the machine has. Of ours the metadata are wanted; the code is the tree's.
step install 60 "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
  --target "$WORK/site" "$WHEELS"/*.whl
export PYTHONPATH=$PWD
for room in core db producer worker app bench; do PYTHONPATH+=:$PWD/$room; done
PYTHONPATH+=:$WORK/site

# 2. What is there; fails where something is missing.
step facts 90 "$PYTHON" bench/kit/facts.py "$OUT/facts.json"

sizes=(--images 1024 --repeats 2)
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null ||
  sizes=(--device cpu --smoke --token-budget 4096)
gpu() { step "$1" "$2" "$PYTHON" -m labelmill.bench.gpu "${sizes[@]}" --json "$OUT/$1.json" "${@:3}"; }

# 3. The small proofs.
gpu probes 150 --parts layout parity long-text waits passes

# 4. The project's own tests. The packages are not the pinned ones: no warning is an error, and of
# what plugins the machine has none is loaded.
step tests 120 env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 "$PYTHON" -m pytest -m gpu \
  tests/integration/engines --quiet --no-header -o filterwarnings=default -p pytest_timeout \
  -p no:cacheprovider --junitxml "$OUT/tests.xml"

# 5. The benchmark, in what is left: repeats are left out before parts are.
rest=$(($(left) - 20))
gpu benchmark "$rest" --seconds $((rest > 40 ? rest - 40 : 1)) \
  --parts distilbert bert-base bert-128 worker vit memory compile

nvidia-smi --query-gpu=name,driver_version,memory.used,utilization.gpu,clocks.sm,power.draw \
  --format=csv >>"$OUT/log.txt" 2>&1
exit 0
