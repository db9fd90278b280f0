package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// All are configured to answer as they would on their own, but: no rate limit, no
// cookies, 1232 octets over UDP as Eider, and as little as they can be told to beside the answer.

func startNSD(program, dir, port string, zones []Zone) (*exec.Cmd, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  port: %s
  ip-address: 127.0.0.1
  username: ""
  chroot: ""
  zonesdir: %q
  database: ""
  pidfile: ""
  logfile: ""
  xfrdfile: %q
  zonelistfile: %q
  server-count: 1
  minimal-responses: yes
  rrl-ratelimit: 0
  ipv4-edns-size: 1232
  tcp-count: 100
  tcp-timeout: 60
  tcp-query-count: 0
  answer-cookie: no
remote-control:
  control-enable: no
`, port, dir, filepath.Join(dir, "xfrd"), filepath.Join(dir, "zonelist"))
	for _, z := range zones {
		fmt.Fprintf(&b, "zone:\n  name: \"%s\"\n  zonefile: %q\n", z.Apex, z.File)
	}
	path := filepath.Join(dir, "nsd.conf")
	return exec.Command(program, "-d", "-c", path), os.WriteFile(path, []byte(b.String()), 0o644)
}

func startKnot(program, dir, port string, zones []Zone) (*exec.Cmd, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  listen: 127.0.0.1@%s
  rundir: %q
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  tcp-idle-timeout: 60
  tcp-max-clients: 100
  udp-max-payload: 1232
log:
  - target: stderr
    any: warning
database:
  storage: %q
template:
  - id: default
    semantic-checks: off
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
`, port, dir, dir)
	for _, z := range zones {
		fmt.Fprintf(&b, "  - domain: \"%s\"\n    file: %q\n", z.Apex, z.File)
	}
	path := filepath.Join(dir, "knot.conf")
	return exec.Command(program, "-c", path, "-s", filepath.Join(dir, "knot.sock")), os.WriteFile(path, []byte(b.String()), 0o644)
}

func startBIND(program, dir, port string, zones []Zone) (*exec.Cmd, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `options {
  directory %q;
  pid-file none;
  session-keyfile none;
  lock-file none;
  listen-on port %s { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion no;
  allow-query { any; };
  notify no;
  minimal-responses yes;
  zero-no-soa-ttl no;
  edns-udp-size 1232;
  max-udp-size 1232;
  answer-cookie no;
  empty-zones-enable no;
  dnssec-validation no;
  check-names primary ignore;
  check-names secondary ignore;
  check-integrity no;
  check-mx ignore;
  check-mx-cname ignore;
  check-srv-cname ignore;
  check-sibling no;
  check-wildcard no;
  check-spf ignore;
  max-records-per-type 0;
  max-types-per-name 0;
};
controls { };
logging { channel errors { stderr; severity warning; }; category default { errors; }; };
`, dir, port)
	for _, z := range zones {
		fmt.Fprintf(&b, "zone \"%s\" { type primary; file %q; };\n", z.Apex, z.File)
	}
	path := filepath.Join(dir, "named.conf")
	return exec.Command(program, "-g", "-n", "1", "-c", path), os.WriteFile(path, []byte(b.String()), 0o644)
}
