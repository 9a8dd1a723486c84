package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestAlarms follows a line from its first run through an outage of the CA to its
// expiration and back, and wants alarm-command to be told of each change once.
func TestAlarms(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.ages(ca)
	down := false
	ca.Take = func(_ *lab.FakeCA, w http.ResponseWriter, r *http.Request) bool {
		return down && lab.Refuse(w, 503, "", "serverInternal", "out of order")
	}
	said := y.path("said")
	y.write("page", "#!/bin/sh\ntest ! -e "+y.path("broken")+" || { echo no line; exit 1; }\ncat >>"+said+"\nenv >"+y.path("environment")+"\n")
	if err := os.Chmod(y.path("page"), 0o755); err != nil {
		t.Fatal(err)
	}
	y.write("acmehook.toml", y.general()+fmt.Sprintf("alarm-command = [%q, \"certificates\"]\n", y.path("page"))+account(ca)+mail)
	events := func(want ...string) {
		t.Helper()
		text, err := os.ReadFile(said)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			var e struct{ Event, Line, Code, Message string }
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Line != "mail" || e.Message == "" {
				t.Fatalf("%v: %s", err, line)
			}
			got = append(got, e.Event+" "+e.Code)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("told of %q, want %q", got, want)
		}
		os.Remove(said)
	}
	const day = 24 * time.Hour
	y.says(cli.ExitFailed, "acmehook init makes it", "run")
	events("raise no-certificate")
	y.does(cli.ExitFailed, "run")
	events()
	y.past += day
	y.does(cli.ExitFailed, "run")
	events("daily no-certificate")
	y.past -= 2 * day // a clock that is set back neither rings nor is silent for as long
	y.does(cli.ExitFailed, "run")
	events()
	y.past += day
	y.does(cli.ExitFailed, "run")
	events("daily no-certificate")

	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "run")
	events("clear no-certificate")
	if s := y.status(); s.Alarm.Code != "" {
		t.Errorf("%+v", s)
	}
	down = true
	y.past += 62 * day // due since two days, but not for long enough to ring
	y.says(cli.ExitFailed, "out of order", "run")
	events()
	y.past += 15 * day
	y.write("broken", "")
	y.says(cli.ExitFailed, "tell alarm-command: run "+y.path("page")+": exit status 1 (what it printed is in "+y.path("state/alarm.out")+")", "run")
	events()
	if err := os.Remove(y.path("broken")); err != nil {
		t.Fatal(err)
	}
	y.does(cli.ExitOK, "run") // what failed a moment ago is not tried again
	events("raise certificate-expires")
	y.past += 20 * day
	y.does(cli.ExitFailed, "run")
	events("clear certificate-expires", "raise certificate-expired")
	if s := y.status(); s.Alarm.Code != "certificate-expired" || s.Alarm.Message != "the certificate has expired" {
		t.Errorf("%+v", s.Alarm)
	}
	down = false
	y.past += day
	y.does(cli.ExitOK, "run")
	events("clear certificate-expired")
	if left, err := filepath.Glob(y.path("state/alarms.json")); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}

	// What the program has of ours: nothing but its task.
	for line := range strings.Lines(y.read("environment")) {
		name, _, _ := strings.Cut(line, "=")
		if !slices.Contains([]string{"PATH", "PWD", "OLDPWD", "SHLVL", "_", "ACMEHOOK_EVENT", "ACMEHOOK_LINE", "ACMEHOOK_ALARM"}, name) || strings.Contains(line, environmentSecret) {
			t.Errorf("in its environment: %s", line)
		}
	}

	// A line that cannot even be read.
	if err := os.Remove(y.path("state/line-mail.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(y.path("state/line-mail.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	y.does(cli.ExitFailed, "run")
	events("raise line-unreadable")
	// A state of alarms that is damaged rings once more.
	y.write("state/alarms.json", "[")
	y.does(cli.ExitFailed, "run")
	events("raise line-unreadable")
}
