package daemon

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"zonebuild/internal/durable"
)

// TestLockRemoved: a lock that somebody removed is taken again; one that another daemon
// has taken since ends this one.
func TestLockRemoved(t *testing.T) {
	s := newSite(t, false)
	s.start()
	s.until("the zone is published", s.published("www"))
	s.until("it is removed", func() bool { return os.RemoveAll(s.path("state")) == nil })
	s.drop("", goodValue) // a pass makes the directory
	s.until("it is taken again", func() bool {
		_, held, err := durable.Held(s.path("state/watch.lock"))
		return err == nil && held
	})
	second := s.daemon()
	second.OpenListen = func() (net.Listener, error) { return nil, errors.New("it was opened before the lock was taken") }
	if err := second.Run(t.Context()); !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), "another daemon does") {
		t.Errorf("a second daemon: %v", err)
	}

	// Another's lock, under a name of its own first: the daemon may be as fast.
	lock, err := durable.TryLock(s.path("state/other.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if err := os.Rename(s.path("state/other.lock"), s.path("state/watch.lock")); err != nil {
		t.Fatal(err)
	}
	if err := <-s.ended; !errors.Is(err, durable.ErrLocked) {
		t.Errorf("beside another: %v", err)
	}
	s.ended <- nil
}
