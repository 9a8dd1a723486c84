package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// holds fails unless dir holds exactly these files, written as NAME=TEXT.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			b = []byte(err.Error())
		}
		got = append(got, e.Name()+"="+string(b))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestStage(t *testing.T) {
	dir := t.TempDir()
	f, err := Stage(dir, "zone", Options{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "____ world")
	if _, err := f.WriteAt([]byte("brave"), 4); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, ".zone.tmp"); f.Path() != want || f.Name() != "zone" {
		t.Errorf("path %s, name %s", f.Path(), f.Name())
	}
	holds(t, dir, ".zone.tmp=____braved")
	if err := f.Commit(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(); err != nil {
		t.Errorf("discard after commit: %v", err)
	}
	holds(t, dir, "zone=____braved")
	if err := f.Commit(time.Time{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second commit: %v", err)
	}
	holds(t, dir, "zone=____braved")
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "zone"), "old")
	f, err := Stage(dir, "zone", Options{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "new")
	if err := errors.Join(f.Discard(), f.Discard()); err != nil {
		t.Error(err)
	}
	holds(t, dir, "zone=old")
	if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after discard: %v", err)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", ".", "..", "a/b", "../a", "/a"} {
		_, err := Stage(dir, name, Options{})
		want := fmt.Sprintf("stage %s: %q is no file name", filepath.Join(dir, name), name)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	holds(t, dir)
}

// TestModificationTime: a name server that compares times sees every version.
func TestModificationTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	mtime := func() time.Time {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	var last time.Time
	for range 50 {
		if err := WriteFile(path, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		if now := mtime(); !now.After(last) {
			t.Fatalf("%s after %s", now, last)
		} else {
			last = now
		}
	}
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, future, future); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if now := mtime(); !now.After(future) || now.After(future.Add(time.Second)) {
		t.Errorf("replaced %s by %s", future, now)
	}
	f, err := Stage(filepath.Dir(path), "zone", Options{})
	if err != nil {
		t.Fatal(err)
	}
	later := future.Add(time.Hour)
	if err := f.Commit(later); err != nil {
		t.Fatal(err)
	}
	if now := mtime(); !now.After(later) || now.After(later.Add(time.Second)) {
		t.Errorf("after %s: %s", later, now)
	}
}

// TestFaults lets each step fail: the old file stays, nothing else does.
func TestFaults(t *testing.T) {
	tests := []struct {
		step string
		err  syscall.Errno
		want string
	}{
		{"open", syscall.EROFS, "stage DIR/zone: read-only file system"},
		{"chown", syscall.EPERM, "stage DIR/zone: operation not permitted"},
		{"chmod", syscall.EIO, "stage DIR/zone: input/output error"},
		{"write", syscall.ENOSPC, "write DIR/zone: no space left on device"},
		{"mtime", syscall.EPERM, "commit DIR/zone: operation not permitted"},
		{"sync", syscall.EIO, "commit DIR/zone: input/output error"},
		{"close", syscall.EDQUOT, "commit DIR/zone: disk quota exceeded"},
		{"rename", syscall.EROFS, "commit DIR/zone: read-only file system"},
		{"syncdir", syscall.EIO, "commit DIR/zone: input/output error"},
	}
	gid := os.Getgid()
	for _, tt := range tests {
		t.Run(tt.step, func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "zone"), "old")
			o := Options{Group: &gid, fault: func(step string) error {
				if step == tt.step {
					return &fs.PathError{Op: step, Path: "hidden", Err: tt.err}
				}
				return nil
			}}
			err := WriteFile(filepath.Join(dir, "zone"), []byte("new"), o)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v", err)
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if tt.step == "syncdir" { // the only step behind the rename
				holds(t, dir, "zone=new")
			} else {
				holds(t, dir, "zone=old")
			}
		})
	}
}

