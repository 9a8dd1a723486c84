package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func failing(at string, err error) Options {
	return Options{fault: func(step string) error {
		if step == at {
			return err
		}
		return nil
	}}
}

func TestCreateFile(t *testing.T) {
	for _, o := range []Options{{}, failing("link", syscall.EPERM)} { // with and without links
		dir := t.TempDir()
		path := filepath.Join(dir, "key")
		o.Mode = 0o600
		if err := CreateFile(path, []byte("first"), o); err != nil {
			t.Fatal(err)
		}
		err := CreateFile(path, []byte("second"), o)
		if !errors.Is(err, fs.ErrExist) || err.Error() != "create "+path+": file "+map[bool]string{true: "already exists", false: "exists"}[o.fault != nil] {
			t.Errorf("got %v", err)
		}
		holds(t, dir, "key=first")
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Nlink != 1 {
			t.Errorf("%d names", st.Nlink)
		}
	}
}

func TestCreateFileFaults(t *testing.T) {
	for _, step := range []string{"open", "chmod", "write", "sync", "link"} {
		dir := t.TempDir()
		if err := CreateFile(filepath.Join(dir, "key"), []byte("new"), failing(step, syscall.ENOSPC)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", step, err)
		}
		holds(t, dir)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	put(t, path, "")
	for range 2 {
		if err := Remove(path); err != nil {
			t.Error(err)
		}
	}
	if err := MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path); err == nil || err.Error() != "remove "+path+": directory not empty" {
		t.Errorf("got %v", err)
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	put(t, from, "good")
	put(t, to, "older")
	put(t, filepath.Join(dir, ".to.tmp"), "left over")
	for range 2 { // the second time they are one file already
		if err := Link(from, to); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, "from=good", "to=good")
		if !same(from, to) {
			t.Error("a copy, no link")
		}
	}
	// Replacing one name leaves the other as it was.
	if err := WriteFile(from, []byte("next"), Options{}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, "from=next", "to=good")
}

// TestLinkRefused: a copy takes its place, with the permissions.
func TestLinkRefused(t *testing.T) {
	for _, refusal := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK, syscall.ENOTSUP} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		put(t, from, strings.Repeat("good", 20000))
		put(t, to, "older")
		if err := os.Chmod(from, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := link(from, to, failing("link", refusal)); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, "from="+strings.Repeat("good", 20000), "to="+strings.Repeat("good", 20000))
		if info, _ := os.Stat(to); info.Mode() != 0o640 || same(from, to) {
			t.Errorf("mode %v", info.Mode())
		}
	}
}

func TestLinkFaults(t *testing.T) {
	for _, step := range []string{"link", "rename"} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		put(t, from, "good")
		put(t, to, "older")
		if err := link(from, to, failing(step, syscall.ENOSPC)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", step, err)
		}
		holds(t, dir, "from=good", "to=older")
	}
	dir := t.TempDir()
	want := "link " + dir + "/none to " + dir + "/to: no such file or directory"
	if err := Link(dir+"/none", dir+"/to"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	holds(t, dir)
}
