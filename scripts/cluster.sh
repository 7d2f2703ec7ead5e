#!/usr/bin/env bash
# Runs a cluster on this machine, to try it: three NATS servers and three nodes of Qchat. `scripts/cluster.sh 4001` uses other
# ports than 3001 and those after it. Ctrl+C ends all of it; what is stored stays in target/cluster, for the next time.
#
# Kill any of the six processes, whose ids are printed: it is started again after some seconds, as a service manager does.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PORT=${1:-3001} FOLDER=$PWD/target/cluster
# long enough to see that the others go on meanwhile
readonly PAUSE=5

say() { printf '%s\n' "$*"; }
stop() { say "cluster: $*" >&2; exit 1; }

[[ $PORT =~ ^[0-9]{4,5}$ && $PORT -ge 1024 && $PORT -le 60000 ]] || stop "$PORT is no port from 1024 to 60000"
[ -x target/release/qchat ] || stop "there is no target/release/qchat: run \`make build\`, or \`make cluster\`"
export PATH=$PWD/target/tools:$PATH
command -v nats-server >/dev/null || stop "there is no nats-server: run \`scripts/setup.sh nats\`"

# The ports of each process: those of Qchat, and of NATS for its nodes, for the other servers, and for its monitoring.
qchat_port() { echo $((PORT + $1 - 1)); }
nats_port() { echo $((PORT + 1000 + $1 - 1)); }
route_port() { echo $((PORT + 2000 + $1 - 1)); }
monitor_port() { echo $((PORT + 3000 + $1 - 1)); }
is_taken() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for number in 1 2 3; do
  for port in "$(qchat_port $number)" "$(nats_port $number)" "$(route_port $number)" "$(monitor_port $number)"; do
    ! is_taken "$port" || stop "port $port is in use: \`scripts/cluster.sh PORT\` uses others"
  done
done

mkdir -p "$FOLDER"
nats_configuration() {
  cat <<END
server_name: nats-$1
listen: 127.0.0.1:$(nats_port "$1")
http: 127.0.0.1:$(monitor_port "$1")
jetstream {
  store_dir: "$FOLDER/nats-$1"
  # synced before it is acknowledged, as in deploy/nats.conf
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 4GB
}
cluster {
  name: qchat
  listen: 127.0.0.1:$(route_port "$1")
  routes: [ nats://127.0.0.1:$(route_port 1), nats://127.0.0.1:$(route_port 2), nats://127.0.0.1:$(route_port 3) ]
}
END
}
nats_url=nats://127.0.0.1:$(nats_port 1),nats://127.0.0.1:$(nats_port 2),nats://127.0.0.1:$(nats_port 3)

# Runs a program until this is told to stop, and starts it again whenever it ends. Its output goes to a file in the folder.
keep() {
  local name=$1 child='' is_stopped=''
  shift
  trap 'is_stopped=yes; [ -z "$child" ] || kill "$child" 2>/dev/null || true' TERM HUP
  trap '' INT
  while [ -z "$is_stopped" ]; do
    # In a session of its own: Ctrl+C is for the script alone, which ends the programs in their order.
    setsid "$@" >>"$FOLDER/$name.log" 2>&1 &
    child=$!
    say "$name is process $child"
    # without the words of bash about a program that was killed
    { wait "$child" || true; } 2>/dev/null
    # The signal has ended that wait, and the program has still to end.
    [ -z "$is_stopped" ] || { wait "$child" || true; break; }
    say "$name has ended, and is started again in $PAUSE seconds. Its log is target/cluster/$name.log"
    sleep "$PAUSE" &
    child=$!
    wait "$child" || true
  done
}

keepers=()
# Ends all of them by their ids: the nodes first, since they publish what they have accepted.
end() {
  trap '' INT TERM HUP
  say 'cluster: stopping'
  local these
  for these in "${keepers[*]:3}" "${keepers[*]:0:3}"; do
    # shellcheck disable=SC2086 # they are several
    [ -z "$these" ] || { kill $these; wait $these; } 2>/dev/null || true
  done
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

for number in 1 2 3; do
  nats_configuration $number >"$FOLDER/nats-$number.conf"
  keep "nats-$number" nats-server --config "$FOLDER/nats-$number.conf" &
  keepers+=($!)
done
for number in 1 2 3; do
  keep "qchat-$number" env "LEPTOS_SITE_ADDR=127.0.0.1:$(qchat_port $number)" "QCHAT_DATA_DIR=$FOLDER/qchat-$number" \
    "QCHAT_NODE=qchat-$number" "QCHAT_NATS_URL=$nats_url" QCHAT_NATS_REPLICAS=3 QCHAT_NATS_MAX_LOG=256 target/release/qchat &
  keepers+=($!)
done

is_ready() {
  local answer
  answer=$(exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || exit 1; printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; head -1 <&3) || return 1
  [[ $answer == *' 200 '* ]]
}
for number in 1 2 3; do
  until is_ready "$(qchat_port $number)"; do sleep 0.2; done
  say "http://127.0.0.1:$(qchat_port $number) is ready"
done
say 'Open two of these addresses, and kill any of the processes. Ctrl+C ends all.'
wait
