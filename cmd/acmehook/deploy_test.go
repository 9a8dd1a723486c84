package main

import (
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestHooksEdited: whatever the operator makes of the list of programs while one of them
// fails, and later: what stands there has been run for the live certificate.
func TestHooksEdited(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	set := func(hooks ...string) {
		var list []string
		for _, h := range hooks {
			list = append(list, `["sh", "-c", "`+h+`"]`)
		}
		y.configure(ca, fakeLine+"deploy = ["+strings.Join(list, ", ")+"]\n")
	}
	told := func(want string) {
		t.Helper()
		if got := strings.Join(strings.Fields(y.read("lines/told")), " "); got != want {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
	set("echo copy >>told", "echo fails >>told; exit 1")
	y.does(cli.ExitOK, "init")
	for _, wait := range []time.Duration{0, 2 * time.Minute, 20 * time.Minute} {
		y.past += wait
		y.says(cli.ExitFailed, "deploy: run sh: exit status 1", "run")
	}
	told("copy fails fails fails")
	if s := y.status(); s.Alarm.Code != "deploy-failed" {
		t.Errorf("%+v", s)
	}
	set("echo copy >>told", "echo mended >>told") // at once: it has not failed
	y.says(cli.ExitOK, "deploy: the services are to be told", "run")
	told("copy fails fails fails mended")
	if s := y.status(); s.Alarm.Code != "" || s.Error != "" {
		t.Errorf("%+v", s)
	}
	set("echo both >>told") // one script in the place of two
	y.does(cli.ExitOK, "run")
	told("copy fails fails fails mended both")
	set("echo first >>told", "echo both >>told")
	y.does(cli.ExitOK, "run")
	told("copy fails fails fails mended both first both")
	set("echo first >>told")
	if said := y.does(cli.ExitOK, "run"); said != "" {
		t.Errorf("it says %q", said)
	}
	told("copy fails fails fails mended both first both")
}
