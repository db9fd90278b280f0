package main

import (
	"encoding/binary"
	"net"
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
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFromUDP(buf)
			if err != nil {
				return
			}
			switch binary.BigEndian.Uint16(buf) {
			case silent:
				continue
			case slow:
				time.Sleep(takes)
			}
			buf[2] |= 0x80
			_, _ = server.WriteToUDP(buf[:n], from)
		}
	}()
	packets := make([][]byte, 10)
	for i := range packets {
		packets[i] = make([]byte, 12)
		binary.BigEndian.PutUint16(packets[i], uint16(i))
	}
	r, err := probe(server.LocalAddr().(*net.UDPAddr).Port, 10_000, packets)
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

// A question is marked if a core was away at any time between it and its answer.
func TestMarkAway(t *testing.T) {
	asked := []int64{100, 200, 300, 400, 500}
	latency := []time.Duration{10, 10, 250, 10, 0}
	list := []away{{110, 120}, {205, 207}, {430, 520}}
	want := []bool{true, true, true, false, true}
	if got := markAway(asked, latency, list); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := markAway(asked, latency, nil); slices.Contains(got, true) {
		t.Errorf("no core was away: %v", got)
	}
}
