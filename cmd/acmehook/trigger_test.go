package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/lab"
)

// TestPresets takes each table of examples/services to a host where nothing else is: no
// account, no CA, no drop box, read-only certificates. Where the file is another than
// what the service serves, its very command is run, once, and seen to work.
func TestPresets(t *testing.T) {
	files, err := filepath.Glob("../../examples/services/*.toml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%v %v", files, err)
	}
	old, err := tls.X509KeyPair(strange(t))
	if err != nil {
		t.Fatal(err)
	}
	cert, key := strange(t)
	fresh, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	speaks := map[string]string{"postfix": "smtp", "openldap": "ldap", "prosody": "xmpp-client"}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			server := lab.TLSServer(t, lab.TLSOptions{Speak: speaks[name], Certs: map[string][]tls.Certificate{"": {old}}})
			y := &yard{t: t, dir: t.TempDir()}
			y.write("certs/fullchain.pem", string(cert))
			if err := os.Chmod(y.path("certs/fullchain.pem"), 0o444); err != nil {
				t.Fatal(err)
			}
			// The command of the preset, behind a program of the test's.
			y.write("do", "#!/bin/sh\necho \"$@\" >>"+y.path("done")+"\n")
			if err := os.Chmod(y.path("do"), 0o755); err != nil {
				t.Fatal(err)
			}
			reload := regexp.MustCompile(`(?m)^(reload\s*= \[)`)
			y.write("acmehook.toml", reload.ReplaceAllString(string(text), fmt.Sprintf("${1}%q, ", y.path("do")))+
				fmt.Sprintf("certificate = \"certs/fullchain.pem\"\nprobe = [%q]\n", server.Addr()))
			h, faults := config.LoadHook(y.dir)
			if len(faults) > 0 || len(h.Services) != 1 {
				t.Fatalf("%v", faults)
			}
			ended := make(chan struct{})
			go func() { // the service, which heeds the command
				defer close(ended)
				lab.Until(t, "the command is run", func() error { _, err := os.Stat(y.path("done")); return err })
				server.Show("", fresh)
			}()
			out := y.does(cli.ExitOK, "trigger", "--json")
			<-ended
			var all struct {
				Services []struct{ Service, Did, Why, Error string }
			}
			if err := json.Unmarshal([]byte(out), &all); err != nil || len(all.Services) != 1 {
				t.Fatalf("%v %s", err, out)
			}
			if s := all.Services[0]; s.Service != name || s.Did != "reload" || s.Error != "" || !strings.Contains(s.Why, "serves another certificate than its files have") {
				t.Errorf("%+v", s)
			}
			if got, want := y.read("done"), strings.Join(h.Services[0].Reload[1:], " ")+"\n"; got != want || want == "\n" {
				t.Errorf("run: %q, want %q", got, want)
			}
			before := y.tree()
			if said := y.does(cli.ExitOK, "trigger"); said != "" {
				t.Errorf("it says %q of what is right", said)
			}
			if after := y.tree(); !maps.Equal(before, after) {
				t.Errorf("before\n%v\nafter\n%v", before, after)
			}
			for path := range before {
				if path != "state" && path != "state/trigger.lock" && path != "state/service-"+name+".out" && !strings.HasPrefix(path, "certs") && path != "." && path != "do" && path != "done" && path != "acmehook.toml" {
					t.Errorf("%s was made", path)
				}
			}
		})
	}
}

