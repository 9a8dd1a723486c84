package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPeek compares with what package os says of the same files.
func TestPeek(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "small": "some octets\n", "large": string(bytes.Repeat([]byte("0123456789abcdef"), 1000))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("small", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := func(name string, buf []byte) (int, Stamp, error) { return PeekAt(d, name, buf) }
	by := func(name string, buf []byte) (int, Stamp, error) { return Peek(filepath.Join(dir, name), buf) }
	for how, peek := range map[string]func(string, []byte) (int, Stamp, error){"path": by, "directory": at} {
		for _, name := range []string{"empty", "small", "large", "link"} {
			path := filepath.Join(dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{0, 5, 100, 1 << 20} {
				buf := make([]byte, size)
				n, of, err := peek(name, buf)
				if name == "link" && how == "directory" {
					if err == nil {
						t.Errorf("%s: a link was followed", how)
					}
					continue
				}
				if err != nil || of != (Stamp{info.Size(), info.ModTime().UnixNano()}) || !bytes.Equal(buf[:n], text[:min(size, len(text))]) {
					t.Errorf("%s: %s, %d octets: %d %+v %v", how, name, size, n, of, err)
				}
			}
		}
		for name, want := range map[string]error{"none": fs.ErrNotExist, "fifo": ErrNotRegular, ".": nil} {
			if n, _, err := peek(name, make([]byte, 10)); err == nil || n != 0 || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %s: %d, %v", how, name, n, err)
			}
		}
	}
	for _, name := range []string{"..", "../x", "", "a/b"} {
		if _, _, err := PeekAt(d, name, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
