package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/verify"
)

// TestWatchKilled: kill -9 of the daemon at random instants, again and again, with nsd
// killed now and then as well. What stands in signed/ is whole at each of them, nsd
// serves a whole zone whenever it runs, and the last daemon goes on as if nothing had
// been: its lock is free, and the last change is served and confirmed.
func TestWatchKilled(t *testing.T) {
	lab.Need(t, "nsd", "nsd-checkzone")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "zonebuild") // the test's program is zonebuild by that name
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "dns")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(tree, name)
		if err := os.WriteFile(path+".new~", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new~", path); err != nil {
			t.Fatal(err)
		}
	}
	run("init", tree, "--zone", "example.org")
	signed := filepath.Join(tree, "signed")
	if err := os.MkdirAll(signed, 0o755); err != nil {
		t.Fatal(err)
	}
	server := lab.NSD(t, lab.NSDOptions{Dir: signed, Zones: []string{"example.org"}})
	write("zonebuild.toml", fmt.Sprintf("resolver = [\"127.0.0.1@9\"]\n[publish]\nserver = \"nsd\"\ncontrol = %q\naddress = [%q]\ncheckzone = %q\ntimeout = \"5s\"\n",
		server.Control(), server.Addr(), lab.Path(t, "nsd-checkzone")))
	start := func() (*exec.Cmd, *bytes.Buffer) {
		t.Helper()
		cmd, said := exec.Command(program, "-C", tree, "watch"), &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, said
	}
	change := func(i int) {
		t.Helper()
		write("primary/example.org", fmt.Sprintf("ns1 A 192.0.2.1\nns2 A 192.0.2.2\nwww TXT v%d\n", i))
	}
	change(-1)
	run("-C", tree, "build", "--new-zone")
	answer := func() string {
		question := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeTXT)
		m, _, err := (&dns.Client{Net: "tcp"}).Exchange(question, server.Addr())
		if err != nil {
			return "" // it is being started
		}
		if m.Rcode == dns.RcodeServerFailure {
			t.Errorf("nsd has no zone:\n%s", server.Log())
		}
		for _, rr := range m.Answer {
			if txt, ok := rr.(*dns.TXT); ok {
				return strings.Join(txt.Txt, "")
			}
		}
		return ""
	}
	const kills = 30
	random := rand.New(rand.NewSource(3))
	for i := range kills {
		cmd, _ := start()
		change(i)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			t.Fatalf("it ended by itself: %v", err)
		case <-time.After(time.Duration(random.Int63n(int64(600 * time.Millisecond)))): // any instant of its life
		}
		if i%10 == 5 {
			server.Kill()
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-ended
		if i%10 == 5 {
			server.Restart()
		}
		if _, faults := verify.File(filepath.Join(signed, "example.org"), verify.Options{Apex: domain.MustParse("example.org"), Now: time.Now()}); faults.HasErrors() {
			t.Fatalf("signed/example.org: %s", faults[0])
		}
		answer()
	}
	cmd, said := start()
	change(kills)
	lab.Until(t, "the last change is answered", func() error {
		if got := answer(); got != fmt.Sprintf("v%d", kills) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	lab.Until(t, "all is well", func() error {
		out, err := exec.Command(program, "-C", tree, "status").CombinedOutput()
		if err != nil || !strings.Contains(string(out), ", confirmed\n") {
			return fmt.Errorf("%w: %s", errors.Join(errors.New("not yet"), err), out)
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, said)
	}
	for _, dir := range []string{"signed", "unsigned", "state"} {
		left, err := filepath.Glob(filepath.Join(tree, dir, ".*"))
		for _, path := range left {
			if filepath.Ext(path) != ".serial" {
				t.Errorf("left behind: %s (%v)", path, err)
			}
		}
	}
}