// TestInTheWay: what stands at the place of the temporary file or the target.
func TestInTheWay(t *testing.T) {
	tests := []struct {
		name  string
		place func(dir string) error
		want  string // the error, or "" for success
	}{
		{"left-over", func(dir string) error { return os.WriteFile(dir+"/.zone.tmp", []byte("half"), 0o400) }, ""},
		{"link as temporary file", func(dir string) error { return os.Symlink("../victim", dir+"/.zone.tmp") }, ""},
		{"link as target", func(dir string) error { return os.Symlink("../victim", dir+"/zone") }, ""},
		{"dangling link", func(dir string) error { return os.Symlink("../none", dir+"/zone") }, ""},
		{"FIFO as temporary file", func(dir string) error { return syscall.Mkfifo(dir+"/.zone.tmp", 0o644) }, ""},
		{"FIFO as target", func(dir string) error { return syscall.Mkfifo(dir+"/zone", 0o644) }, ""},
		{"directory as temporary file", func(dir string) error { return os.MkdirAll(dir+"/.zone.tmp/x", 0o755) }, "stage DIR/zone: directory not empty"},
		{"directory as target", func(dir string) error { return os.MkdirAll(dir+"/zone", 0o755) }, "commit DIR/zone: file exists"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "d")
			put(t, filepath.Join(top, "victim"), "precious")
			if err := errors.Join(os.Mkdir(dir, 0o755), tt.place(dir)); err != nil {
				t.Fatal(err)
			}
			err := WriteFile(filepath.Join(dir, "zone"), []byte("new"), Options{})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				holds(t, dir, "zone=new")
				if info, err := os.Lstat(filepath.Join(dir, "zone")); err != nil || !info.Mode().IsRegular() {
					t.Errorf("%v %v", info, err)
				}
			} else if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if b, err := os.ReadFile(filepath.Join(top, "victim")); string(b) != "precious" {
				t.Errorf("the link's target: %q %v", b, err)
			}
			if _, err := os.Lstat(filepath.Join(top, "none")); err == nil {
				t.Error("wrote through a dangling link")
			}
		})
	}
}

// TestOwner: root leaves no root-owned file in another user's tree.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nothing to give away")
		return
	}
	const uid, gid, group = 12345, 12346, 12347
	dir := filepath.Join(t.TempDir(), "theirs")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	g := group
	lock, err := TryLock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if err := errors.Join(
		WriteFile(filepath.Join(dir, "plain"), nil, Options{}),
		WriteFile(filepath.Join(dir, "grouped"), nil, Options{Group: &g}),
		CreateFile(filepath.Join(dir, "created"), nil, Options{}),
		MkdirAll(filepath.Join(dir, "a", "b"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	for name, wantGID := range map[string]uint32{"plain": gid, "grouped": group, "created": gid, "lock": gid, "a": gid, "a/b": gid} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != wantGID {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}

	// The owner of the tree cannot be given anything else by a link.
	victim := t.TempDir()
	if err := os.Symlink(victim, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := settle(filepath.Join(dir, "link"), dir, 0o777); !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ELOOP) {
		t.Errorf("settle a link: %v", err)
	}
	if info, _ := os.Stat(victim); info.Sys().(*syscall.Stat_t).Uid != 0 || info.Mode().Perm() == 0o777 {
		t.Error("gave the link's target away")
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), "")
	if err := MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/b"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if err := MkdirAll(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Error(err)
	}
	if info, _ := os.Stat(filepath.Join(dir, "a")); info.Mode().Perm() != 0o700 {
		t.Error("changed a directory that was there")
	}
	if err := MkdirAll(filepath.Join(dir, "file"), 0o755); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("got %v", err)
	}
	if err := MkdirAll(filepath.Join(dir, "file", "x"), 0o755); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("got %v", err)
	}
}

// TestCommitLetsGo: what a new version replaces is not kept open.
func TestCommitLetsGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	open := func() int {
		dir := "/dev/fd"
		if _, err := os.Stat("/proc/self/fd"); err == nil {
			dir = "/proc/self/fd"
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for i := range 20 {
		if err := WriteFile(path, bytes.Repeat([]byte{byte(i)}, largeFile), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); open() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d files are open, %d were", open(), before)
		}
	}
}
