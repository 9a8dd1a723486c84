package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTreeRests: between two passes of a daemon nothing of the tree is open, so that it
// can be unmounted, and each pass finds what stands there then.
func TestTreeRests(t *testing.T) {
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	open := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && (to == s.dir || strings.HasPrefix(to, s.dir+"/")) {
				n++
			}
		}
		return n
	}
	before := open() // what the test itself has open
	tree := s.open()
	tree.Keep()
	if open() != before+1 {
		t.Fatal("nothing is seen of what is open")
	}
	for _, host := range []string{"www", "mail"} {
		s.write("primary/example.org", "ns1 A 192.0.2.53\n"+host+" A 192.0.2.1\n")
		if r, err := tree.Build(t.Context(), s.options()); err != nil || r.Code != ok {
			t.Fatalf("%+v %v", r, err)
		}
		if !strings.Contains(s.read("signed/example.org"), host) {
			t.Errorf("%s is not published", host)
		}
		if n := open() - before; n != 0 {
			t.Errorf("%d files of the tree are open", n)
		}
	}
}
