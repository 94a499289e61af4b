#!/bin/bash
# What a machine of this lab does from its first second to its last. Which run it is comes from its own tags, what to do from the run's
# spec.json; so this script is the same for every run. It ends by switching the machine off, which terminates the instance.
# It runs as root on Ubuntu, and without root under bash 3.2 with a folder that stands for /.
# shellcheck disable=SC2016,SC2329 # JSON keeps its dollar signs; functions are called from the trap
set -u
fallback_seconds=21600
systemd-run --unit=llmlab-fallback --on-active="${fallback_seconds}s" --timer-property=AccuracySec=1s systemctl poweroff ||
  shutdown -P "+$((fallback_seconds / 60))"

lab=llm-tuning-lab
region=us-east-1
data_bucket=llm-tuning-lab-data-123456789012-us-east-1
outputs_bucket=llm-tuning-lab-outputs-123456789012-us-east-1
registry=123456789012.dkr.ecr.us-east-1.amazonaws.com
cloudwatch='{"agent":{"run_as_user":"root","metrics_collection_interval":60},"logs":{"logs_collected":{"files":{"collect_list":[{"file_path":"@LOGS@/setup.log","log_group_name":"/llm-tuning-lab/setup","log_stream_name":"@STREAM@"},{"file_path":"@LOGS@/training.log","log_group_name":"/llm-tuning-lab/training","log_stream_name":"@STREAM@"},{"file_path":"@LOGS@/agent.log","log_group_name":"/llm-tuning-lab/agent","log_stream_name":"@STREAM@"}]}},"force_flush_interval":5},"metrics":{"namespace":"llm-tuning-lab","append_dimensions":{"InstanceId":"${aws:InstanceId}"},"metrics_collected":{"nvidia_gpu":{"measurement":["utilization_gpu","memory_used","temperature_gpu"]},"mem":{"measurement":["used_percent"]},"disk":{"measurement":["used_percent"],"resources":["/","/opt/dlami/nvme"]}}}}'
root=$(printenv LLMLAB_ROOT || true)
run_variable=LLMLAB_RUN attempt_variable=LLMLAB_ATTEMPT deadline_variable=LLMLAB_DEADLINE lab_variable=LLMLAB_LAB
data_variable=LLMLAB_DATA_BUCKET outputs_variable=LLMLAB_OUTPUTS_BUCKET work_variable=LLMLAB_WORK
run_tag=Run attempt_tag=Attempt deadline_tag=Deadline keep_tag=KeepUntilDeadline
setup_failed=setup_failed interrupted=spot_interrupted training_error=training_error cost_reached=cost_reached
setup_log=setup training_log=training agent_log=agent
runs=runs/ datasets=datasets/ models=models/ ended=ended/ # keys of S3
spec_key=spec.json attempt_key=attempts/@ATTEMPT@.json end_key=attempts/@ATTEMPT@.end.json success_key=SUCCESS failure_key=FAILURE
output_key=output/ checkpoints_key=checkpoints/ logs_key=logs/ complete=COMPLETE timestamp=%Y-%m-%dT%H:%M:%SZ instance_part=instance
contract=1 image_label=llmlab.contract
container=/work # the work folder inside the containers, and what lies in it
spec=/spec.json data=/data model=/model checkpoints=/run/checkpoints output=/run/output
log_folder=/logs control=/control ready=/control/ready training_exit=/control/training_exit marked=/control/marked

imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
export AWS_REGION="$region" AWS_DEFAULT_REGION="$region" AWS_PAGER="" HOME="${HOME:-/root}"
export PATH="$PATH:/usr/local/bin:/opt/aws/amazon-cloudwatch-agent/bin"

scratch="$root/run/llmlab" # in memory on a real machine: works on a full disk
logs="$root/var/log/llmlab"
export DOCKER_CONFIG="$scratch/docker" AWS_CONFIG_FILE="$scratch/aws-config"
run="" attempt="" keep="" reason=$setup_failed detail="" hint="" terminated="" phase="" phase_since=0 agents=0 trainer="" unsaved=""
mkdir -p "$scratch" "$logs"
exec 3>&1 >>"$logs/$setup_log.log" 2>&1
sed "/^ci-info/d; s/^/$(date -u +%FT%TZ) cloud-init: /" "$root/var/log/cloud-init-output.log" 2>&-

