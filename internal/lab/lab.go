// Package lab runs real name servers, resolvers and tools for tests: on free
// ports of the loopback interface, in directories of the test, ended with it.
//
// A server counts as started when it answers, never after a time. A missing
// program skips the test and says which; with CI=1 (or CI=true) it fails it,
// so that what nobody ran is not taken for passed.
//
// It refuses to be of use outside tests: every function takes a testing.TB.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bounds of the waiting in tests; no test that passes comes near them.
const (
	startTimeout = 20 * time.Second     // until a server answers
	stopTimeout  = 10 * time.Second     // until a server has ended
	untilTimeout = 20 * time.Second     // of Until
	pollPause    = 3 * time.Millisecond // between two looks at a condition
	toolTimeout  = 2 * time.Minute      // of Run
	queryTimeout = 5 * time.Second      // of Query
	firstPort    = 20000                // free ports lie below the range from which
	lastPort     = 32000                // systems take the ports of outgoing connections
)

// Need skips the test unless all programs are there; with CI set it fails.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, p := range programs {
		if _, ok := find(p); !ok {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return
	}
	skip(t, fmt.Sprintf("not installed: %s (make packages)", strings.Join(missing, ", ")))
}

// NeedRoot skips the test unless it runs as root, as one that makes a mount
// namespace or another user's files must; with CI set it fails.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "it needs root")
	}
}

func skip(t testing.TB, reason string) {
	t.Helper()
	if ci := os.Getenv("CI"); ci == "1" || ci == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Path is where a program is. Without it the test is skipped, as by Need.
func Path(t testing.TB, program string) string {
	t.Helper()
	Need(t, program)
	p, _ := find(program)
	return p
}

// find looks in PATH and where the servers live, which a user's PATH on
// Debian does not name.
func find(program string) (string, bool) {
	if p, err := exec.LookPath(program); err == nil {
		return p, true
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return p, true
		}
	}
	return "", false
}

// Run runs a program in the test's directory and gives what it printed on
// standard output. Any exit status but 0 fails the test, with all it printed.
func Run(t testing.TB, program string, args ...string) string {
	t.Helper()
	return RunIn(t, "", program, args...)
}

// RunIn is Run in a directory.
func RunIn(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	out, said, err := run(t, dir, program, args)
	if err != nil {
		t.Fatalf("run %s %s: %v\n%s", program, strings.Join(args, " "), err, said)
	}
	return out
}

// Try runs a program that may refuse: it gives all that was printed and
// whether the exit status was 0.
func Try(t testing.TB, program string, args ...string) (said string, ok bool) {
	t.Helper()
	_, said, err := run(t, "", program, args)
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		t.Fatalf("run %s: %v", program, err)
	}
	return said, err == nil
}

func run(t testing.TB, dir, program string, args []string) (out, said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, Path(t, program), args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var all transcript
	cmd.Stdout = &stream{to: &all, keep: true}
	cmd.Stderr = &stream{to: &all}
	err = cmd.Run()
	return all.out.String(), all.all.String(), err
}

// transcript is what a program printed: on standard output, and in all.
type transcript struct {
	mu       sync.Mutex
	out, all bytes.Buffer
}

// stream is one of the two outputs of a program; each has its own goroutine.
type stream struct {
	to   *transcript
	keep bool // it is standard output
}

func (s *stream) Write(b []byte) (int, error) {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	if s.keep {
		s.to.out.Write(b)
	}
	return s.to.all.Write(b)
}

// Until waits until the condition gives no error. What is still wrong after
// twenty seconds fails the test.
func Until(t testing.TB, what string, condition func() error) {
	t.Helper()
	if err := Await(condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Await is Until where there is no test at hand to fail: it gives what is still wrong.
func Await(condition func() error) error { return poll(untilTimeout, condition) }

// poll looks at a condition until it holds or the time is up.
func poll(timeout time.Duration, condition func() error) error {
	end := time.Now().Add(timeout)
	for {
		err := condition()
		if err == nil || time.Now().After(end) {
			return err
		}
		<-time.After(pollPause)
	}
}

// FreePort gives a port that nobody uses on 127.0.0.1, for TCP and UDP.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := firstPort + rand.Intn(lastPort-firstPort)
		if free(port) {
			return port
		}
	}
	t.Fatal("find a free port: all that were tried are in use")
	return 0
}

func free(port int) bool {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// shortDir is a directory whose path leaves room for a socket's name: the
// path of a Unix socket has some 100 octets at most, and t.TempDir is long.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
