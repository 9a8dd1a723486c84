package starttls

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// TestNoRoute: in a network without any interface there is no way to anybody.
func TestNoRoute(t *testing.T) {
	lab.NeedRoot(t)
	for _, addr := range []string{"192.0.2.1:443", "[2001:db8::1]:443", "127.0.0.1:443", "[::ffff:192.0.2.1]:443"} {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with the goroutine
			if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
				done <- err
				return
			}
			d := dialer{addr: netip.MustParseAddrPort(addr)}
			if kind := d.noAnswer(syscall.EHOSTUNREACH); kind != ErrNoRoute {
				done <- kind
				return
			}
			_, err := Dial(context.Background(), netip.MustParseAddrPort(addr), Options{Timeout: 5 * time.Second})
			done <- err
		}()
		if err := <-done; !errors.Is(err, ErrNoRoute) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestHostUnreachable: the word of a router on the way is no want of a route.
func TestHostUnreachable(t *testing.T) {
	d := dialer{addr: netip.MustParseAddrPort("127.0.0.1:443")}
	if kind := d.noAnswer(syscall.EHOSTUNREACH); kind != ErrUnreachable {
		t.Errorf("%v", kind)
	}
	if kind := d.noAnswer(syscall.ENETUNREACH); kind != ErrNoRoute {
		t.Errorf("%v", kind)
	}
}
