package record_test

import (
	"testing"

	"github.com/eider-dns/eider/store/record"
)

// chained adds entries from+1 to to; odd, if not 0, is an index at which another entry stands.
func chained(c record.Chain, from, to, odd uint64) record.Chain {
	for i := from + 1; i <= to; i++ {
		if open, ok := c.Begin(i); ok {
			sum := open*31 + i
			if i == odd {
				sum++
			}
			c.Add(i, sum)
		}
	}
	return c
}

func TestChain(t *testing.T) {
	whole := chained(record.NewChain(0), 0, 5000, 0)
	for _, tt := range []struct {
		rule  string
		other record.Chain
		want  record.Agreement
		at    uint64
	}{
		{"the same entries agree", chained(record.NewChain(0), 0, 5000, 0), record.Agree, 0},
		{"one behind agrees where they meet", chained(record.NewChain(0), 0, 4711, 0), record.Agree, 0},
		{"another entry shows at the end of its stretch", chained(record.NewChain(0), 0, 4711, 300), record.Differ, 512},
		{"another entry shows at once where both are", chained(record.NewChain(0), 0, 5000, 4999), record.Differ, 5000},
		{"a stretch that is not over says nothing yet", chained(record.NewChain(0), 0, 4711, 4700), record.Agree, 0},
		{"one that began later is compared by stretches", chained(record.NewChain(1000), 1000, 4711, 0), record.Agree, 0},
		{"and its differences show", chained(record.NewChain(1000), 1000, 4711, 3000), record.Differ, 3072},
		{"what was before it does not", chained(record.NewChain(1000), 1000, 5000, 1020), record.Agree, 0},
		{"before the first end there is nothing to compare", chained(record.NewChain(0), 0, 200, 0), record.NotComparable, 0},
		{"an empty one cannot be compared", record.NewChain(0), record.NotComparable, 0},
		{"one too far ahead cannot be compared", chained(record.NewChain(0), 0, 40000, 0), record.NotComparable, 0},
		{"a difference of long ago is not forgotten", chained(record.NewChain(0), 0, 5000, 1), record.Differ, 256},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b, _ := tt.other.AppendBinary(nil)
			other, err := record.DecodeChain(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, at := whole.Compare(&other); got != tt.want || at != tt.at {
				t.Errorf("got %v at %d, want %v at %d", got, at, tt.want, tt.at)
			}
			if got, at := other.Compare(&whole); got != tt.want || at != tt.at {
				t.Errorf("the other way round: got %v at %d, want %v at %d", got, at, tt.want, tt.at)
			}
			if _, err := record.DecodeChain(b[:len(b)-1]); err == nil {
				t.Error("one cut short was taken")
			}
		})
	}
	late, odd := chained(record.NewChain(0), 0, 40000, 0), chained(record.NewChain(0), 0, 40000, 1)
	if got, _ := late.Compare(&odd); got != record.Differ {
		t.Errorf("a difference in a stretch that is not kept any more: got %v", got)
	}
}
