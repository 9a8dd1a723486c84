package build_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"zonebuild/internal/lab"
)

// TestEveryWriteFails: each call that changes the disk fails once, in every way
// that a disk fails. The zone stays whole, the run says so, and the next one
// converges.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	lab.Need(t, "strace")
	p := newProgram(t)
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	p.must("-C", s.dir, "-q", "build", "--new-zone")
	last := s.whole("example.org")
	failures, silent := 0, 0
	for _, call := range []struct{ name, errors string }{
		{"write", "EIO ENOSPC"}, {"pwrite64", "EIO ENOSPC"}, {"fsync", "EIO"}, {"renameat,renameat2,rename", "EIO ENOSPC EROFS"},
		{"linkat", "EIO EMLINK"}, {"fchmod", "EPERM"}, {"unlinkat", "EIO"}, {"flock", "ENOLCK"}, {"ftruncate", "EIO"},
	} {
		for _, kind := range strings.Fields(call.errors) {
			for when := 1; when <= 12; when++ {
				before := s.read("signed/example.org")
				s.write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.53\nwww TXT \"%s %s %d\"\n", call.name, kind, when))
				said, err := exec.Command(lab.Path(t, "strace"), "-f", "-qq", "-e", "trace="+call.name, "-e", "signal=none",
					"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call.name, kind, when), p.path, "-C", s.dir, "build").CombinedOutput()
				if strings.Contains(string(said), "ptrace") && strings.Contains(string(said), "Operation not permitted") {
					t.Fatalf("strace may not trace here: %s", said)
				}
				serial := s.whole("example.org")
				if serial != last && int32(serial-last) < 0 {
					t.Fatalf("%s %s %d: serial %d after %d", call.name, kind, when, serial, last)
				}
				if after := s.read("signed/example.org"); err != nil && after != before && !strings.Contains(after, fmt.Sprintf("%s %s %d", call.name, kind, when)) {
					t.Fatalf("%s %s %d: neither the old zone nor the new one\n%s", call.name, kind, when, said)
				}
				injected := strings.Contains(string(said), "(INJECTED)")
				if injected {
					failures++
					if err == nil {
						silent++ // it concerned nothing that matters, such as a temporary file's end
					}
				} else if err != nil {
					t.Fatalf("%s %s %d: nothing failed, and yet %v\n%s", call.name, kind, when, err, said)
				}
				p.must("-C", s.dir, "-q", "build") // what failed is done now
				last = s.whole("example.org")
				if !strings.Contains(s.read("signed/example.org"), fmt.Sprintf("%s %s %d", call.name, kind, when)) {
					t.Fatalf("%s %s %d: the next run did not publish", call.name, kind, when)
				}
				if s.alarms("example.org") != "" {
					t.Fatalf("%s %s %d: alarms %s", call.name, kind, when, s.alarms("example.org"))
				}
				if !injected {
					break // there is no such call any more
				}
			}
		}
	}
	if failures < 30 {
		t.Errorf("only %d calls failed: this proves little", failures)
	}
	t.Logf("%d calls failed, %d of them without a consequence", failures, silent)
	for _, dir := range []string{"signed", "unsigned", "state", "keys"} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), "tmp") {
				t.Errorf("%s/%s was left behind", dir, e.Name())
			}
		}
	}
}
