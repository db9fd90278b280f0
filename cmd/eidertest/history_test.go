package eidertest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// op is one change of one record, as its writer saw it.
type op struct {
	record int
	add    bool
}

// recordModel is what one record may do: be there or not. The outcome is the first
// word of the answer line; one that is not known may have happened or not.
var recordModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{false} },
	Step: func(state, input, output any) []any {
		there, in, out := state.(bool), input.(op), output.(string)
		switch {
		case out == "unknown":
			return []any{there, in.add}
		case out == "not done":
			return []any{there}
		case in.add && out == "OK" && !there, in.add && out == "UNCHANGED" && there,
			!in.add && out == "OK" && there, !in.add && out == "NOT-FOUND" && !there:
			return []any{in.add}
		}
		return nil
	},
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byRecord := map[int][]porcupine.Operation{}
		for _, o := range history {
			r := o.Input.(op).record
			byRecord[r] = append(byRecord[r], o)
		}
		var out [][]porcupine.Operation
		for _, h := range byRecord {
			out = append(out, h)
		}
		return out
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %v", input, output) },
}

// Clients at three nodes add and remove the same few records while the leader is
// killed twice: what they were answered is what one single register for each
// record could have answered, in one order.
func TestHistoryIsLinearizable(t *testing.T) {
	c := startCluster(t, 3, nil)
	const clients, records = 6, 4
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	start := time.Now()
	stop := make(chan struct{})
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			node := c.Nodes[client%3]
			for {
				select {
				case <-stop:
					return
				default:
				}
				in := op{record: rnd.IntN(records), add: rnd.IntN(2) == 0}
				verb := "REMOVE:"
				if in.add {
					verb = "ADD:"
				}
				call := time.Since(start)
				answer, err := node.Line(fmt.Sprintf("%s hist.zone.test A 10.1.1.%d", verb, in.record))
				end := time.Since(start)
				word, _, _ := strings.Cut(answer, " ")
				var dial *net.OpError
				switch {
				case errors.As(err, &dial) && dial.Op == "dial":
					// Nobody was there to ask, so nothing happened.
					if err := eidertest.Until("node "+node.ID+" is back", func() bool {
						var s status
						return node.Get("/v1/status", &s) == nil
					}); err != nil {
						t.Error(err)
						return
					}
					continue
				case err != nil: // the node died with the line in it
					word, end = "unknown", 1<<62
				case strings.HasPrefix(answer, "UNAVAILABLE: not done"):
					word = "not done"
				case strings.HasPrefix(answer, "UNAVAILABLE"):
					word, end = "unknown", 1<<62
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: len(history), Input: in, Output: word, Call: int64(call), Return: int64(end)})
				mu.Unlock()
			}
		})
	}
	decided := func() int { mu.Lock(); defer mu.Unlock(); return len(history) }
	for range 2 {
		n := decided()
		must(t, eidertest.Until("100 more changes", func() bool { return decided() >= n+100 }))
		leader := c.Nodes[leaderOf(t, c)]
		leader.Kill()
		leaderOf(t, c)
		must(t, leader.Start())
	}
	n := decided()
	must(t, eidertest.Until("100 more changes", func() bool { return decided() >= n+100 }))
	close(stop)
	wg.Wait()
	known := 0
	for _, o := range history {
		if o.Output != "unknown" {
			known++
		}
	}
	if known < 300 {
		t.Errorf("only %d of %d changes had a known outcome", known, len(history))
	}
	if result := porcupine.CheckOperationsTimeout(recordModel.ToModel(), history, eidertest.Patience); result != porcupine.Ok {
		t.Errorf("the history of %d changes is %v", len(history), result)
		for _, o := range history {
			t.Logf("%d..%d %s", o.Call, o.Return, recordModel.DescribeOperation(o.Input, o.Output))
		}
	}
}