# ---------------------------------------------------------------- words

say() { # to the setup log and to the console
  local line
  line="$(date -u +%FT%TZ) $*"
  printf '%s\n' "$line"
  printf '%s\n' "$line" >&3
}

phase() { # phase NAME: close the last phase with its seconds, begin the next
  if [ -n "$phase" ]; then say "$phase: $((SECONDS - phase_since)) s"; fi
  phase=$1 phase_since=$SECONDS
}

fail() { # fail DETAIL [HINT]: the end of this run, as setup_failed unless `reason` says otherwise
  detail="$phase: $1" hint=${2:-}
  say "failed: $detail"
  exit 1
}

run_in() { # run_in NAME COMMAND...: its output goes to the log, and is kept for last_words
  local name=$1 code
  shift
  "$@" >"$scratch/$name.words" 2>&1
  code=$?
  cat "$scratch/$name.words"
  return "$code"
}

last_words() { # of a command that failed under run_in
  tail -n 3 "$scratch/$1.words" 2>/dev/null | tr '\n\t' '  ' | sed 's/  */ /g; s/^ //; s/[ .]*$//' | cut -c 1-400
}

# ---------------------------------------------------------------- the end, whatever comes

stopping() { # the machine is being taken down: nobody here may say how the run ended, the agent or the watchdog will
  [ -n "$terminated" ] || [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]
}

# One document a line, as llmlab/contract has them: the attempt's end, then the marker.
write_end='
import json, sys, time
run, attempt, reason, detail, hint, seconds, path, spec, instance, timestamp = sys.argv[1:11]
def read(path):
    try:
        return json.load(open(path))
    except (OSError, ValueError):
        return {}
known = read(path)
hours = int(seconds) / 3600
costs = {instance: hours * float(known.get("price") or 0)}
costs.update((one["what"], hours * one["hourly"]) for one in read(spec).get("charges", []))
cost = sum(costs.values())
ended = time.strftime(timestamp, time.gmtime())
print(json.dumps({"run": run, "number": int(attempt), "reason": reason, "ended": ended, "detail": detail, "hours": hours, "cost": cost,
                  "costs": costs}))
print(json.dumps({"run": run, "reason": reason, "ended": ended, "attempts": int(attempt), "detail": detail, "hint": hint,
                  "hours": hours + float(known.get("hours_before") or 0), "cost": cost + float(known.get("cost_before") or 0)}))
'

upload() { # upload KEY: standard input, which needs no disk
  aws s3 cp --only-show-errors - "s3://$outputs_bucket/$1"
}

sync_s3() { # not what a link of the training container's leads to
  aws s3 sync --only-show-errors --no-follow-symlinks "$@"
}

exists() { # exists KEY
  aws s3api head-object --bucket "$outputs_bucket" --key "$1" >/dev/null 2>&1
}

last_resort() { # the agent could not end this run: save what is there and write the marker from here
  local documents
  if [ -d "$work$checkpoints" ]; then
    sync_s3 "$work$output" "s3://$outputs_bucket/$prefix$output_key"
    sync_s3 --exclude "*/$complete" "$work$checkpoints" "s3://$outputs_bucket/$prefix$checkpoints_key" &&
      sync_s3 "$work$checkpoints" "s3://$outputs_bucket/$prefix$checkpoints_key"
  fi
  if exists "$prefix$success_key" || exists "$prefix$failure_key" || exists "$prefix$end_key"; then return; fi
  case $hint$reason in
    "$setup_failed") hint="llmlab logs $run --stream $setup_log" ;;
    "$reason") hint="llmlab logs $run --stream $training_log" ;;
  esac
  documents=$(python3 -c "$write_end" "$run" "$attempt" "$reason" "${detail:-the setup script ended in phase $phase}" "$hint" \
    "$SECONDS" "$scratch/attempt.json" "$scratch/spec.json" "$instance_part" "$timestamp")
  printf '%s\n' "$documents" | sed -n 1p | upload "$prefix$end_key"
  printf '%s\n' "$documents" | sed -n 2p | upload "$prefix$failure_key"
  aws s3api put-object --bucket "$outputs_bucket" --key "$ended$run/$reason" >/dev/null
}

