package watch

import (
	"os"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

func (s *site) mount(from, to, kind string, flags uintptr, data string) {
	s.t.Helper()
	lab.Mount(s.t, from, s.path(to), kind, flags, data)
}

// TestMountedOver: a file system over a watched directory, for which the system
// has no event, is found by the next look, and so is its end.
func TestMountedOver(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, []string{"d"}, Source{Name: "d", Paths: []string{"d"}})
	s.write("d/a", "1")
	same(t, "below", s.look("d"), "+d/a")
	for range 2 {
		s.mount("none", "d", "tmpfs", 0, "")
		same(t, "mounted over", s.look("d"), "-d/a")
		s.calm("d", "d")
		s.write("d/b", "1")
		s.hinted("d")
		same(t, "an event there", s.look("d"), "+d/b")
		lab.Unmount(t, s.path("d"))
		same(t, "unmounted", s.look("d"), "+d/a", "-d/b")
		s.calm("d", "d")
		s.write("d/a", "2")
		s.hinted("d")
		same(t, "an event here", s.look("d"), "~d/a")
		s.write("d/a", "1")
		s.look("d")
	}
}

// TestReadOnlyBind: a thousand fragments over a read-only bind mount, and again
// after it was gone and came back.
func TestReadOnlyBind(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, []string{"jail", "box"})
	bind := func() { lab.BindReadOnly(t, s.path("jail"), s.path("box")) }
	bind()
	if err := os.WriteFile(s.path("box/x"), nil, 0o644); err == nil {
		t.Fatal("the mount is not read-only")
	}
	v := &live{t: t, box: s.path("box")}
	v.run(eyesOptions{newNotifier: newNotify}, 300*time.Millisecond)
	t.Logf("dropped to built: median %s in %d builds", v.fragments(s.path("jail")), v.builds)
	lab.Unmount(t, s.path("box"))
	v.until("unmounted", func(served map[string]string) bool { return len(served) == 0 })
	drop(t, s.path("jail"), "meanwhile", "x")
	bind()
	v.until("mounted again", func(served map[string]string) bool { return served["meanwhile"] == "x" })
	drop(t, s.path("jail"), "then", "x")
	v.until("then", func(served map[string]string) bool { return served["then"] == "x" })
}

// TestOverlay: what is written below an overlay makes no event; a look finds it.
func TestOverlay(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, []string{"real", "merged"}, Source{Name: "d", Paths: []string{"merged"}})
	s.mount("none", "real", "tmpfs", 0, "")
	for _, dir := range []string{"real/lower", "real/upper", "real/work"} {
		s.must(os.Mkdir(s.path(dir), 0o755))
	}
	s.mount("none", "merged", "overlay", 0, "lowerdir="+s.path("real/lower")+",upperdir="+s.path("real/upper")+",workdir="+s.path("real/work"))
	s.look("d")
	s.write("real/upper/a", "1")
	same(t, "above", s.look("d"), "+merged/a")
	s.write("real/upper/a", "2")
	same(t, "again", s.look("d"), "~merged/a")
}
