package segments

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testID = [16]byte{1, 2, 3}

func create(t testing.TB, size int) (dir string, l *Log) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	l, err := Create(dir, Options{ID: testID, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return dir, l
}

func reopen(t testing.TB, dir string, size int) *Log {
	t.Helper()
	l, err := Open(dir, Options{ID: testID, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64, length int) *raft.Log {
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogType(index % 2), Data: bytes.Repeat([]byte{byte(index)}, length),
		AppendedAt: time.Unix(int64(index), 5).UTC(),
	}
}

func fill(t testing.TB, l *Log, from, to uint64, length int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := l.StoreLog(entry(i, 1, length)); err != nil {
			t.Fatal(err)
		}
	}
}

// bounds fails the test unless the log holds exactly first to last.
func bounds(t testing.TB, l *Log, first, last uint64) {
	t.Helper()
	f, err1 := l.FirstIndex()
	n, err2 := l.LastIndex()
	if err := errors.Join(err1, err2); err != nil || f != first || n != last {
		t.Fatalf("it holds %d to %d, want %d to %d (%v)", f, n, first, last, err)
	}
	for i := first; i <= last && last > 0; i++ {
		var e raft.Log
		if err := l.GetLog(i, &e); err != nil || e.Index != i {
			t.Fatalf("entry %d: %+v, %v", i, e, err)
		}
	}
	for _, i := range []uint64{first - 1, last + 1} {
		if err := l.GetLog(i, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	dir, l := create(t, 0)
	list := []*raft.Log{
		{Index: 7, Term: 2, Type: raft.LogCommand, Data: []byte("a change"), AppendedAt: time.Unix(5, 6).UTC()},
		{Index: 8, Term: 3, Type: raft.LogNoop},
		{Index: 9, Term: math.MaxUint64, Type: raft.LogConfiguration, Data: []byte{0}, Extensions: []byte("more")},
		{Index: 10, Term: 3, Type: raft.LogBarrier, Data: make([]byte, 100_000)},
	}
	if err := l.StoreLogs(list); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, want := range list {
			var got raft.Log
			if err := l.GetLog(want.Index, &got); err != nil {
				t.Fatal(err)
			}
			if len(want.Data) == 0 {
				got.Data = nil
			}
			if !reflect.DeepEqual(&got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		closeLog(t, l)
		l = reopen(t, dir, 0)
	}
}

func TestRanges(t *testing.T) {
	const size = 4096
	for _, tt := range []struct {
		rule        string
		do          func(l *Log) error
		first, last uint64 // of 1 to 100, afterwards
		again       uint64 // first after it was opened anew, if another
	}{
		{"a suffix goes", func(l *Log) error { return l.DeleteRange(60, 100) }, 1, 59, 0},
		{"a suffix goes, and more is named", func(l *Log) error { return l.DeleteRange(60, math.MaxUint64) }, 1, 59, 0},
		{"a prefix goes", func(l *Log) error { return l.DeleteRange(1, 60) }, 61, 100, 52},
		{"a prefix goes, and more is named", func(l *Log) error { return l.DeleteRange(0, 60) }, 61, 100, 52},
		{"all goes", func(l *Log) error { return l.DeleteRange(1, 100) }, 0, 0, 0},
		{"nothing is there to go", func(l *Log) error { return l.DeleteRange(101, 200) }, 1, 100, 0},
		{"after all went, any entry may be next", func(l *Log) error {
			return errors.Join(l.DeleteRange(1, 100), l.StoreLog(entry(500, 1, 10)), l.StoreLog(entry(501, 1, 10)))
		}, 500, 501, 0},
		{"after a suffix went, others take its place", func(l *Log) error {
			return errors.Join(l.DeleteRange(60, 100), l.StoreLog(entry(60, 2, 10)))
		}, 1, 60, 0},
		{"a suffix goes that shares a segment with a prefix that went", func(l *Log) error {
			return errors.Join(l.DeleteRange(1, 60), l.DeleteRange(62, 100))
		}, 61, 61, 52},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			dir, l := create(t, size)
			fill(t, l, 1, 100, 100)
			if err := tt.do(l); err != nil {
				t.Fatal(err)
			}
			bounds(t, l, tt.first, tt.last)
			closeLog(t, l)
			if tt.again == 0 {
				tt.again = tt.first
			}
			bounds(t, reopen(t, dir, size), tt.again, tt.last)
		})
	}
}

func TestRefusals(t *testing.T) {
	_, l := create(t, 0)
	fill(t, l, 1, 10, 10)
	for rule, err := range map[string]error{
		"an entry is left out":     l.StoreLog(entry(12, 1, 1)),
		"an entry is there":        l.StoreLog(entry(10, 1, 1)),
		"entries are out of order": l.StoreLogs([]*raft.Log{entry(11, 1, 1), entry(13, 1, 1)}),
		"the middle goes":          l.DeleteRange(4, 5),
	} {
		if err == nil {
			t.Errorf("%s: it was done", rule)
		}
	}
	bounds(t, l, 1, 10)
	closeLog(t, l)
	if err := l.StoreLog(entry(11, 1, 1)); err == nil {
		t.Error("a closed log took an entry")
	}
	if err := l.GetLog(1, new(raft.Log)); err == nil {
		t.Error("a closed log gave an entry")
	}
}

// A path may hold what is a pattern elsewhere.
func TestFilesOfAnOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*")
	l, err := Create(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if list := Files(dir); len(list) != 1 || filepath.Base(list[0]) != fileName(1) {
		t.Errorf("its files are %v", list)
	}
}

// Files go as soon as nothing in them counts, and no sooner.
func TestFilesGo(t *testing.T) {
	const size = 4096
	dir, l := create(t, size)
	fill(t, l, 1, 100, 100)
	all := len(Files(dir))
	if all < 5 {
		t.Fatalf("%d files", all)
	}
	for high := uint64(1); high < 100; high++ {
		if err := l.DeleteRange(1, high); err != nil {
			t.Fatal(err)
		}
		bounds(t, l, high+1, 100)
	}
	if n := len(Files(dir)); n > 2 {
		t.Errorf("one entry is left, and %d files", n)
	}
	if err := l.DeleteRange(1, 100); err != nil {
		t.Fatal(err)
	}
	if n := len(Files(dir)); n != 1 {
		t.Errorf("no entry is left, and %d files", n)
	}
}

// An append larger than a segment gets one of its own.
func TestLargeAppend(t *testing.T) {
	dir, l := create(t, 4096)
	if err := l.StoreLogs([]*raft.Log{entry(1, 1, 3000), entry(2, 1, 3000), entry(3, 1, 100_000)}); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 4, 10, 100)
	closeLog(t, l)
	bounds(t, reopen(t, dir, 4096), 1, 10)
}

// image is the content of a folder.
type image map[string][]byte

func read(t testing.TB, dir string) image {
	t.Helper()
	out := image{}
	for _, path := range Files(dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(path)] = b
	}
	return out
}

