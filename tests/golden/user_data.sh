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
setup_failed=setup_failed interrupted=spot_interrupted training_error=training_error cost_reached=cost_reached lost=instance_lost
setup_log=setup training_log=training agent_log=agent
runs=runs/ datasets=datasets/ models=models/ # keys of S3
spec_key=spec.json attempt_key=attempts/@ATTEMPT@.json end_key=attempts/@ATTEMPT@.end.json success_key=SUCCESS failure_key=FAILURE
output_key=output/ checkpoints_key=checkpoints/ logs_key=logs/ complete=COMPLETE timestamp=%Y-%m-%dT%H:%M:%SZ instance_part=instance
contract=1 image_label=llmlab.contract
container=/work # the work folder inside the containers, and what lies in it
spec=/spec.json data=/data model=/model checkpoints=/run/checkpoints output=/run/output
results=/run cache=/cache log_folder=/logs control=/control host=/host alive=/host/alive ready=/host/ready training_exit=/host/training_exit marked=/host/marked
head_bytes=50000000 block_bytes=15000000 kept_bytes=20000000 # of each log
user=10001:10001 # of the containers

imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
export AWS_REGION="$region" AWS_DEFAULT_REGION="$region" AWS_PAGER="" HOME="${HOME:-/root}"
export PATH="$PATH:/usr/local/bin:/opt/aws/amazon-cloudwatch-agent/bin"

scratch="$root/run/llmlab" # in memory on a real machine: works on a full disk
logs="$root/var/log/llmlab"
export DOCKER_CONFIG="$scratch/docker" AWS_CONFIG_FILE="$scratch/aws-config"
run="" attempt="" keep="" reason=$setup_failed detail="" hint="" terminated="" phase="" phase_since=0 agents=0 trainer="" unsaved="" watched="" beat=0
mkdir -p "$scratch" "$logs"
exec 3>&1 >>"$logs/$setup_log.log" 2>&1
sed "/^ci-info/d; s/^/$(date -u +%FT%TZ) cloud-init: /" "$root/var/log/cloud-init-output.log" 2>&-

limited() {
  if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}
(
  limited 600 systemctl mask --now apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service unattended-upgrades.service
  if command -v snap >/dev/null; then limited 60 snap refresh --hold; fi
) &
quiet=$!


say() {
  local line
  line="$(date -u +%FT%TZ) $*"
  printf '%s\n' "$line"
  printf '%s\n' "$line" >&3
}

phase() {
  if [ -n "$phase" ]; then say "$phase: $((SECONDS - phase_since)) s"; fi
  phase=$1 phase_since=$SECONDS
}

fail() {
  detail="$phase: $1" hint=${2:-}
  say "failed: $detail"
  exit 1
}

run_in() {
  local name=$1 code
  shift
  "$@" >"$scratch/$name.words" 2>&1
  code=$?
  cat "$scratch/$name.words"
  return "$code"
}

keep_log='
import os, sys
path, room, block = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
out, number, rest = open(path, "ab", 0), -1, 0
room -= out.tell()
while data := os.read(0, 65536):
    try:
        while data:
            part, data = data[:max(room, 0)], data[max(room, 0):]
            out.write(part)
            room -= len(part)
            rest += len(part) if number >= 0 else 0
            if data:
                number, room = number + 1, block
                out = open(f"{path}.{number:06d}", "wb", 0)
                if number > 1:
                    os.remove(f"{path}.{number - 2:06d}")
    except OSError:
        pass # a full disk
if number >= 0:
    open(path, "ab").write(b"\n... %d bytes more, of which the last are kept in S3\n" % rest)
'
follow() {
  docker logs -f "$1" 2>&1 | python3 -c "$keep_log" "$logs/$2.log" "$head_bytes" "$block_bytes" &
}