finish() { # runs on every exit
  trap - EXIT
  trap '' TERM
  rm -f "$work/reserve"
  if stopping; then
    say "the machine is being shut down"
    exit 0
  fi
  phase ""
  if [ -n "$trainer" ] && [ ! -e "$scratch/training.exit" ]; then docker stop "$trainer"; fi
  if [ -n "$run" ] && [ ! -e "$work$marked" ]; then
    if [ "$agents" -gt 0 ]; then docker stop "llmlab-agent-$agents"; fi
    last_resort
    unsaved="$training_log $agent_log"
  fi
  say "the end, after $SECONDS s"
  if [ -n "$run" ]; then
    for log in "$setup_log" $unsaved; do upload "$prefix$logs_key$attempt/$log.log" <"$logs/$log.log"; done
  fi
  amazon-cloudwatch-agent-ctl -a stop
  reason=$(cat "$work$marked" 2>/dev/null)
  # not when its money is used up, nor when another attempt follows
  if [ -n "$keep" ] && [ "$reason" != "$cost_reached" ] && { exists "$prefix$success_key" || exists "$prefix$failure_key"; }; then
    say "kept until its deadline, as asked"
    exit 0
  fi
  if [ "$reason" = "$interrupted" ] && [ "$SECONDS" -lt 3600 ]; then
    say "waiting for AWS to take this machine back, which makes its first hour free"
    sleep 180
  fi
  systemctl poweroff || poweroff || shutdown -P now
}
work="$root/var/lib/llmlab"
trap 'terminated=yes; exit 0' TERM
trap finish EXIT

# ---------------------------------------------------------------- who am I

phase "identity"
metadata() { # metadata PATH: empty and false when there is none
  local token
  token=$(curl -sf --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "${imds%/}/latest/api/token") &&
    curl -sf --noproxy '*' --max-time 5 -H "X-aws-ec2-metadata-token: $token" "${imds%/}/latest/meta-data/$1"
}
for _ in 1 2 3 4 5 6 7 8 9 10; do
  run=$(metadata "tags/instance/$run_tag") && break
  sleep 2
done
attempt=$(metadata "tags/instance/$attempt_tag")
deadline=$(metadata "tags/instance/$deadline_tag")
keep=$(metadata "tags/instance/$keep_tag")
case $run$attempt$deadline in
  '' | *[!0-9a-z-]*) run="" && fail "this instance has no run, attempt and deadline among its tags" ;;
