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

// TestCopy: what is written into one of the two in place leaves the other.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	good := strings.Repeat("good", 20000)
	put(t, from, good)
	put(t, to, "older")
	put(t, filepath.Join(dir, ".to.tmp"), "left over")
	if err := os.Chmod(from, 0o640); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Copy(from, to); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, "from="+good, "to="+good)
	}
	if info, _ := os.Stat(to); info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	put(t, from, "damaged in place")
	holds(t, dir, "from=damaged in place", "to="+good)
}

func TestCopyFaults(t *testing.T) {
	for _, step := range []string{"open", "write", "sync", "rename"} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		put(t, from, "good")
		put(t, to, "older")
		if err := copyFile(from, to, failing(step, syscall.ENOSPC)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", step, err)
		}
		holds(t, dir, "from=good", "to=older")
	}
	dir := t.TempDir()
	want := "copy " + dir + "/none to " + dir + "/to: open " + dir + "/none: no such file or directory"
	if err := Copy(dir+"/none", dir+"/to"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	holds(t, dir)
}
