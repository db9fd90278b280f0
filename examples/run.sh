#!/bin/sh
# run.sh EIDER: three nodes on loopback from the repository's cluster-config.json,
# with a sample zone. Lines on standard input go to node 0. Ctrl-C ends all three;
# the data stays in eider-data/ and is there again at the next run.
set -u
eider=${1:-bin/eider}
config=cluster-config.json
zone=examples/example.org.zone
pids=

stop() {
	trap - INT TERM EXIT
	[ -z "$pids" ] || kill $pids 2>/dev/null
	wait
	exit "${1:-0}"
}
trap 'stop 0' INT TERM
trap 'stop 1' EXIT

mkdir -p eider-data
exec 3<&0
for id in 1 2; do
	"$eider" node -n "$id" -c "$config" -s </dev/null 2>"eider-data/$id.log" &
	pids="$pids $!"
done
"$eider" node -n 0 -c "$config" -z "$zone" <&3 2>eider-data/0.log &
pids="$pids $!"
exec 3<&-

if ! "$eider" cluster wait -c "$config" --all --zone example.org --timeout 60s >/dev/null; then
	echo "run: the nodes did not come up; the last lines of their logs:" >&2
	tail -n 5 eider-data/0.log eider-data/1.log eider-data/2.log >&2
	stop 1
fi

set -- $pids
cat <<TEXT
Three nodes answer, each a primary. Try, in another terminal:

  dig @127.0.0.1 -p 10053 www.example.org A
  dig @127.0.0.1 -p 10063 example.org MX
  dig @127.0.0.1 -p 10073 nobody.example.org TXT +dnssec
  (no dig here? $eider query @127.0.0.1:10053 www.example.org A)

Type changes here; they go to node 0, and each is answered when it is done:

  ADD: new.example.org A 192.0.2.77
  ADD: newdomain.com A 1.3.3.7
  REMOVE: new.example.org A 192.0.2.77

or type them at any other node:   $eider console -c $config -n 2
See how the cluster is:           $eider cluster status -c $config
Kill a node and ask again:        kill -9 $1    (node 1; node 2 is $2, node 0 is $3)
Start it again:                   $eider node -n 1 -c $config -s
End all three:                    Ctrl-C        (logs and data are in eider-data/)

TEXT
# The nodes run on when standard input ends; wait until all of them have gone.
wait
trap - EXIT
