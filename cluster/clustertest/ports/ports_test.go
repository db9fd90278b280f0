package ports

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Nobody gets a port a second time before all others were given, also while nobody listens on it.
func TestNoPortTwice(t *testing.T) {
	seen := map[int]bool{}
	for range 3 * block / 4 {
		list, err := Free(4)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range list {
			if seen[port] || port < from || port >= to {
				t.Fatalf("port %d is given twice, or out of bounds", port)
			}
			seen[port] = true
		}
	}
}

const otherEnv = "EIDER_PORTS_OTHER"

// Nor does another process, which asks here from within the same test.
func TestNoPortOfAnotherProcess(t *testing.T) {
	if os.Getenv(otherEnv) != "" {
		list, err := Free(2 * block)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range list {
			os.Stdout.WriteString("port " + strconv.Itoa(port) + "\n")
		}
		return
	}
	list, err := Free(2 * block)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestNoPortOfAnotherProcess$")
	cmd.Env = append(os.Environ(), otherEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("port ")) != 2*block {
		t.Fatalf("the other process: %v\n%s", err, out)
	}
	for _, port := range list {
		if bytes.Contains(out, []byte("port "+strconv.Itoa(port)+"\n")) {
			t.Errorf("port %d is given to two processes", port)
		}
	}
}

// When all its blocks are used up, a process gets its own ports again.
func TestPortsComeRound(t *testing.T) {
	for range 2 {
		if list, err := Free(most * block / 2); err != nil || len(list) != most*block/2 {
			t.Fatalf("%d ports: %v", len(list), err)
		}
	}
	if len(taken.blocks) > most {
		t.Errorf("%d blocks were taken", len(taken.blocks))
	}
}
