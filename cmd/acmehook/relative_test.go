package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestRelativePrograms: a program whose path has a slash is one from DIR, wherever acmehook
// is started and however DIR is written; one without is not.
func TestRelativePrograms(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	for _, name := range []string{"hooks/copy", "copy", "lines/hooks/copy"} { // the last is where hooks are started
		y.write(name, "#!/bin/sh\necho "+name+" \"$@\" >>"+y.path("told")+"\n")
		if err := os.Chmod(y.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	y.configure(ca, fakeLine+"deploy = [[\"hooks/copy\", \"./a file\"], [\"./copy\"]]\n")
	y.does(cli.ExitOK, "init")
	t.Chdir(filepath.Dir(y.dir))
	y.dir = filepath.Base(y.dir)
	y.does(cli.ExitOK, "run")
	if got := y.read("told"); got != "hooks/copy ./a file\ncopy\n" {
		t.Errorf("%q", got)
	}
	t.Chdir(y.dir)
	y.dir = "."
	y.past += time.Hour
	y.configure(ca, fakeLine+"deploy = [[\"copy\"]]\n")
	y.says(cli.ExitFailed, "no such program in /", "renew", "mail", "--force")
	if got := y.read("told"); got != "hooks/copy ./a file\ncopy\n" {
		t.Errorf("%q", got)
	}
}
