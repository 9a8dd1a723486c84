package starttls

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// TestPostgres: a real server, with TLS and without.
func TestPostgres(t *testing.T) {
	lab.Need(t, "openssl", "initdb", "postgres")
	dir, err := os.MkdirTemp("", "pg") // short enough for its socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	makeKey(t, dir, "server", "rsa:2048")
	as := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	run := exec.Command(lab.Path(t, "initdb"), "-D", data, "-U", "lab", "-A", "trust", "--no-sync")
	run.SysProcAttr, run.Dir = as, dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	for _, ssl := range []bool{true, false} {
		t.Run(strconv.FormatBool(ssl), func(t *testing.T) {
			port := lab.FreePort(t)
			args := []string{"-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir, "-c", "fsync=off"}
			if ssl {
				args = append(args, "-c", "ssl=on", "-c", "ssl_cert_file="+dir+"/server.pem", "-c", "ssl_key_file="+dir+"/server.key")
			}
			server := exec.Command(lab.Path(t, "postgres"), args...)
			server.SysProcAttr, server.Dir = as, dir
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				server.Process.Signal(syscall.SIGINT)
				server.Wait()
			})
			addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
			var s Served
			var err error
			lab.Until(t, "postgres answers", func() error {
				s, err = Dial(context.Background(), addr, Options{Protocol: Postgres, Timeout: 10 * time.Second})
				if errors.Is(err, ErrUnreachable) {
					return err
				}
				return nil
			})
			if !ssl {
				if !errors.Is(err, ErrNoStartTLS) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Chain) != 1 || string(s.Chain[0]) != string(der(t, filepath.Join(dir, "server.pem"))) {
				t.Error("the chain is not the server's certificate")
			}
		})
	}
}

// unprivileged gives the directory to a user that postgres runs as: it refuses
// to be root.
func unprivileged(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, dir) {
		if err := os.Chown(f, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