// TestTriggerFiles: a service that cannot be asked, and whose own program says which
// files it reads.
func TestTriggerFiles(t *testing.T) {
	y := &yard{t: t, dir: t.TempDir()}
	cert, _ := strange(t)
	y.write("cert.pem", string(cert))
	y.write("more.pem", "1")
	y.write("list", "#!/bin/sh\ncat "+y.path("listed")+"\nenv >"+y.path("environment")+"\n")
	y.write("do", "#!/bin/sh\necho x >>"+y.path("done")+"\n")
	for _, name := range []string{"list", "do"} {
		if err := os.Chmod(y.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	y.write("listed", "\n"+y.path("more.pem")+"\n")
	y.write("acmehook.toml", fmt.Sprintf("[service.quic]\nhost = \"www.example.org\"\nport = 443\nprobe = \"none\"\ncertificate = \"cert.pem\"\nfiles-from = [%q]\nreload = [%q]\n", y.path("list"), y.path("do")))
	calls := func(want int) {
		t.Helper()
		b, _ := os.ReadFile(y.path("done"))
		if got := strings.Count(string(b), "x"); got != want {
			t.Fatalf("%d calls, want %d", got, want)
		}
	}
	y.says(cli.ExitOK, "quic: reload: its files have changed\n", "trigger")
	calls(1)
	y.does(cli.ExitOK, "trigger")
	calls(1)
	y.write("more.pem", "2")
	y.does(cli.ExitOK, "trigger")
	calls(2)
	if strings.Contains(y.read("environment"), environmentSecret) {
		t.Error("a secret in the environment of the program that lists")
	}
	for listed, want := range map[string]string{
		"more.pem\n":                 `files-from: "more.pem" is no absolute path`,
		"/nonexistent/x.pem\n":       "open /nonexistent/x.pem: no such file or directory",
		strings.Repeat("/a\n", 1001): "files-from: more than 1000 files",
		strings.Repeat("/"+strings.Repeat("a", 99)+"\n", 1000): "it prints too much",
	} {
		y.write("listed", listed)
		y.says(cli.ExitFailed, want, "trigger")
		calls(2)
	}
	y.write("list", "#!/bin/sh\necho no; exit 3\n")
	y.says(cli.ExitFailed, "run "+y.path("list")+": exit status 3", "trigger")
	calls(2)
}

// TestTriggerStarted: a service that cannot be asked was started after its files changed,
// once more: it has read them, and is not told, whatever it was told before.
func TestTriggerStarted(t *testing.T) {
	y := &yard{t: t, dir: t.TempDir()}
	// The system knows starts of processes to a second; a pid file that names none is
	// taken by its time.
	start := func() {
		t.Helper()
		cert, err := os.Stat(y.path("cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "the clock of the file system has gone on", func() error {
			y.write("pid", "none")
			pid, err := os.Stat(y.path("pid"))
			if err == nil && !pid.ModTime().After(cert.ModTime()) {
				err = errors.New("it has not")
			}
			return err
		})
	}
	put := func() {
		t.Helper()
		cert, _ := strange(t)
		y.write("cert.pem", string(cert))
	}
	table := func(command string) {
		y.write("acmehook.toml", "[service.web]\nhost = \"example.org\"\nport = 443\nprobe = \"none\"\ncertificate = \"cert.pem\"\npid-file = \"pid\"\nreload = [\"sh\", \"-c\", \"echo >>"+y.path("done")+command+"\"]\n")
	}
	table("")
	put()
	start()
	y.does(cli.ExitOK, "trigger")
	y.count("done", 0)
	put()
	y.says(cli.ExitOK, "web: reload: its files changed after it was started", "trigger")
	y.count("done", 1)
	put()
	start() // and nobody had called trigger in between
	y.does(cli.ExitOK, "trigger")
	y.count("done", 1)

	// A reload that fails is tried again later and later.
	table("; exit 1")
	put()
	y.says(cli.ExitFailed, "exit status 1", "trigger")
	y.says(cli.ExitFailed, "it was told 1 times in vain, and is told again at ", "trigger")
	y.count("done", 2)
	y.past += 2 * time.Minute
	y.says(cli.ExitFailed, "exit status 1", "trigger")
	y.past += 2 * time.Minute
	y.says(cli.ExitFailed, "it was told 2 times in vain", "trigger")
	y.count("done", 3)
	start() // by hand: it has read its files
	y.does(cli.ExitOK, "trigger")
	y.count("done", 3)
}

// TestTriggerReadOnly: where nothing may be written services are looked at all the same;
// to tell one needs a memory, which is said.
func TestTriggerReadOnly(t *testing.T) {
	lab.NeedRoot(t)
	lab.Need(t, "mount", "umount")
	old, err := tls.X509KeyPair(strange(t))
	if err != nil {
		t.Fatal(err)
	}
	cert, key := strange(t)
	fresh, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{"": {fresh}}})
	y := &yard{t: t, dir: t.TempDir()}
	done := filepath.Join(t.TempDir(), "done")
	state := t.TempDir()
	table := fmt.Sprintf("[service.web]\nhost = \"example.org\"\nport = 443\nprobe = [%q]\ncertificate = \"cert.pem\"\nreload = [\"sh\", \"-c\", \"echo >>%s\"]\ntimeout = \"1s\"\n", server.Addr(), done)
	y.write("cert.pem", string(cert))
	y.write("acmehook.toml", table)
	lab.Run(t, "mount", "-t", "tmpfs", "tmpfs", y.dir)
	t.Cleanup(func() { lab.Run(t, "umount", y.dir) })
	y.write("cert.pem", string(cert))
	y.write("acmehook.toml", table)
	lab.Run(t, "mount", "-o", "remount,ro", y.dir)
	if said := y.does(cli.ExitOK, "trigger"); said != "" {
		t.Errorf("it says %q", said)
	}
	server.Show("", old)
	y.says(cli.ExitFailed, "serves another certificate than its files have; note that the service is told (state-dir in acmehook.toml): ", "trigger")
	if _, err := os.Stat(done); !os.IsNotExist(err) {
		t.Errorf("it was told: %v", err)
	}
	lab.Run(t, "mount", "-o", "remount,rw", y.dir)
	y.write("acmehook.toml", fmt.Sprintf("state-dir = %q\n", state)+table)
	lab.Run(t, "mount", "-o", "remount,ro", y.dir)
	y.says(cli.ExitFailed, "after sh: ", "trigger")
	if _, err := os.Stat(done); err != nil {
		t.Error(err)
	}
}

// TestTriggerWithoutReload: a service that can neither be asked nor told is said to be so.
func TestTriggerWithoutReload(t *testing.T) {
	y := &yard{t: t, dir: t.TempDir()}
	cert, _ := strange(t)
	y.write("cert.pem", string(cert))
	y.write("acmehook.toml", "[service.smtp]\nhost = \"mail.example.org\"\nport = 25\nprobe = \"none\"\ncertificate = \"cert.pem\"\n")
	y.says(cli.ExitFailed, "smtp: its files have changed, and it has no reload command\n", "trigger")
}