kept() {
  local log="$logs/$1.log" half=$((kept_bytes / 2)) size
  size=$(cat "$log" "$log".[0-9]* 2>/dev/null | wc -c)
  if [ "$size" -le "$kept_bytes" ]; then
    cat "$log" "$log".[0-9]* 2>/dev/null
  else
    head -c "$half" "$log"
    printf '\n... %s bytes or more are left out here ...\n' "$((size - kept_bytes))"
    cat "$log" "$log".[0-9]* 2>/dev/null | tail -c "$half"
  fi
}

last_words() {
  tail -n 3 "$scratch/$1.words" 2>/dev/null | tr '\n\t' '  ' | sed 's/  */ /g; s/^ //; s/[ .]*$//' | cut -c 1-400
}


stopping() {
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

upload() {
  aws s3 cp --only-show-errors - "s3://$outputs_bucket/$1"
}

sync_s3() {
  aws s3 sync --only-show-errors --no-follow-symlinks "$@"
}

exists() {
  aws s3api head-object --bucket "$outputs_bucket" --key "$1" >/dev/null 2>&1
}

last_resort() {
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
  if [ "$reason" = "$lost" ]; then return; fi # another machine may do better
  printf '%s\n' "$documents" | sed -n 2p | upload "$prefix$failure_key"
}

finish() {
  trap - EXIT
  trap '' TERM
  rm -f "$work/reserve"
  if stopping; then
    say "the machine is being shut down"
    exit 0
  fi
  phase ""
  if [ -n "$trainer" ] && [ ! -e "$scratch/training.exit" ]; then docker stop "$trainer"; fi
  if [ -n "$run" ] && [ ! -e "$scratch$marked" ]; then
    if [ "$agents" -gt 0 ]; then docker stop "llmlab-agent-$agents"; fi
    last_resort
    unsaved="$training_log $agent_log"
  fi
  say "the end, after $SECONDS s"
  if [ -n "$run" ]; then
    for log in "$setup_log" $unsaved; do kept "$log" | upload "$prefix$logs_key$attempt/$log.log"; done
  fi
  amazon-cloudwatch-agent-ctl -a stop
  reason=$(cat "$scratch$marked" 2>/dev/null)
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


phase "identity"
metadata() {
  local token
  token=$(curl -sf --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "${imds%/}/latest/api/token") &&
    curl -sf --noproxy '*' --max-time 5 -H "X-aws-ec2-metadata-token: $token" "${imds%/}/latest/meta-data/$1"
}
tag() {
  local value
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    if value=$(metadata "tags/instance/$1") && [ -n "$value" ]; then
      printf '%s\n' "$value"
      return
    fi
    sleep 2
  done
  return 1
}
run=$(tag "$run_tag") && attempt=$(tag "$attempt_tag") && deadline=$(tag "$deadline_tag") &&
  case " $(tag "" | tr '\n' ' ')" in *" $keep_tag "*) keep=$(tag "$keep_tag") ;; esac
if [[ ! $run/$attempt/$deadline =~ ^[0-9a-z-]+/[0-9]+/[0-9]+$ ]]; then
  run="" && fail "this instance has no run, attempt and deadline among its tags"
fi
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

nvme="$root/opt/dlami/nvme"
own_disks() {
  local name
  for name in "$root"/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*; do
    case $name in *-part*) continue ;; esac
    if [ -e "$name" ]; then readlink -f "$name"; fi
  done | sort -u
}
mount_disks() {
  local device try
  for try in {1..30}; do
    if mountpoint -q "$nvme"; then
      say "the machine's own disks ($#) are mounted at $nvme, waited $(((try - 1) * 2)) s for"
      return
    fi
    systemctl cat dlami-nvme.service >/dev/null 2>&1 || break
    sleep 2
  done
  for device in "$@"; do
    if [ "$(lsblk -nrpo NAME,FSTYPE,MOUNTPOINT "$device" | tr -d ' ')" != "$device" ]; then
      say "$device holds something, is not at $nvme, and stays as it is"
      return 1
    fi
  done
  if ! run_in disks make_volume "$@"; then
    say "the machine's own disks ($#) do not become a volume: $(last_words disks)"
    return 1
  fi
  say "the machine's own disks ($#) were made a volume at $nvme"
}
make_volume() {
  local volume=$1
  if [ $# -gt 1 ]; then
    volume=/dev/llmlab/own
    if ! vgcreate llmlab "$@" || ! lvcreate -y -i $# -l 100%FREE -n own llmlab; then return 1; fi
  fi
  mkfs.ext4 -q -m 0 -E nodiscard "$volume" && mkdir -p "$nvme" && mount -o noatime "$volume" "$nvme"
}
move_engine() {
  local place
  if [ -n "$(limited 60 docker image ls --quiet 2>/dev/null)" ]; then
    say "the AMI's engine has images, so it stays where it is"
    return
  fi
  systemctl stop docker.socket docker.service containerd.service
  for place in docker containerd; do
    mkdir -p "$nvme/$place" "$root/var/lib/$place"
    if ! run_in disks mount --bind "$nvme/$place" "$root/var/lib/$place"; then
      say "$root/var/lib/$place stays on the root disk: $(last_words disks)"
    fi
  done
  systemctl start docker.service
}
free_kib() {
  df -Pk "$1" | awk 'NR == 2 { print $4 }'
}


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
print(spec.get("agent_image") or "")
print(data["name"])
print(model["name"])
print("bridge" if spec.get("training_network") is True else "none")
print((sum(file["size"] for file in data["files"] + model["files"]) + int(spec.get("hub_bytes") or 0)) // 1024 + 2 * 1024 * 1024)
'
{
  read -r image
  read -r agent_image
  read -r dataset
  read -r base_model
  read -r network
  read -r needed_kib
} <<EOF
$(python3 -c "$read_spec" "$scratch/spec.json")
EOF
if [ -z "${needed_kib:-}" ]; then fail "the run's spec is not one"; fi

phase "folders"
own=()
while read -r device; do own+=("$device"); done < <(own_disks)
if [ -z "${own[0]:-}" ]; then
  say "the machine has no disks of its own: work and images lie on its root disk"
elif ! mount_disks "${own[@]}"; then
  say "the machine's own disks cannot be used: work and images lie on its root disk"
elif [ "$(free_kib "$nvme")" -lt "$needed_kib" ] && [ "$(free_kib "$root/var/lib")" -gt "$(free_kib "$nvme")" ]; then
  say "the machine's own disks are too small: work and images lie on its root disk"
else
  work="$nvme/llmlab"
  move_engine
fi
if ! run_in folders mkdir -p "$work$data" "$work$model" "$work$checkpoints" \
  "$work$output" "$work$control" "$work$cache" "$scratch$host"; then
  fail "$(last_words folders)"
fi
free=$(free_kib "$work")
say "work folder: $work, $((free / 1024 / 1024)) GiB free"
if [ "$free" -lt "$needed_kib" ]; then
  fail "no space: $((free / 1024 / 1024)) GiB free in $work, $((needed_kib / 1024 / 1024)) GiB needed"
fi
cp "$scratch/spec.json" "$work$spec"
dd if=/dev/zero of="$work/reserve" bs=1048576 count=16 2>/dev/null # given back at the end, so that a full disk can still be reported

phase "image and data"
check_engine() {
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
pull_seconds=1200
pull() {
  local try begun=$SECONDS
  for try in 1 2 3; do
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" 2>&1 |
      grep -Ev '^WARNING! Your password|^Configure a credential helper|^https://docs|^$' # it is kept in memory, for twelve hours
    if run_in "pull-$2" limited "$((pull_seconds - SECONDS + begun))" docker pull --quiet "$1"; then
      say "$2: $((SECONDS - begun)) s"
      return 0
    fi
    if [ "$((SECONDS - begun))" -ge "$pull_seconds" ]; then return 2; fi
    case $(last_words "pull-$2") in *'not found'* | *'manifest unknown'* | *'no space'* | *'no matching manifest'*) return 1 ;; esac
    if [ "$try" -lt 3 ]; then sleep "$((try * 5))"; fi
  done
  return 1
}
push="llmlab image push"
pulled() {
  local made here version image=$2
  if [ "$1" = 2 ]; then
    reason=$lost
    fail "the image $image was not here after $pull_seconds s"
  fi
  if [ "$1" != 0 ]; then
    case $(last_words "pull-$3") in *'not found'* | *'manifest unknown'* | *'no matching manifest'*) ;; *) push="" ;; esac
    fail "the image $image cannot be pulled: $(last_words "pull-$3")" "$push"
  fi
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
download() {
  local begun=$SECONDS
  run_in "$1" sync_s3 "$2" "$3" || return 1
  say "$1: $((SECONDS - begun)) s"
}
check_engine
if [ -n "$agent_image" ]; then
  pull "$agent_image" agent-image
  pulled $? "$agent_image" agent-image
fi
(
  pull "$image" image
  printf '%s\n' $? >"$scratch/pull.part"
  mv "$scratch/pull.part" "$scratch/pull.exit" # who waits for it reads it at once
) &
pulling=$!
if [ -z "$agent_image" ]; then
  download data "s3://$data_bucket/$datasets$dataset/" "$work$data" || fail "the data cannot be downloaded: $(last_words data)"
  if [ -n "$base_model" ]; then
    download model "s3://$data_bucket/$models$base_model/" "$work$model" || fail "the model cannot be downloaded: $(last_words model)"
  fi
  wait "$pulling"
  pulled "$(cat "$scratch/pull.exit")" "$image" image
fi


wait "$quiet"
gpus=()
if command -v nvidia-smi >/dev/null; then
  gpus=(--gpus all)
  limited 60 nvidia-modprobe -u -c0 # the device files that CUDA needs, and that nobody makes before the first use
  limited 120 nvidia-smi -L
fi
containers=(--user "$user" --cap-drop ALL --security-opt no-new-privileges --log-driver json-file --log-opt max-size=10m --log-opt max-file=2
  -e "$run_variable=$run" -e "$attempt_variable=$attempt" -e "$deadline_variable=$deadline" -e "$lab_variable=$lab"
  -e "$work_variable=$container")

run_container() {
  local words
  run_in "$1" docker run -d --name "$2" ${gpus[@]+"${gpus[@]}"} "${containers[@]}" "${@:3}" && return
  if [ "${gpus[0]:-}" != --gpus ]; then return 1; fi
  words=$(last_words "$1")
  docker rm -f "$2"
  gpus=(--runtime=nvidia -e NVIDIA_VISIBLE_DEVICES=all)
  run_in "$1" docker run -d --name "$2" "${gpus[@]}" "${containers[@]}" "${@:3}" && return
  printf '%s\n' "$words" >"$scratch/$1.words"
  return 1
}

start_agent() {
  agents=$((agents + 1)) beat=$SECONDS
  run_container agent "llmlab-agent-$agents" --network host -v "$work:$container" -v "$logs:$container$log_folder" \
    -v "$scratch$host:$container$host" -e "HF_HOME=$container$cache/hub" -e "$data_variable=$data_bucket" -e "$outputs_variable=$outputs_bucket" \
    -e AWS_REGION -e AWS_ENDPOINT_URL -e AWS_EC2_METADATA_SERVICE_ENDPOINT "${agent_image:-$image}" python -m llmlab.agent || return 1
  follow "llmlab-agent-$agents" "$agent_log"
  (
    code=$(docker wait "llmlab-agent-$agents") || code=${code:-lost}
    printf '%s\n' "$code" >"$scratch/agent-$agents.exit"
  ) &
}

await() {
  local seconds=$1 until=$((SECONDS + $1)) what=$2 file
  shift 2
  while true; do
    for file in "$@"; do if [ -e "$file" ]; then return; fi; done
    if [ -e "$scratch/agent-$agents.exit" ]; then
      say "the agent ended with $(cat "$scratch/agent-$agents.exit")"
      if [ "$agents" -ge 4 ] || ! start_agent; then
        fail "the agent does not stay up: $(tail -n 1 "$logs/$agent_log.log" | cut -c 1-300)"
      fi
    fi
    if [ "$scratch$alive" -nt "$scratch/seen" ]; then
      touch -r "$scratch$alive" "$scratch/seen"
      beat=$SECONDS
    elif [ -n "$watched" ] && [ "$((SECONDS - beat))" -ge 300 ]; then
      say "the agent has shown no life for $((SECONDS - beat)) s"
      docker kill "llmlab-agent-$agents"
      beat=$SECONDS
    fi
    if [ "$SECONDS" -ge "$until" ]; then fail "waited $seconds s for $what"; fi
    sleep 1
  done
}

phase "agent"
chmod -R a+rwX "$work" "$scratch$host" "$logs/$training_log.log" # the user of the containers is not root, made none of these, and the agent writes to that log
start_agent || fail "the agent's container does not start: $(last_words agent)"
await 7200 "the image, and the agent to check data, model and checkpoint" "$scratch$marked" "$scratch/pull.exit"
if [ -n "$agent_image" ] && [ -e "$scratch/pull.exit" ]; then pulled "$(cat "$scratch/pull.exit")" "$image" image; fi
await 7200 "the agent to check data, model and checkpoint" "$scratch$ready" "$scratch$marked"
if [ -e "$scratch$marked" ]; then exit 1; fi # it has said why


phase "training container"
limits=(--read-only --tmpfs "/tmp:exec,size=2g" --pids-limit 16384 --shm-size 16g)
memory=$(awk '/^MemTotal/ && $2 > 4194304 { print $2 - 1048576 "k" }' /proc/meminfo) # the rest is the agent's and the engine's
if [ -n "$memory" ]; then limits+=(--memory "$memory" --memory-swap "$memory"); fi
if [ "$network" = none ]; then limits+=(-e HF_HUB_OFFLINE=1); fi
for variable in HOME XDG_CACHE_HOME HF_HOME TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR MPLCONFIGDIR; do
  limits+=(-e "$variable=$container$cache/$variable")
done
run_container training llmlab-training --network "$network" "${limits[@]}" \
  -v "$work$data:$container$data:ro" -v "$work$model:$container$model:ro" -v "$work$spec:$container$spec:ro" \
  -v "$work$results:$container$results" -v "$work$cache:$container$cache" -v "$work$control:$container$control" \
  "$image" python -m llmlab.trainer ||
  fail "the training container does not start: $(last_words training)"
follow llmlab-training "$training_log"
tmux new-session -d -s llmlab "tail -n 1000 -F $logs/$training_log.log"

phase "training"
trainer=llmlab-training watched=yes beat=$SECONDS
reason=$training_error
(
  code=$(docker wait llmlab-training) || code=${code:-137}
  printf '%s\n' "$code" >"$scratch/training.exit"
) &
await 100000000 "training" "$scratch/training.exit" "$scratch$marked"
rm -f "$work/reserve"

phase "upload"
if [ -e "$scratch/training.exit" ]; then
  if stopping; then exit 0; fi
  killed_for_memory=$(docker inspect -f '{{.State.OOMKilled}}' llmlab-training)
  exit_file="$scratch$training_exit"
  printf '%s %s\n' "$(cat "$scratch/training.exit")" "${killed_for_memory:-false}" >"$exit_file.part" && mv "$exit_file.part" "$exit_file"
fi
await 100000000 "the agent to upload" "$scratch$marked"
exit 0