esac
prefix="$runs$run/"
end_key=${end_key//@ATTEMPT@/$attempt} attempt_key=${attempt_key//@ATTEMPT@/$attempt}
say "run $run, attempt $attempt"

phase "deadline"
left=$((deadline - $(date +%s)))
if [ "$left" -lt 1 ]; then left=1; fi
if systemd-run --unit=llmlab-deadline --on-active="${left}s" --timer-property=AccuracySec=1s systemctl poweroff; then
  systemctl stop llmlab-fallback.timer
fi
say "switches off in $left s at the latest"

phase "logs"
cloudwatch=${cloudwatch//@STREAM@/$run/$attempt}
printf '%s\n' "${cloudwatch//@LOGS@/$logs}" >"$scratch/cloudwatch.json"
touch "$logs/$training_log.log" "$logs/$agent_log.log"
run_in cloudwatch amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$scratch/cloudwatch.json" ||
  say "no logs in CloudWatch: $(last_words cloudwatch)"
systemctl stop apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service >/dev/null 2>&1 # a driver update would break CUDA

# ---------------------------------------------------------------- folders, image, data

phase "spec"
printf '[default]\nregion = %s\ns3 =\n  max_concurrent_requests = 32\n' "$region" >"$AWS_CONFIG_FILE"
for try in 1 2 3; do
  run_in spec aws s3 cp --only-show-errors "s3://$outputs_bucket/$prefix$spec_key" "$scratch/spec.json" && break
  if [ "$try" = 3 ]; then fail "the run's spec cannot be read: $(last_words spec)"; fi
  sleep 3
done
aws s3 cp --only-show-errors "s3://$outputs_bucket/$prefix$attempt_key" "$scratch/attempt.json"
read_spec='
import json, sys
spec = json.load(open(sys.argv[1]))
data, model = spec["data"], spec.get("model") or {"name": "", "files": []}
print(spec["image"])
print(data["name"])
print(model["name"])
print(sum(file["size"] for file in data["files"] + model["files"]) // 1024 + 2 * 1024 * 1024)
'
{
  read -r image
  read -r dataset
  read -r base_model
  read -r needed_kib
} <<EOF
$(python3 -c "$read_spec" "$scratch/spec.json")
EOF
if [ -z "${needed_kib:-}" ]; then fail "the run's spec is not one"; fi

phase "folders"
nvme="$root/opt/dlami/nvme"
if mountpoint -q "$nvme" 2>/dev/null; then work="$nvme/llmlab"; fi
if ! run_in folders mkdir -p "$work$data" "$work$model" "$work$checkpoints" \
  "$work$output" "$work$control"; then
  fail "$(last_words folders)"
fi
free_kib=$(df -Pk "$work" | awk 'NR == 2 { print $4 }')
if [ "${free_kib:-0}" -lt "$needed_kib" ]; then
  fail "no space: $((free_kib / 1024 / 1024)) GiB free in $work, $((needed_kib / 1024 / 1024)) GiB needed"
fi
cp "$scratch/spec.json" "$work$spec"
dd if=/dev/zero of="$work/reserve" bs=1048576 count=16 2>/dev/null # given back at the end, so that a full disk can still be reported

phase "image and data"
check_engine() { # it has started, and knows --gpus
  local api try
  for try in 1 2 3 4 5 6; do
    if run_in engine docker version -f '{{.Server.APIVersion}}'; then
      api=$(last_words engine)
      if [ "${api%%.*}" -gt 1 ] || [ "${api#*.}" -ge 40 ]; then return; fi
      fail "the Docker engine is too old: it speaks API $api, and 1.40 (Docker 19.03) is needed"
    fi
    command -v docker >/dev/null || break
    if [ "$try" -lt 6 ]; then sleep 5; fi
  done
  fail "no Docker engine answers: $(last_words engine)"
}
pull() {
  local try begun=$SECONDS
  for try in 1 2 3; do
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" 2>&1 |
      grep -Ev '^WARNING! Your password|^Configure a credential helper|^https://docs|^$' # it is kept in memory, for twelve hours
    if run_in pull docker pull --quiet "$image"; then
      say "image: $((SECONDS - begun)) s"
      return 0
    fi
    case $(last_words pull) in *'not found'* | *'manifest unknown'* | *'no space'* | *'no matching manifest'*) return 1 ;; esac
    if [ "$try" -lt 3 ]; then sleep "$((try * 5))"; fi
  done
  return 1
}
push="llmlab image push"
check_image() { # made for this machine, and by a llmlab that means the same by the same names
  local made here version
  read -r made version <<EOF
$(docker image inspect -f "{{.Architecture}} {{index .Config.Labels \"$image_label\"}}" "$image")
EOF
  here=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
  if [ "$made" != "$here" ]; then fail "the image $image is for $made and this machine is $here" "$push"; fi
  if [ -z "$version" ]; then fail "the image $image is no training image of llmlab" "$push"; fi
  if [ "$version" != "$contract" ]; then
    fail "the image $image has version $version of the names that programs share, and the lab has $contract" "$push"
  fi
}
download() { # download NAME FROM TO: what S3 has now; the agent compares it with the manifest
  local begun=$SECONDS
  run_in "$1" sync_s3 "$2" "$3" || return 1
  say "$1: $((SECONDS - begun)) s"
}
check_engine
pull &
pulling=$!
download data "s3://$data_bucket/$datasets$dataset/" "$work$data" || fail "the data cannot be downloaded: $(last_words data)"
if [ -n "$base_model" ]; then
  download model "s3://$data_bucket/$models$base_model/" "$work$model" || fail "the model cannot be downloaded: $(last_words model)"
fi
if ! wait "$pulling"; then
  case $(last_words pull) in *'not found'* | *'manifest unknown'* | *'no matching manifest'*) ;; *) push="" ;; esac
  fail "the image $image cannot be pulled: $(last_words pull)" "$push"
