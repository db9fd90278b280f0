package main

import (
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// What a server takes for an answer is in the latency of that question, and a question it does not answer is lost.
func TestProbe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the kernel's times of packets")
	}
	const slow, silent, takes = 3, 7, 30 * time.Millisecond
	port := serveAnswers(t, func(id uint16) bool {
		if id == slow {
			time.Sleep(takes)
		}
		return id != silent
	})
	packets := make([][]byte, 10)
	for i := range packets {
		packets[i] = make([]byte, 12)
		binary.BigEndian.PutUint16(packets[i], uint16(i))
	}
	r, err := probe(port, 10_000, packets)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range r.Latency {
		if i == silent && l != 0 || i != silent && l <= 0 || i == slow && l < takes {
			t.Errorf("question %d: %v", i, l)
		}
	}
	if p := r.paced(); p.sent != 10 || p.lost != 1 || p.dropped != 0 || len(p.latency) != 9 || len(p.late) != 10 {
		t.Errorf("%+v", p)
	}
}

// A question is marked if a core was away at any time between it and its answer, however the times of several cores overlap.
func TestMarkAway(t *testing.T) {
	asked := []int64{100, 200, 300, 400, 500}
	latency := []time.Duration{10, 10, 250, 10, 0}
	for _, tt := range []struct {
		rule string
		list []away
		want []bool
	}{
		{"no core was away", nil, []bool{false, false, false, false, false}},
		{"before, within and after the wait", []away{{110, 120}, {205, 207}, {430, 520}}, []bool{true, true, true, false, true}},
		{"one core for long, the other for moments in it", []away{{190, 195}, {150, 460}, {401, 402}, {90, 99}}, []bool{false, true, true, true, false}},
	} {
		if got := markAway(asked, latency, tt.list); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.rule, got, tt.want)
		}
	}
}

// The process that asks and looks at the cores is this program again.
func TestPace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the kernel's times of packets")
	}
	p, err := pace(serveAnswers(t, func(uint16) bool { return true }), []question{{name: "www.bench.test.", qtype: 1}}, false, 1000, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if p.sent != 200 || p.lost+len(p.latency) != 200 || len(p.calm) > len(p.latency) {
		t.Errorf("%d sent, %d lost, %d answered, %d of them calm", p.sent, p.lost, len(p.latency), len(p.calm))
	}
}

// serveAnswers answers questions with themselves until the test ends, if answer says so by their id, and gives its port.
func serveAnswers(t *testing.T, answer func(id uint16) bool) (port int) {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if answer(binary.BigEndian.Uint16(buf)) {
				buf[2] |= 0x80
				_, _ = server.WriteToUDP(buf[:n], from)
			}
		}
	}()
	return server.LocalAddr().(*net.UDPAddr).Port
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == probeCommand { // pace started it
		probeMain(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}
