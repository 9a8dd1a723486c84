package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"zonebuild/internal/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"zonebuild": main})
}

// TestScript runs each file of testdata/script: commands as a user types them,
// and all that they print.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
			"await":  await,
			"signal": signalTo,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("NOW", "2026-03-01T12:00:00Z")
			return nil
		},
	})
}

// status runs a program and demands this very exit code: status CODE PROGRAM ARGS.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE PROGRAM [ARGS]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// await waits until a file holds a pattern: await FILE REGEXP.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	pattern := regexp.MustCompile(args[1])
	if err := lab.Await(func() error {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && !pattern.Match(text) {
			err = errors.New("it does not")
		}
		return err
	}); err != nil {
		ts.Fatalf("%s does not come to hold %s: %v", args[0], args[1], err)
	}
}

// signalTo sends a signal to the process that a lock names: signal HUP|TERM LOCK.
func signalTo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal HUP|TERM LOCK")
	}
	sig, known := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}[args[0]]
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1])))
	if ts.Check(err); !known || pid <= 1 {
		ts.Fatalf("signal %s to process %d", args[0], pid)
	}
	ts.Check(syscall.Kill(pid, sig))
}