func (m image) write(t testing.TB, dir string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, b := range m {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// with is a copy with one file changed.
func (m image) with(name string, change func(b []byte) []byte) image {
	out := image{}
	for n, b := range m {
		out[n] = b
	}
	out[name] = change(bytes.Clone(m[name]))
	return out
}

func (m image) newest() string {
	name := ""
	for n := range m {
		name = max(name, n)
	}
	return name
}

// An append that was cut off at any octet, or of which any sectors were not written, is not there, and the next goes in its place.
func TestTornAppend(t *testing.T) {
	dir, l := create(t, 16<<10)
	fill(t, l, 1, 5, 100)
	before := read(t, dir)
	if err := l.StoreLogs([]*raft.Log{entry(6, 1, 500), entry(7, 2, 600)}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	after := read(t, dir)
	name := after.newest()
	old, whole := before[name], after[name]
	end := len(bytes.TrimRight(whole, "\x00"))
	from := len(bytes.TrimRight(old, "\x00"))
	count := 0
	check := func(what string, torn []byte, last uint64) {
		t.Helper()
		after.with(name, func([]byte) []byte { return torn }).write(t, dir)
		l, err := Open(dir, Options{ID: testID, Size: 16 << 10})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer l.Close()
		bounds(t, l, 1, last)
		if count++; count%23 != 0 { // syncs take long
			return
		}
		fill(t, l, last+1, last+2, 30)
		closeLog(t, l)
		again, err := Open(dir, Options{ID: testID, Size: 16 << 10})
		if err != nil {
			t.Fatalf("%s, and appended to: %v", what, err)
		}
		defer again.Close()
		bounds(t, again, 1, last+2)
	}
	step := 1
	if testing.Short() {
		step = 37
	}
	for cut := from; cut < end; cut += step {
		check(fmt.Sprintf("cut off %d octets behind its beginning", cut-from), append(bytes.Clone(whole[:cut]), old[cut:]...), 5)
	}
	check("whole", whole, 7)
	sectors := (end+sector-1)/sector - from/sector
	for missing := 1; missing < 1<<sectors; missing++ {
		torn := bytes.Clone(whole)
		for i := range sectors {
			if at := (from/sector + i) * sector; missing>>i&1 != 0 {
				copy(torn[at:at+sector], old[at:])
			}
		}
		check(fmt.Sprintf("without the sectors %b", missing), torn, 5)
	}
}

// Whichever octet of whichever file rots: no entry is missing at the end, none is another, and what cannot be read says so.
func TestNothingRotsInSilence(t *testing.T) {
	const size = 4096
	dir, l := create(t, size)
	fill(t, l, 1, 30, 150)
	if err := errors.Join(l.DeleteRange(28, 30), l.StoreLogs([]*raft.Log{entry(28, 2, 20), entry(29, 2, 20)}), l.DeleteRange(29, 29)); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 29, 50, 150)
	closeLog(t, l)
	good := read(t, dir)
	want := map[uint64]*raft.Log{}
	l = reopen(t, dir, size)
	for i := uint64(1); i <= 50; i++ {
		want[i] = new(raft.Log)
		if err := l.GetLog(i, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	found, passed := 0, 0
	check := func(what string) {
		l, err := Open(dir, Options{ID: testID, Size: size, ReadOnly: true})
		if errors.Is(err, ErrDamaged) {
			found++
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer l.Close()
		first, _ := l.FirstIndex()
		last, _ := l.LastIndex()
		if last != 50 {
			t.Fatalf("%s: it ends with %d", what, last)
		}
		for i := first; i <= last; i++ {
			var e raft.Log
			switch err := l.GetLog(i, &e); {
			case errors.Is(err, ErrDamaged):
				found++
				return
			case err != nil:
				t.Fatalf("%s: entry %d: %v", what, i, err)
			case !reflect.DeepEqual(&e, want[i]):
				t.Fatalf("%s: entry %d is %+v, was %+v", what, i, e, want[i])
			}
		}
		passed++
	}
	step := 5
	if testing.Short() {
		step = 61
	}
	for name, b := range good {
		end := len(bytes.TrimRight(b, "\x00"))
		good.write(t, dir)
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < end; at += step {
			bit := byte(1) << (at % 8)
			must(t, f, []byte{b[at] ^ bit}, at)
			check(fmt.Sprintf("%s, octet %d ^ %#x", name, at, bit))
			must(t, f, b[at:at+1], at)
		}
		for at := 0; at < end; at += sector { // random content, and zeros but at the very end, in the place of a sector
			must(t, f, bytes.Repeat([]byte{0x77}, sector), at)
			check(fmt.Sprintf("%s, noise at %d", name, at))
			if name != good.newest() || at+4*sector < end {
				must(t, f, make([]byte, sector), at)
				check(fmt.Sprintf("%s, zeros at %d", name, at))
			}
			must(t, f, b[at:at+sector], at)
		}
		f.Close()
	}
	t.Logf("found %d, harmless %d", found, passed)
	if found < 10*passed/100 {
		t.Error("hardly anything was found; are the files damaged at all?")
	}
}

func must(t *testing.T, f *os.File, b []byte, at int) {
	t.Helper()
	if _, err := f.WriteAt(b, int64(at)); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFolders(t *testing.T) {
	const size = 4096
	dir, l := create(t, size)
	fill(t, l, 1, 100, 100)
	newest := l.Newest()
	closeLog(t, l)
	good := read(t, dir)
	other, o := create(t, size)
	fill(t, o, 1, 100, 100)
	closeLog(t, o)
	for _, tt := range []struct {
		rule string
		do   func() error
		o    Options
		want string
	}{
		{"nothing there", func() error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) }, Options{}, "there is none"},
		{"a segment in the middle is gone", func() error { return os.Remove(Files(dir)[3]) }, Options{}, "segment 4 is missing"},
		{"the newest is gone", func() error { return os.Remove(Files(dir)[len(Files(dir))-1]) }, Options{Newest: newest}, "is missing"},
		{"one is cut short", func() error { return os.Truncate(Files(dir)[3], 2000) }, Options{}, "says 4096"},
		{"the newest is empty", func() error { return os.Truncate(Files(dir)[len(Files(dir))-1], 0) }, Options{}, "header"},
		{"one is from another log of that id", func() error { return copyFile(Files(other)[3], Files(dir)[3]) }, Options{}, "not what was written"},
		{"it is of another log", func() error { return nil }, Options{ID: [16]byte{9}}, "of another log"},
		{"it is shorter than known", func() error { return nil }, Options{Last: 101}, "reached to 101"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			good.write(t, dir)
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			if tt.o.ID == ([16]byte{}) {
				tt.o.ID = testID
			}
			l, err := Open(dir, tt.o)
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want damage: %s", err, tt.want)
			}
		})
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// What cannot be read behind entries that are dropped does not come back, and does not keep the rest from being read.
func TestDamageBehindACheckpointIsDropped(t *testing.T) {
	const size = 4096
	dir, l := create(t, size)
	fill(t, l, 1, 100, 100)
	closeLog(t, l)
	path := Files(dir)[1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[1000] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, dir, size)
	bad := uint64(0)
	for i := uint64(1); i <= 100; i++ {
		if err := l.GetLog(i, new(raft.Log)); errors.Is(err, ErrDamaged) {
			bad = i
		}
	}
	if bad == 0 {
		t.Fatal("no entry is damaged")
	}
	if err := l.DeleteRange(1, bad); err != nil {
		t.Fatal(err)
	}
	bounds(t, l, bad+1, 100)
	if err := l.DeleteRange(bad+1, 60); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	bounds(t, reopen(t, dir, size), 52, 100)
}

// A write that fails leaves the log refusing, and another Open makes it whole.
func TestFailedWrite(t *testing.T) {
	dir, l := create(t, 0)
	fill(t, l, 1, 5, 100)
	l.segs[0].file.Close()
	if err := l.StoreLog(entry(6, 1, 1)); err == nil {
		t.Fatal("an append to a closed file")
	}
	if err := l.StoreLog(entry(6, 1, 1)); err == nil {
		t.Fatal("an append after one that failed")
	}
	if last, err := l.LastIndex(); last != 5 || err != nil {
		t.Fatalf("it ends with %d, %v", last, err)
	}
	l.Close()
	l = reopen(t, dir, 0)
	bounds(t, l, 1, 5)
	fill(t, l, 6, 7, 10)
}

// Readers go on while the log is appended to, cut and closed.
func TestReadersGoOn(t *testing.T) {
	_, l := create(t, 16<<10)
	fill(t, l, 1, 50, 100)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				first, err := l.FirstIndex()
				if err != nil {
					return
				}
				last, _ := l.LastIndex()
				var e raft.Log
				if err := l.GetLog((first+last)/2, &e); err != nil && !errors.Is(err, raft.ErrLogNotFound) && !errors.Is(err, errClosed) {
					t.Error(err)
					return
				}
			}
		})
	}
	next := uint64(51)
	for range 8 {
		fill(t, l, next, next+30, 100)
		if err := errors.Join(l.DeleteRange(next+20, next+30), l.DeleteRange(1, next-20)); err != nil {
			t.Fatal(err)
		}
		next += 20
	}
	closeLog(t, l)
	wg.Wait()
}

