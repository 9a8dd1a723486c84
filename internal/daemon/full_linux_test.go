package daemon

import (
	"bytes"
	"os"
	"testing"

	"zonebuild/internal/lab"
)

// TestDiskFull: the disk under signed/ and state/ is full for a while. What is served
// stays; when there is room again, what came meanwhile is published by itself.
func TestDiskFull(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, true)
	lab.Mount(t, "none", s.path("signed"), "tmpfs", 0, "size=128k")
	if err := os.MkdirAll(s.path("state"), 0o755); err != nil {
		t.Fatal(err)
	}
	lab.Mount(t, "none", s.path("state"), "tmpfs", 0, "size=256k")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww TXT before\n")
	s.start()
	s.until("the zone is confirmed", func() bool { return s.status().Confirmed })
	fill := func(name string) {
		t.Helper()
		f, err := os.Create(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := bytes.Repeat([]byte{'x'}, 4096); err == nil; {
			_, err = f.Write(block)
		}
	}
	for _, dir := range []string{"signed", "state"} {
		was := s.logged("no space left on device")
		fill(dir + "/filler")
		s.write("primary/example.org", "ns1 A 192.0.2.53\nwww TXT full-"+dir+"\n")
		s.until("it is said", func() bool { return s.logged("no space left on device") > was })
		if v := s.txt("www.example.org."); len(v) != 1 {
			t.Errorf("%s is full, and nsd answers %q", dir, v)
		}
		s.remove(dir + "/filler")
		s.until("the change is answered", s.answers("www.example.org.", "full-"+dir))
		s.until("it is confirmed", func() bool { return s.status().Confirmed && len(s.status().Alarms) == 0 })
	}
}
