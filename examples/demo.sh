#!/bin/sh
# demo.sh EIDER: the story of three nodes, told by running it. It ends with status
# 0 if every step went as told, and leaves nothing behind.
set -eu
eider=$(cd "$(dirname "${1:-bin/eider}")" && pwd)/$(basename "${1:-bin/eider}")
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
config=$dir/cluster-config.json
pid0= pid1= pid2=

cleanup() {
	status=$?
	trap - INT TERM EXIT
	for p in $pid0 $pid1 $pid2; do kill -9 "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	[ "$status" = 0 ] || { echo "demo: a step failed; the logs:" >&2; tail -n 5 "$dir"/*.log >&2; }
	rm -rf "$dir"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

cat >"$config" <<TEXT
{"cluster": "demo", "nodes": {
  "0": {"raft_loc": "127.0.0.1:14321", "query_loc": "127.0.0.1:14053", "data_dir": "$dir/0"},
  "1": {"raft_loc": "127.0.0.1:14322", "query_loc": "127.0.0.1:14063", "data_dir": "$dir/1"},
  "2": {"raft_loc": "127.0.0.1:14323", "query_loc": "127.0.0.1:14073", "data_dir": "$dir/2"}}}
TEXT

tell() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '  $ %s\n' "$*"; }
# start ID [ARGS]: one node in the background.
start() {
	id=$1
	shift
	"$eider" node -n "$id" -c "$config" -s "$@" </dev/null 2>>"$dir/$id.log" &
	eval "pid$id=$!"
}
# ask ID WANT: www.example.org at that node must be WANT.
ask() {
	port=$((14053 + 10 * $1))
	got=$("$eider" query --short @127.0.0.1:$port new.example.org A)
	printf '  node %s: new.example.org A %s\n' "$1" "${got:-(no such name)}"
	[ "$got" = "$2" ] || { echo "demo: expected '$2'" >&2; exit 1; }
}

tell "Three nodes start, node 0 with a zone file. None of them is the primary: all are."
start 0 -z "$here/example.org.zone"
start 1
start 2
"$eider" cluster wait -c "$config" --all --zone example.org --timeout 20s
"$eider" cluster status -c "$config"

leader=$("$eider" cluster status -c "$config" --leader)
follower=$(((leader + 1) % 3))
third=$(((leader + 2) % 3))
tell "Node $leader leads. A record is added at node $follower, a follower:"
show "eider record add -n $follower new.example.org A 192.0.2.77"
"$eider" record add -c "$config" -n "$follower" new.example.org A 192.0.2.77

tell "Every node answers it from its own store:"
"$eider" cluster wait -c "$config" --all --timeout 10s >/dev/null
for id in 0 1 2; do ask $id 192.0.2.77; done

tell "Nodes $leader and $follower are killed (kill -9). Node $third is alone, without a quorum, and still answers:"
eval "kill -9 \$pid$leader \$pid$follower"
eval "wait \$pid$leader \$pid$follower 2>/dev/null" || true
eval "pid$leader= pid$follower="
ask $third 192.0.2.77

tell "A change now is refused, clearly, and shows nowhere:"
show "eider record add -n $third lost.example.org A 192.0.2.78"
if "$eider" record add -c "$config" -n "$third" lost.example.org A 192.0.2.78; then
	echo "demo: a change was accepted without a quorum" >&2
	exit 1
fi
got=$("$eider" query --short @127.0.0.1:$((14053 + 10 * third)) lost.example.org A)
[ -z "$got" ] || { echo "demo: an uncommitted change is visible" >&2; exit 1; }

tell "The two come back by themselves, and changes go on:"
start "$leader"
start "$follower"
"$eider" cluster wait -c "$config" --all --timeout 20s
show "eider record remove -n $leader new.example.org A"
"$eider" record remove -c "$config" -n "$leader" new.example.org A
"$eider" cluster wait -c "$config" --all --timeout 10s >/dev/null
for id in 0 1 2; do ask $id ''; done

tell "That is all. Run your own with: make run"
