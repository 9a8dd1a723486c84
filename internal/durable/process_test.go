package durable

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play another process: its first argument after
// "as" says which.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as" {
		if err := act(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func act(role string, args []string) error {
	switch role {
	case "masked": // umask, directory
		mask, err := strconv.ParseInt(args[0], 8, 32)
		if err != nil {
			return err
		}
		syscall.Umask(int(mask))
		dir := args[1]
		_, err = TryLock(filepath.Join(dir, "lock"))
		return errors.Join(err,
			WriteFile(filepath.Join(dir, "default"), nil, Options{}),
			WriteFile(filepath.Join(dir, "private"), nil, Options{Mode: 0o600}),
			WriteFile(filepath.Join(dir, "shared"), nil, Options{Mode: 0o664}),
			CreateFile(filepath.Join(dir, "created"), nil, Options{Mode: 0o400}),
			MkdirAll(filepath.Join(dir, "sub"), 0o755))
	case "full": // path: no file may grow past 1,000 octets
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: 1000}); err != nil {
			return err
		}
		return WriteFile(args[0], make([]byte, 1500), Options{})
	case "write": // path: without end, 64 KiB of one letter each
		for i := 0; ; i++ {
			if err := WriteFile(args[0], version(i), Options{}); err != nil {
				return err
			}
			if i == 0 {
				fmt.Println("ready")
			}
		}
	case "hold": // path
		if _, err := TryLock(args[0]); err != nil {
			return err
		}
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "count": // lock, counter
		for range 50 {
			l, err := LockWait(context.Background(), args[0])
			if err != nil {
				return err
			}
			b, err := os.ReadFile(args[1])
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(b))
			if err != nil {
				return err
			}
			if err := os.WriteFile(args[1], []byte(strconv.Itoa(n+1)), 0o644); err != nil {
				return err
			}
			if err := l.Unlock(); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no role %q", role)
}

func version(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 1<<16) }

func as(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, self, append([]string{"as", role}, args...)...)
}

// begin starts a role and waits until it is ready.
func begin(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := as(t, role, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // closed when the role is over
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s: %q %v", role, line, err)
	}
	return cmd
}

func TestModes(t *testing.T) {
	for _, mask := range []string{"000", "077"} {
		dir := t.TempDir()
		if out, err := as(t, "masked", mask, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for name, want := range map[string]os.FileMode{
			"default": 0o644, "private": 0o600, "shared": 0o664, "created": 0o400, "lock": 0o644, "sub": os.ModeDir | 0o755,
		} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
				t.Errorf("umask %s: %s: %v %v", mask, name, info, err)
			}
		}
	}
}

// TestFull: a write that the system cuts short.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	put(t, path, "old")
	out, err := as(t, "full", path).CombinedOutput()
	if want := "write " + path + ": file too large\n"; err == nil || string(out) != want {
		t.Errorf("got %s (%v), want %s", out, err, want)
	}
	holds(t, dir, "zone=old")
}

// TestKilled kills a writer at any instant: the file is whole, and the next
// writer clears up.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	for i := range 40 {
		cmd := begin(t, "write", path)
		time.Sleep(time.Duration(i*i%37) * 300 * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		b, err := os.ReadFile(path)
		if err != nil || len(b) != 1<<16 || !bytes.Equal(b, bytes.Repeat(b[:1], len(b))) {
			t.Fatalf("after %d: %d octets, %v", i, len(b), err)
		}
	}
	if err := WriteFile(path, []byte("whole"), Options{}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, "zone=whole")
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone.lock")
	cmd := begin(t, "hold", path)
	want := fmt.Sprintf("locked by another process (pid %d)", cmd.Process.Pid)
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := LockWait(ctx, path); !errors.Is(err, ErrLocked) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if d := time.Since(began); d < 100*time.Millisecond || d > 10*time.Second {
		t.Errorf("waited %s", d)
	}
	for _, at := range []string{path, filepath.Join(dir, "none")} {
		pid, held, err := Held(at)
		if want := at == path; err != nil || held != want || want && pid != cmd.Process.Pid {
			t.Errorf("%s is held %v by %d, %v", at, held, pid, err)
		}
	}
	go func() { _ = cmd.Process.Kill() }() // a killed process holds nothing, whenever it is killed
	l, err := LockWait(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	holds(t, dir, fmt.Sprintf("zone.lock=%d\n", os.Getpid()))
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	holds(t, dir, "zone.lock=")
	put(t, path, "1\n") // as a process that was killed leaves it
	if pid, held, err := Held(path); err != nil || held || pid != 0 {
		t.Errorf("nobody holds it, and yet %v %d %v", held, pid, err)
	}
}

// TestLockExcludes: many processes, one at a time.
func TestLockExcludes(t *testing.T) {
	dir := t.TempDir()
	lock, counter := filepath.Join(dir, "lock"), filepath.Join(dir, "counter")
	put(t, counter, "0")
	var cmds []*exec.Cmd
	for range 4 {
		cmd := as(t, "count", lock, counter)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	holds(t, dir, "counter=200", "lock=")
}

// TestLockPlaces: a lock file is written to, so it must be one.
func TestLockPlaces(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "precious"), "precious")
	if err := errors.Join(
		os.Symlink("precious", filepath.Join(dir, "symbolic")),
		os.Link(filepath.Join(dir, "precious"), filepath.Join(dir, "hard")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
		os.Mkdir(filepath.Join(dir, "dir"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"symbolic": "not a regular file with one name",
		"hard":     "not a regular file with one name",
		"fifo":     "not a regular file with one name",
		"dir":      "is a directory",
		"none/x":   "no such file or directory",
	} {
		_, err := TryLock(filepath.Join(dir, name))
		if err == nil || !strings.HasSuffix(err.Error(), name+": "+want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "precious")); string(b) != "precious" {
		t.Errorf("overwritten: %q", b)
	}
}

// TestLockRemoved: a lock whose file is gone keeps nobody out, and is not taken.
func TestLockRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := openLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !current(f, path) {
		t.Error("not current")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if current(f, path) {
		t.Error("current, but gone")
	}
	put(t, path, "")
	if current(f, path) {
		t.Error("current, but another")
	}
}

func BenchmarkLock(b *testing.B) {
	path := filepath.Join(b.TempDir(), "lock")
	for b.Loop() {
		l, err := TryLock(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Unlock(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteFile(b *testing.B) {
	dir, data := b.TempDir(), make([]byte, 6000)
	for i := 0; b.Loop(); i++ {
		if err := WriteFile(filepath.Join(dir, strconv.Itoa(i%1000)), data, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
