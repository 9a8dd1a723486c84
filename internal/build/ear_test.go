package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
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
		var mu sync.Mutex
		var woken, told []string
		note := func(list *[]string, word string) {
			mu.Lock()
			defer mu.Unlock()
			*list = append(*list, word)
		}
		begun := time.Now()
		b := &Beside{
			Wake: func(apex domain.Name) { note(&woken, apex.String()) }, Clock: func() time.Duration { return time.Since(begun) },
			Mute: func(source string, mute bool) { note(&told, fmt.Sprint(source, " ", mute)) },
		}
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
		_, err := hear(e, read, nil)
		mu.Lock()
		if len(woken) > 0 || !slices.Equal(late, []int{1}) || !errors.Is(err, errMute) {
			t.Errorf("woken %q before it has rested, late %v: %v", woken, late, err)
		}
		mu.Unlock()
		time.Sleep(hearRest * hearPatience)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(woken, []string{"one.test."}) || !slices.Equal(told, []string{"dead true", "dead false"}) {
			t.Errorf("woken %q, told %q", woken, told)
		}
		if v, err := hear(e, func() (int, error) { return 2, nil }, nil); v != 2 || err != nil {
			t.Errorf("when it answers: %d %v", v, err)
		}
	})
}

// newEar is an ear with the clock of a bubble.
func newEar() *ear {
	begun := time.Now()
	return &ear{clock: func() time.Duration { return time.Since(begun) }}
}

// TestEarLate: a source that was given up long ago is read at once when it answers.
func TestEarLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var woken []string
		e := newEar()
		e.wake = func(apex domain.Name) { woken = append(woken, apex.String()) }
		answer := make(chan int)
		if _, err := hear(e, func() (int, error) { return <-answer, nil }, nil); !errors.Is(err, errMute) {
			t.Error(err)
		}
		e.miss([]domain.Name{domain.MustParse("one.test")})
		time.Sleep(hearRest * hearPatience)
		answer <- 1
		synctest.Wait()
		if v, err := hear(e, func() (int, error) { return 2, nil }, nil); v != 2 || err != nil || !slices.Equal(woken, []string{"one.test."}) {
			t.Errorf("%d %v, woken %q", v, err, woken)
		}
	})
}

// TestEarSteps: a source that is slow and answers is read to its end; one that never
// comes to one is given up all the same, and others wait for it a quarter of the time.
func TestEarSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEar()
		scan := func(steps int, each time.Duration) func(func()) (int, error) {
			return func(step func()) (int, error) {
				for range steps {
					time.Sleep(each)
					step()
				}
				return steps, nil
			}
		}
		if v, err := hearSteps(e, scan(120, 100*time.Millisecond), nil); v != 120 || err != nil {
			t.Errorf("slow: %d %v", v, err)
		}
		begun := time.Now()
		if _, err := hearSteps(e, scan(2, hearPatience+time.Second), nil); !errors.Is(err, errMute) || time.Since(begun) != hearPatience {
			t.Errorf("one step hangs: %v after %s", err, time.Since(begun))
		}
		time.Sleep(time.Hour)
		var waited time.Duration
		for begun = time.Now(); time.Since(begun) < time.Hour; time.Sleep(100 * time.Millisecond) {
			at := time.Now()
			if _, err := hearSteps(e, scan(16, hearPatience-time.Second), nil); !errors.Is(err, errMute) {
				t.Error(err)
			}
			took := time.Since(at)
			if waited += took; took > hearMost+hearPatience {
				t.Errorf("waited for %s", took)
			}
		}
		if waited < 5*time.Minute || waited > 16*time.Minute {
			t.Errorf("waited for %s of an hour", waited)
		}
		time.Sleep(time.Hour)
	})
}

// hanging is a file system of which the reading of one file waits, or its closing.
type hanging struct {
	fs.FS
	name  string
	gate  chan struct{}
	close bool
}

func (h hanging) Open(name string) (fs.File, error) {
	f, err := h.FS.Open(name)
	if err == nil && name == h.name {
		f = hangingFile{f, h}
	}
	return f, err
}

type hangingFile struct {
	fs.File
	in hanging
}

func (f hangingFile) Read(b []byte) (int, error) {
	if !f.in.close {
		<-f.in.gate
	}
	return f.File.Read(b)
}

func (f hangingFile) Close() error {
	if f.in.close {
		<-f.in.gate
	}
	return f.File.Close()
}

// TestEarFile: a file that is opened and then hangs is given up, too.
func TestEarFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{FS: fstest.MapFS{"slow": {Data: []byte("slow")}, "quick": {Data: []byte("quick")}}, name: "slow", gate: make(chan struct{})}
		e := newEar()
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
		time.Sleep(time.Minute)
		if b, err := zone.ReadFile(heard, "slow"); string(b) != "slow" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		if _, err := zone.ReadFile(heard, "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("none: %v", err)
		}
	})
}

// TestEarClosing: one that hangs when it is closed, and one that is closed while it does,
// are closed when it answers; who read them does not wait.
func TestEarClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{FS: fstest.MapFS{"slow": {Data: []byte("slow")}}, name: "slow", gate: make(chan struct{}), close: true}
		e := newEar()
		heard := heardFS{h, e}
		other, err := heard.Open("slow")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if b, err := zone.ReadFile(heard, "slow"); string(b) != "slow" || err != nil || time.Since(begun) != hearPatience {
			t.Errorf("%q %v after %s", b, err, time.Since(begun))
		}
		begun = time.Now()
		if err := other.Close(); !errors.Is(err, errMute) || time.Since(begun) != 0 || e.deaf() != 1 {
			t.Errorf("the other: %v after %s, %d readings were done without", err, time.Since(begun), e.deaf())
		}
		close(h.gate) // else the bubble does not end
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

// TestHandTLSAHeld: of a primary/ that is in other hands, the records that were read last
// count, not what lies there now.
func TestHandTLSAHeld(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data := strings.Repeat("ab", 32)
	write("soa/example.org", "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n")
	write("primary/example.org", "ns1 A 192.0.2.53\nmail A 192.0.2.25\n_25._tcp.mail TLSA 3 1 1 "+data+"\n")
	tree, faults, err := Open(dir)
	if err != nil || faults.HasErrors() {
		t.Fatal(err, faults)
	}
	defer tree.Close()
	tree.Keep()
	z := &tree.Config.Zones[0]
	groups := []tlsa.Group{{Owner: domain.MustParse("_25._tcp.mail.example.org")}}
	was := handTLSA{Of: "before"}
	tree.held = true
	if is, ok := tree.handTLSA(z, groups, was); ok || is.Of != was.Of || tree.handWritten(z).Len() != 0 {
		t.Errorf("nothing was read, and it knows %+v", is)
	}
	tree.held = false
	if s := tree.hostSources(z); s.faults.HasErrors() {
		t.Fatal(s.faults)
	}
	fresh, ok := tree.handTLSA(z, groups, was)
	if !ok || len(fresh.Sets) != 1 {
		t.Fatalf("%+v", fresh)
	}
	write("primary/example.org", "ns1 A 192.0.2.53\n")
	tree.held = true
	if is, ok := tree.handTLSA(z, groups, fresh); !ok || !reflect.DeepEqual(is.Sets, fresh.Sets) || tree.handWritten(z).Len() != 3 {
		t.Errorf("held: %+v, %d records", is, tree.handWritten(z).Len())
	}
	tree.held = false
	if is, ok := tree.handTLSA(z, groups, fresh); !ok || len(is.Sets) != 0 {
		t.Errorf("free again: %+v", is)
	}
}
