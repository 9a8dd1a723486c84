package durable

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReadRegular(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "box")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "dir"), 0o755),
		os.WriteFile(filepath.Join(top, "secret"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(dir, "plain"), []byte("12345678"), 0o644),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "big"), []byte("123456789"), 0o644),
		os.Symlink("../secret", filepath.Join(dir, "out")),
		os.Symlink("plain", filepath.Join(dir, "link")),
		os.Symlink("/dev/zero", filepath.Join(dir, "zero")),
		os.Symlink("none", filepath.Join(dir, "dangling")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // a socket's path is bounded
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tests := []struct{ name, want, fault string }{
		{"plain", "12345678", ""},
		{"empty", "", ""},
		{"big", "", "open BOX/big: too large: more than 8 octets"},
		{"out", "", "open BOX/out: not a regular file"},
		{"link", "", "open BOX/link: not a regular file"},
		{"zero", "", "open BOX/zero: not a regular file"},
		{"dangling", "", "open BOX/dangling: not a regular file"},
		{"fifo", "", "open BOX/fifo: not a regular file"},
		{"socket", "", "open BOX/socket: not a regular file"},
		{"dir", "", "open BOX/dir: not a regular file"},
		{"none", "", "open BOX/none: no such file or directory"},
		{"../secret", "", `open TOP/secret: "../secret" is no file name`},
		{"dir/..", "", `open BOX: "dir/.." is no file name`},
		{"..", "", `open TOP: ".." is no file name`},
		{"", "", `open BOX: "" is no file name`},
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for _, tt := range tests {
			b, info, err := ReadRegular(dir, tt.name, 8)
			fault := ""
			if err != nil {
				fault = strings.NewReplacer(dir, "BOX", top, "TOP").Replace(err.Error())
			}
			if string(b) != tt.want || fault != tt.fault || err == nil && info.Size() != int64(len(b)) {
				t.Errorf("%s: got %q %s, want %q %s", tt.name, b, fault, tt.want, tt.fault)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("waits for a file of another kind")
	}
	if _, _, err := ReadRegular("/dev", "zero", 8); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a device: %v", err)
	}
}

// TestReadGrowing: what is read is bounded too, not only what fstat says.
func TestReadGrowing(t *testing.T) {
	if _, err := os.Stat("/proc/version"); err != nil {
		t.Log("no file here that tells a smaller size than it has")
		return
	}
	if _, _, err := ReadRegular("/proc", "version", 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