fi
check_image

# ---------------------------------------------------------------- the agent

gpus=()
if command -v nvidia-smi >/dev/null; then gpus=(--gpus all); fi
containers=(-e "$run_variable=$run" -e "$attempt_variable=$attempt" -e "$deadline_variable=$deadline" -e "$lab_variable=$lab"
  -e "$work_variable=$container" -v "$work:$container")

start_agent() {
  agents=$((agents + 1))
  run_in agent docker run -d --name "llmlab-agent-$agents" --network host "${containers[@]}" -v "$logs:$container$log_folder" \
    -e "$data_variable=$data_bucket" -e "$outputs_variable=$outputs_bucket" \
    -e AWS_REGION -e AWS_ENDPOINT_URL -e AWS_EC2_METADATA_SERVICE_ENDPOINT ${gpus[@]+"${gpus[@]}"} "$image" python -m llmlab.agent || return 1
  docker logs -f "llmlab-agent-$agents" >>"$logs/$agent_log.log" 2>&1 &
  (
    code=$(docker wait "llmlab-agent-$agents") || code=${code:-lost}
    printf '%s\n' "$code" >"$scratch/agent-$agents.exit"
  ) &
}

await() { # await SECONDS WHAT FILE...: until one of the files is there; starts a dead agent again, three times
  local until=$((SECONDS + $1)) what=$2 file
  shift 2
  while true; do
    for file in "$@"; do if [ -e "$file" ]; then return; fi; done
    if [ -e "$scratch/agent-$agents.exit" ]; then
      say "the agent ended with $(cat "$scratch/agent-$agents.exit")"
      if [ "$agents" -ge 4 ] || ! start_agent; then
        fail "the agent does not stay up: $(tail -n 1 "$logs/$agent_log.log" | cut -c 1-300)"
      fi
    fi
    if [ "$SECONDS" -ge "$until" ]; then fail "waited $1 s for $what"; fi
    sleep 1
  done
}

phase "agent"
chmod -R a+rwX "$work" "$logs/$training_log.log" # the user of the containers is not root, made none of these, and the agent writes to that log
start_agent || fail "the agent's container does not start: $(last_words agent)"
await 7200 "the agent to check data, model and checkpoint" "$work$ready" "$work$marked"
if [ -e "$work$marked" ]; then exit 1; fi # it has said why

# ---------------------------------------------------------------- training: no network of the host, so no credentials

phase "training container"
run_in training docker run -d --name llmlab-training --network bridge --cap-drop ALL --security-opt no-new-privileges "${containers[@]}" \
  -v "$work$data:$container$data:ro" -v "$work$model:$container$model:ro" \
  -v "$work$spec:$container$spec:ro" --shm-size 16g ${gpus[@]+"${gpus[@]}"} "$image" python -m llmlab.trainer ||
  fail "the training container does not start: $(last_words training)"
docker logs -f llmlab-training >>"$logs/$training_log.log" 2>&1 &
tmux new-session -d -s llmlab "tail -n 1000 -F $logs/$training_log.log"

phase "training"
trainer=llmlab-training
reason=$training_error
(
  code=$(docker wait llmlab-training) || code=${code:-137}
  printf '%s\n' "$code" >"$scratch/training.exit"
) &
await 100000000 "training" "$scratch/training.exit" "$work$marked"
rm -f "$work/reserve"

phase "upload"
if [ -e "$scratch/training.exit" ]; then
  if stopping; then exit 0; fi
  killed_for_memory=$(docker inspect -f '{{.State.OOMKilled}}' llmlab-training)
  exit_file="$work$training_exit"
  printf '%s %s\n' "$(cat "$scratch/training.exit")" "${killed_for_memory:-false}" >"$exit_file.part" && mv "$exit_file.part" "$exit_file"
fi
await 7200 "the agent to upload" "$work$marked"
exit 0