// Against a map: whatever is done, with the folder opened anew at any moment, holds what a map would.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{2048, 4096, 64 << 10}).Draw(t, "size")
		parent, err := os.MkdirTemp("", "segments")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(parent)
		dir := filepath.Join(parent, "log")
		l, err := Create(dir, Options{ID: testID, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { l.Close() }()
		model, first, last, term := map[uint64]*raft.Log{}, uint64(0), uint64(0), uint64(1)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				next := last + 1
				if last == 0 {
					next = rapid.Uint64Range(1, 1000).Draw(t, "next")
				}
				var list []*raft.Log
				for range rapid.IntRange(1, 5).Draw(t, "count") {
					list = append(list, entry(next, term, rapid.IntRange(0, 3000).Draw(t, "length")))
					next++
				}
				if err := l.StoreLogs(list); err != nil {
					t.Fatal(err)
				}
				for _, e := range list {
					model[e.Index] = e
				}
				if last == 0 {
					first = list[0].Index
				}
				last = next - 1
			},
			"suffix": func(t *rapid.T) {
				if last == 0 {
					return
				}
				low := rapid.Uint64Range(first, last).Draw(t, "low")
				if err := l.DeleteRange(low, last); err != nil {
					t.Fatal(err)
				}
				for i := low; i <= last; i++ {
					delete(model, i)
				}
				last, term = low-1, term+1
				if low == first {
					first, last = 0, 0
				}
			},
			"prefix": func(t *rapid.T) {
				if last == 0 || first == last {
					return
				}
				high := rapid.Uint64Range(first, last-1).Draw(t, "high")
				if err := l.DeleteRange(first, high); err != nil {
					t.Fatal(err)
				}
				first = high + 1
			},
			"reopen": func(t *rapid.T) {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(dir, Options{ID: testID, Size: size, Last: last}); err != nil {
					t.Fatal(err)
				}
				if f, _ := l.FirstIndex(); f > first {
					t.Fatalf("it begins with %d, was %d", f, first)
				} else if last > 0 {
					first = f // a prefix may come back
				}
			},
			"": func(t *rapid.T) {
				f, _ := l.FirstIndex()
				n, _ := l.LastIndex()
				if f != first || n != last {
					t.Fatalf("it holds %d to %d, want %d to %d", f, n, first, last)
				}
				for i := first; i <= last && last > 0; i++ {
					var e raft.Log
					if err := l.GetLog(i, &e); err != nil || e.Index != i || e.Term != model[i].Term || !bytes.Equal(e.Data, model[i].Data) {
						t.Fatalf("entry %d: %v, term %d", i, err, e.Term)
					}
				}
			},
		})
	})
}

// Whatever is in a file, Open and GetLog give entries or an error, and end.
func FuzzOpen(f *testing.F) {
	const size = 4096
	dir, l := create(f, size)
	fill(f, l, 1, 8, 100)
	if err := l.DeleteRange(7, 8); err != nil {
		f.Fatal(err)
	}
	fill(f, l, 7, 9, 50)
	closeLog(f, l)
	whole, err := os.ReadFile(Files(dir)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, uint16(0), byte(0))
	f.Add(whole, uint16(700), byte(4))
	f.Add(whole[:1000], uint16(20), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, bits byte) {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[int(at)%len(b)] ^= bits
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir, Options{ID: testID, Size: size, ReadOnly: true})
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		defer l.Close()
		first, _ := l.FirstIndex()
		last, _ := l.LastIndex()
		for i := first; i <= last && last > 0; i++ {
			var e raft.Log
			if err := l.GetLog(i, &e); err == nil && e.Index != i {
				t.Fatalf("entry %d says it is %d", i, e.Index)
			}
		}
	})
}

func BenchmarkStoreLog(b *testing.B) {
	_, l := create(b, 0)
	e := entry(1, 1, 200)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.StoreLog(e); err != nil {
			b.Fatal(err)
		}
		e.Index++
	}
}
