package lines

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/config"
)

// TestKeyGroup: the group of a line may read its keys, also those from before, in a
// directory of the line's own; any other mode is refused as before.
func TestKeyGroup(t *testing.T) {
	w := still(t, 50)
	gid := os.Getgid()
	if os.Geteuid() == 0 {
		gid = 65534
	}
	w.line.KeyGroup, w.line.Mode, w.line.Combined, w.line.Dir = &gid, 0o604, true, filepath.Join(w.hook.StateDir, "elsewhere")
	old := w.files().Live.Key.ID
	if err := os.Rename(PathsOf(w.hook, "mail").Line, w.line.Dir); err != nil {
		t.Fatal(err)
	}
	w.hook.Lines = []config.Line{w.line}
	if err := w.run(Word{Renew: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	f := w.files()
	p := PathsOf(w.hook, "mail")
	if f.Live.Number != 2 || f.Live.Key.ID != old || f.Next == nil || p.Line != w.line.Dir {
		t.Fatalf("%+v in %s", f.Live, p.Line)
	}
	for path, want := range map[string]os.FileMode{
		p.key(old): 0o640, p.key(f.Next.ID): 0o640, filepath.Join(w.line.Dir, "live", "combined.pem"): 0o640,
		p.Keys: 0o750, w.hook.KeysDir: 0o711, filepath.Join(w.line.Dir, "live", "cert.pem"): 0o604,
		filepath.Join(w.line.Dir, "live", "fullchain.pem"): 0o604,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info, err)
			continue
		}
		if st := info.Sys().(*syscall.Stat_t); (want == 0o640 || want == 0o750) && int(st.Gid) != gid {
			t.Errorf("%s: group %d", path, st.Gid)
		}
	}
	if _, err := ReadKey(p.key(old)); err == nil {
		t.Error("read without the group")
	}
	if _, err := os.Stat(filepath.Join(w.hook.LinesDir, "mail")); err == nil {
		t.Error("something was written to lines/")
	}
}

// TestFilesCommand: a program names more files of a service; what is no path is refused.
func TestFilesCommand(t *testing.T) {
	w := newWorld(t, 90*day, 51)
	dir := t.TempDir()
	file, other := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "other.pem")
	certificate(t, w, file)
	certificate(t, w, other)
	s := config.Service{
		Name: "quic", Cert: file, ProbeOff: true, Reload: []string{"true"}, Timeout: time.Minute,
		Lists: []string{script(t, dir, "list", "echo warning >&2; echo; echo "+other)},
	}
	tr := &Trigger{Config: &config.Hook{StateDir: dir}, Hook: RunHook, Now: func() time.Time { return w.now }}
	for _, want := range []string{"reload", "nothing"} {
		if got := tr.Pull(t.Context(), s); got.Did != want || got.Error != "" {
			t.Errorf("%+v", got)
		}
	}
	certificate(t, w, other)
	if got := tr.Pull(t.Context(), s); got.Did != "reload" || got.Error != "" {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{
		"echo other.pem":  `files-from: "other.pem" is no absolute path`,
		"exit 1":          "exit status 1",
		"seq -f /%g 1001": "files-from: more than 1000 files",
	} {
		s.Lists = []string{script(t, dir, "list", text)}
		if got := tr.Pull(t.Context(), s); got.Did != "nothing" || !strings.HasSuffix(got.Error, want) {
			t.Errorf("%+v", got)
		}
	}
}

// TestStarted: what counts is when the process was started, not when its file was
// written last.
func TestStarted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pid")
	script(t, dir, "x", "sleep 300 & echo $! >"+path)
	before := time.Now().Add(-2 * time.Second)
	if err := RunHook(t.Context(), Hook{Argv: []string{filepath.Join(dir, "x")}, Env: []string{plainPath}, Dir: dir, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	at, err := started(path)
	kill(t, path)
	if err != nil || at.Before(before) || known(t) && at.After(later.Add(-time.Minute)) {
		t.Errorf("%s %v", at, err)
	}
	if err := os.WriteFile(path, []byte("2147483647\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := started(path); err == nil {
		t.Error("a process that is not there was started")
	}
}

// known reports whether the system tells when a process was started.
func known(t *testing.T) bool {
	t.Helper()
	at, err := startOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return !at.IsZero()
}
