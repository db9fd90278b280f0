package main

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// helloOf is the frame a node begins a connection with.
func helloOf(id string) []byte {
	return append([]byte(helloMagic+strings.Repeat("x", helloFixed-len(helloMagic)-1)), append([]byte{byte(len(id))}, id...)...)
}

// testMesh is a mesh of two nodes; b is the listener behind node b.
func testMesh(t *testing.T) (m *mesh, toB string, b net.Listener) {
	t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := listen(), listen()
	t.Cleanup(func() { a.Close(); b.Close() })
	free, err := eidertest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	toB = net.JoinHostPort("127.0.0.1", strconv.Itoa(free[0]))
	m, err = newMesh([]string{"a", "b"}, []string{"127.0.0.1:0", toB}, []string{a.Addr().String(), b.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m, toB, b
}

// connect dials b as a.
func connect(t *testing.T, toB string, b net.Listener) (near, far net.Conn) {
	t.Helper()
	near, err := net.Dial("tcp", toB)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if _, err := near.Write(helloOf("a")); err != nil {
		t.Fatal(err)
	}
	if far, err = b.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	want(t, far, string(helloOf("a")))
	return near, far
}

func want(t *testing.T, c net.Conn, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for n := 0; n < len(buf); {
		k, err := c.Read(buf[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if string(buf) != text {
		t.Fatalf("got %q, want %q", buf, text)
	}
}

func wantNothing(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d octets, %v; want nothing", n, err)
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A link that is shut holds one direction only, whoever dialled; what it held comes
// when it opens.
func TestLinkShutsOneWay(t *testing.T) {
	m, toB, b := testMesh(t)
	near, far := connect(t, toB, b)
	m.shut(0, 1)
	send(t, near, "there")
	wantNothing(t, far)
	send(t, far, "back")
	want(t, near, "back")
	m.open(0, 1)
	want(t, far, "there")

	m.shut(1, 0)
	send(t, far, "back")
	wantNothing(t, near)
	send(t, near, "there")
	want(t, far, "there")
	m.heal()
	want(t, near, "back")
}

func TestCutClosesConnections(t *testing.T) {
	m, toB, b := testMesh(t)
	near, far := connect(t, toB, b)
	m.cut(0, 1)
	for _, c := range []net.Conn{near, far} {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a cut connection: %v", err)
		}
	}
}

func TestStrangersAreNotCarried(t *testing.T) {
	_, toB, _ := testMesh(t)
	for _, first := range []string{strings.Repeat("x", helloFixed+1), string(helloOf("nobody"))} {
		c, err := net.Dial("tcp", toB)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, first)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: %v", first, err)
		}
		c.Close()
	}
}
