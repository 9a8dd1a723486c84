package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/sshfp"
	"zonebuild/tlsa"
	"zonebuild/zone"
)

// TestEar: who waits for a source that hangs does so once; nothing more is read of it
// until it answers, and then the zones that did without are woken.
func TestEar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var woken []string
		begun := time.Now()
		b := &Beside{Wake: func(apex domain.Name) { woken = append(woken, apex.String()) }, Clock: func() time.Duration { return time.Since(begun) }}
		e := b.ear("dead")
		if b.ear("dead") != e || b.ear("other") == e {
			t.Fatal("an ear is of one source")
		}
		answer := make(chan int)
		var late []int
		read := func() (int, error) { return <-answer, nil }
		over := b.listen()
		if _, err := hear(e, read, func(v int) { late = append(late, v) }); !errors.Is(err, errMute) || time.Since(begun) != hearPatience {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		at := time.Now()
		if _, err := hear(e, read, nil); !errors.Is(err, errMute) || !time.Now().Equal(at) {
			t.Errorf("again: %v after %s", err, time.Since(at))
		}
		if v, err := hear(b.ear("other"), func() (int, error) { return 7, nil }, nil); v != 7 || err != nil {
			t.Errorf("another source: %d %v", v, err)
		}
		over([]domain.Name{domain.MustParse("one.test")})
		b.listen()([]domain.Name{domain.MustParse("two.test")}) // a pass that read nothing of it
		if len(woken) > 0 {
			t.Errorf("%q are woken by a source that hangs", woken)
		}
		answer <- 1
		synctest.Wait()
		if !slices.Equal(woken, []string{"one.test."}) || !slices.Equal(late, []int{1}) {
			t.Errorf("woken %q, late %v", woken, late)
		}
		if v, err := hear(e, func() (int, error) { return 2, nil }, nil); v != 2 || err != nil {
			t.Errorf("when it answers: %d %v", v, err)
		}
	})
}

// hanging is a file system of which the reading of one file waits.
type hanging struct {
	fs.FS
	name string
	gate chan struct{}
}

func (h hanging) Open(name string) (fs.File, error) {
	f, err := h.FS.Open(name)
	if err == nil && name == h.name {
		f = hangingFile{f, h.gate}
	}
	return f, err
}

type hangingFile struct {
	fs.File
	gate chan struct{}
}

func (f hangingFile) Read(b []byte) (int, error) {
	<-f.gate
	return f.File.Read(b)
}

// TestEarFile: a file that is opened and then hangs is given up, too.
func TestEarFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{fstest.MapFS{"slow": {Data: []byte("slow")}, "quick": {Data: []byte("quick")}}, "slow", make(chan struct{})}
		e := &ear{}
		heard := heardFS{h, e}
		if b, err := zone.ReadFile(heard, "quick"); string(b) != "quick" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		if _, err := zone.ReadFile(heard, "slow"); !errors.Is(err, errMute) {
			t.Errorf("slow: %v", err)
		}
		if _, err := zone.ReadFile(heard, "quick"); !errors.Is(err, errMute) || e.deaf() != 2 {
			t.Errorf("while it hangs: %v, %d readings were done without", err, e.deaf())
		}
		close(h.gate)
		synctest.Wait()
		if b, err := zone.ReadFile(heard, "slow"); string(b) != "slow" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		if _, err := zone.ReadFile(heard, "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("none: %v", err)
		}
	})
}

// heardFS is treeFS over another file system.
type heardFS struct {
	fs.FS
	ear *ear
}

func (h heardFS) Open(name string) (fs.File, error) {
	return hearFile(h.ear, func() (fs.File, error) { return h.FS.Open(name) })
}

// TestHangs: what takes longer than it may is named, the oldest of it, until it is done.
func TestHangs(t *testing.T) {
	var now time.Duration
	b := &Beside{Clock: func() time.Duration { return now }}
	first := b.does("list %s", "keys")
	now = time.Second
	second := b.does("save")
	now = 10 * time.Second
	for _, tt := range []struct {
		least time.Duration
		want  string
	}{{0, "list keys"}, {10 * time.Second, "list keys"}, {11 * time.Second, ""}} {
		if got := b.Hangs(tt.least); got != tt.want {
			t.Errorf("for %s: %q, want %q", tt.least, got, tt.want)
		}
	}
	first()
	if got := b.Hangs(9 * time.Second); got != "save" {
		t.Errorf("then: %q", got)
	}
	second()
	if got := b.Hangs(0); got != "" {
		t.Errorf("at last: %q", got)
	}
	(*Beside)(nil).does("nothing")()
}

// TestUnheardParts: of certs.map, certs/ and sshfp/ that are in other hands or do not answer,
// what was read last stands; what is wrong with a file that answers is told.
func TestUnheardParts(t *testing.T) {
	dir := t.TempDir()
	if err := durable.MkdirAll(filepath.Join(dir, "soa"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "soa", "example.org"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, faults := config.Load(dir)
	if faults.HasErrors() || len(cfg.Zones) != 1 {
		t.Fatal(faults)
	}
	p := cfg.Paths
	deaf := &Beside{ears: map[string]*ear{"dir " + p.SSHFP: {late: 1}, "dir " + p.Certs: {late: 1}, "file " + p.CertsMap: {late: 1}}}
	for name, tree := range map[string]*Tree{
		"mute": {Config: cfg, beside: deaf},
		"away": {Config: cfg, away: []string{"sshfp", "certs"}, held: true},
	} {
		tree.last = &lastRead{files: map[string]fileRead{}}
		if text, err := tree.readMap(); text != nil || !unheard(err) {
			t.Errorf("%s: a map that was never read: %q %v", name, text, err)
		}
		tree.last.known, tree.last.text = true, []byte("a.pem www.example.org 25 next=b.pem\n")
		if text, err := tree.readMap(); string(text) != string(tree.last.text) || err != nil {
			t.Errorf("%s: the map: %q %v", name, text, err)
		}

		read := &tlsa.Material{}
		tree.last.files["a.pem"] = fileRead{material: read}
		tree.scanCerts()
		groups := tree.certs.groups[cfg.Zones[0].Name]
		if len(groups) != 1 {
			t.Fatalf("%s: %d groups", name, len(groups))
		}
		if keys := tree.certs.keys(groups[0]); keys[0].Live.Material != read || keys[0].Live.Err != nil || !unheard(keys[0].Next.Err) {
			t.Errorf("%s: %+v", name, keys)
		}
		tree.certs.unread = fs.ErrPermission
		if keys := tree.certs.keys(groups[0]); keys[0].Live.Material != nil || !errors.Is(keys[0].Live.Err, fs.ErrPermission) {
			t.Errorf("%s, not to be read: %+v", name, keys)
		}

		tree.scanHostKeys()
		if tree.hostKeys == nil || tree.hostKeys.Unread == "" {
			t.Errorf("%s: host keys that were never read: %+v", name, tree.hostKeys)
		}
		was := &sshfp.Set{}
		tree.hostKeys = was
		if tree.scanHostKeys(); tree.hostKeys != was {
			t.Errorf("%s: the host keys are others", name)
		}
	}
}
