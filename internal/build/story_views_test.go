package build_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestViews: two trees with one zone for two audiences share keys/. Keys are made
// once, whoever is first; both zones verify with one DS, and each tree keeps its
// own locks, serials and state.
func TestViews(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-verify-zone")
	p := newProgram(t)
	keys := filepath.Join(t.TempDir(), "keys")
	views := map[string]*site{}
	for view, address := range map[string]string{"inside": "10.0.0.1", "outside": "192.0.2.1"} {
		files := smallZone("www A " + address + "\n")
		files["zonebuild.toml"] = "[paths]\nkeys = \"" + keys + "\"\n"
		s := &site{t: t, dir: t.TempDir()}
		for path, text := range files {
			s.write(path, text)
		}
		views[view] = s
	}
	var made sync.Map
	var wg sync.WaitGroup
	for view, s := range views {
		for range 4 {
			wg.Go(func() {
				out, err := exec.Command(p.path, "-C", s.dir, "keygen", "example.org").CombinedOutput()
				if err == nil {
					made.Store(view+string(out), true)
				} else if !strings.Contains(string(out), "it has keys") {
					t.Errorf("%s: %v %s", view, err, out)
				}
			})
		}
	}
	wg.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	files, err := filepath.Glob(keys + "/*.private")
	if err != nil || n != 1 || len(files) != 2 {
		t.Fatalf("%d runs made keys, %d private keys are there", n, len(files))
	}
	for view, s := range views {
		wg.Go(func() {
			if said, code := p.run("-C", s.dir, "build", "--new-zone"); code != 0 {
				t.Errorf("%s: %s", view, said)
			}
		})
	}
	wg.Wait()
	set, err := views["inside"].open().DS(domain.MustParse("example.org"), dns.SHA256)
	if err != nil || len(set) != 1 {
		t.Fatalf("%v %v", set, err)
	}
	for view, s := range views {
		s.server = nil
		ds := filepath.Join(s.dir, "ds")
		if err := os.WriteFile(ds, []byte(set[0].String()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		p.must("verify", "--ds", ds, s.path("signed/example.org"))
		lab.Run(t, "ldns-verify-zone", "-k", ds, s.path("signed/example.org"))
		if s.alarms("example.org") != "" {
			t.Errorf("%s: %s", view, s.alarms("example.org"))
		}
	}
	if views["inside"].read("signed/example.org") == views["outside"].read("signed/example.org") {
		t.Error("both views are the same zone")
	}
	// A tree whose keys/ holds other keys than it published with is told so.
	views["inside"].write("zonebuild.toml", "")
	if _, err := views["inside"].open().MakeKeys(domain.MustParse("example.org"), build.KeyOptions{Now: views["inside"].at()}); err == nil || !strings.Contains(err.Error(), "it was published signed") {
		t.Errorf("keys were made for a zone that has some: %v", err)
	}
}
