package sshfp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/lab"
	"zonebuild/sshfp"
)

// output is what a server logs while a test looks at it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// sshd starts an OpenSSH server with host keys on a free port of 127.0.0.1 and
// gives the port. It lets in who has the key of authorized.
func sshd(t testing.TB, authorized string, keys ...string) int {
	t.Helper()
	program := lab.Path(t, "sshd")
	config := filepath.Join(t.TempDir(), "sshd_config")
	port := lab.FreePort(t)
	text := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile %s\nMaxStartups 100\n", port, authorized)
	for _, k := range keys {
		text += "HostKey " + k + "\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-D", "-e", "-f", config)
	if os.Getuid() == 0 { // as root it wants a directory that only a running system has
		lab.Need(t, "unshare", "mount")
		script := `mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"`
		cmd = exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh"}, cmd.Args...)...)
	}
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("sshd: %s", log)
		}
	})
	lab.Until(t, "sshd comes up", func() error {
		select {
		case <-ended:
			t.Fatalf("sshd ended: %s", log)
		default:
		}
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		head := make([]byte, 4)
		if _, err := c.Read(head); err != nil || string(head) != "SSH-" {
			return errors.Join(err, fmt.Errorf("it says %q", head))
		}
		return nil
	})
	return port
}

// scanned is what ssh-keyscan finds at a port.
func scanned(t testing.TB, port int) string {
	t.Helper()
	return lab.Run(t, "ssh-keyscan", "-T", "20", "-p", strconv.Itoa(port), "127.0.0.1")
}

// TestKeyscan: what ssh-keyscan writes of a real server. On its free port the
// lines name that port and are passed over; with the name that it writes for port
// 22 they give the records of ssh-keygen.
func TestKeyscan(t *testing.T) {
	t.Parallel()
	lab.Need(t, "sshd", "ssh-keygen", "ssh-keyscan")
	dir := t.TempDir()
	want := map[string]bool{}
	var keys []string
	for _, name := range []string{"rsa2048", "p384", "ed25519"} {
		k := keygen(t, dir, name, kinds()[name]...)
		keys = append(keys, k)
		for line := range strings.Lines(lab.Run(t, "ssh-keygen", "-r", hostName, "-f", k+".pub")) {
			want[line] = true
		}
	}
	port := sshd(t, "none", keys...)
	out := scanned(t, port)

	parsed, faults := sshfp.Parse("f", host(), []byte(out))
	if len(parsed.Published) != 0 || !faults.HasErrors() || count(faults, "sshfp-address") != 3 {
		t.Errorf("%+v %v", parsed, faults)
	}
	bracketed := fmt.Sprintf("[127.0.0.1]:%d", port)
	parsed, faults = sshfp.Parse("f", host(), []byte(strings.ReplaceAll(out, bracketed, "["+hostName+"]:22222")))
	if len(parsed.Published) != 0 || !faults.HasErrors() || count(faults, "sshfp-port") != 3 {
		t.Errorf("%+v %v", parsed, faults)
	}
	text := strings.ReplaceAll(out, bracketed, hostName)
	if parsed, faults = sshfp.Parse("f", host(), []byte(text)); len(faults) != 0 || len(parsed.Published) != 3 {
		t.Errorf("%+v %v\n%s", parsed, faults, text)
	}
	got := lines(t, text)
	for line := range strings.Lines(got) {
		if !want[line] {
			t.Errorf("ssh-keygen does not say %s", line)
		}
	}
	if strings.Count(got, "\n") != len(want) {
		t.Errorf("%s", got)
	}
}

func count(faults diag.List, code string) (n int) {
	for _, f := range faults {
		if f.Code == code {
			n++
		}
	}
	return n
}
