package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// victim is the program as it is installed, which somebody kills at a certain point.
type victim struct {
	*yard
	program string
	ca      *lab.FakeCA
	server  *lab.TLS
	umask   string

	mu     sync.Mutex
	run    *os.Process
	points int    // that were passed
	at     int    // where it is killed; 0: nowhere
	said   string // all that it ever said
	issued int
}

// point is a point where it may be killed.
func (v *victim) point() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.points++; v.points == v.at && v.run != nil {
		v.run.Kill()
	}
}

// count is how many certificates were issued.
func (v *victim) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.issued
}

func newVictim(t *testing.T, program, umask, more string) *victim {
	v := &victim{yard: newYard(t), program: program, umask: umask, ca: lab.NewFakeCA(t)}
	v.server = lab.TLSServer(t, lab.TLSOptions{Met: v.point, Certs: map[string][]tls.Certificate{}})
	v.ca.Take = func(*lab.FakeCA, http.ResponseWriter, *http.Request) bool { v.point(); return false }
	v.ca.Change = func(_ *lab.FakeCA, path string, _ map[string]any) {
		if path == "/finalize" {
			v.mu.Lock()
			v.issued++
			v.mu.Unlock()
		}
		v.point() // the CA has done it, and nobody hears of it
	}
	v.write("hook", "#!/bin/sh\nset -e\n(env; tr '\\0' ' ' </proc/$PPID/cmdline; echo; echo \"args $*\") >>"+v.path("seen")+"\necho told\ntest ! -e "+v.path("murder")+" || { rm "+v.path("murder")+"; kill -9 $PPID; }\necho $ACMEHOOK_GENERATION >>"+v.path("told")+"\n")
	if err := os.Chmod(v.path("hook"), 0o755); err != nil {
		t.Fatal(err)
	}
	v.configure(v.ca, fmt.Sprintf("[line.mail]\nnames = [\"example.org\"]\nreuse-key = false\ncombined = true\nservices = [\"web\"]\ndeploy = [[%q, \"an argument\"]]\n%s\n[service.web]\nhost = \"mail.example.org\"\nport = 443\ntlsa = false\nprobe = [%q]\n", v.path("hook"), more, v.server.Addr()))
	return v
}

// call runs the program, kills it at a point (0: nowhere), and gives whether it ended
// by itself. The service loads whatever is live then.
func (v *victim) call(at int, args ...string) bool {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	words := append([]string{"-c", "umask " + v.umask + "; exec \"$0\" \"$@\"", v.program, "-C", v.dir}, args...)
	cmd := exec.CommandContext(ctx, "sh", words...)
	var out, complaints bytes.Buffer // each of one writer
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	v.mu.Lock()
	if err := cmd.Start(); err != nil {
		v.mu.Unlock()
		v.t.Fatal(err)
	}
	v.run, v.points, v.at = cmd.Process, 0, at
	v.mu.Unlock()
	lines := bufio.NewScanner(io.TeeReader(errs, &complaints))
	for lines.Scan() {
		v.point()
	}
	err = cmd.Wait()
	v.mu.Lock()
	v.run = nil
	v.mu.Unlock()
	v.said += complaints.String() + out.String()
	killed := cmd.ProcessState.ExitCode() == -1
	if err != nil && !killed {
		v.t.Fatalf("%v: %v\n%s%s", args, err, &complaints, &out)
	}
	v.check()
	return !killed
}

// check wants what is on the disk to be whole: whatever is live, certificate and key
// match, and no key is for anybody else.
func (v *victim) check() {
	v.t.Helper()
	if _, err := os.Stat(v.path("lines/mail/live")); err == nil {
		c, err := tls.LoadX509KeyPair(v.path("lines/mail/live/fullchain.pem"), v.path("lines/mail/live/privkey.pem"))
		if err != nil {
			v.t.Fatal(err)
		}
		v.server.Show("", c)
	}
	err := filepath.WalkDir(v.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(v.dir, path)
		mode := info.Mode().Perm()
		secret := false
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			secret = bytes.Contains(b, []byte("PRIVATE KEY"))
		}
		first, _, _ := strings.Cut(name, "/")
		switch {
		case secret && (mode != 0o600 || first != "keys"), (name == "keys" || name == "state") && mode != 0o700, first == "state" && !d.IsDir() && mode&0o077 != 0 && name != "state/lock":
			v.t.Errorf("%s has mode %o", name, mode)
		case first == "lines" && mode != map[bool]os.FileMode{true: 0o755, false: 0o644}[d.IsDir()] && !strings.HasPrefix(filepath.Base(name), "."):
			v.t.Errorf("%s has mode %o, nobody can mount that", name, mode)
		}
		return nil
	})
	if err != nil {
		v.t.Fatal(err)
	}
}

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "acmehook")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestRunKilled kills the program at every request to the CA, before it is heard and
// after it was carried out, at every line that it says, in its hook, and when it asks
// the service; and then runs it again. It goes on, the CA issues one certificate, and
// no hook is lost.
func TestRunKilled(t *testing.T) {
	program := build(t)
	ends := 0
	for n := 1; ends == 0; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			v := newVictim(t, program, []string{"000", "077", "022"}[n%3], "")
			v.call(0, "init")
			if n%2 == 0 {
				v.write("murder", "")
			}
			if v.call(n, "run") && n%2 == 1 {
				ends = n
			}
			v.rest(1)
			if v.count() != 1 {
				t.Errorf("%d certificates", v.count())
			}
		})
		if n > 200 {
			t.Fatal("it never came to an end")
		}
	}
	if ends < 20 {
		t.Errorf("only %d points", ends)
	}
	// A renewal with another key.
	for n := 1; n < ends; n += 2 {
		t.Run(fmt.Sprint("renewal ", n), func(t *testing.T) {
			v := newVictim(t, program, []string{"077", "022", "000"}[n%3], "")
			v.call(0, "init")
			v.rest(1)
			before := v.spki("lines/mail/live/cert.pem")
			if v.call(n, "renew", "mail", "--force") {
				n = ends
			}
			v.call(0, "run") // what the CA has made or may have is taken home
			if v.count() == 2 && v.status().Generation != 2 {
				t.Errorf("a certificate is lost: %+v", v.status())
			}
			if v.status().Generation == 1 {
				v.call(0, "renew", "mail", "--force")
			}
			v.rest(2)
			if v.count() != 2 || v.spki("lines/mail/live/cert.pem") == before {
				t.Errorf("%d certificates", v.count())
			}
		})
	}
}

// rest lets it run until nothing is due, and wants the generation to be live, served,
// and told of.
func (v *victim) rest(generation int) {
	v.t.Helper()
	for range 8 {
		if v.call(0, "run") && len(v.status().Due) == 0 { // else its hook killed it, or there is something to do
			break
		}
	}
	s := v.status()
	if s.Generation != generation || !s.Services[0].Serves || s.NextKey.ID == "" || len(s.Due) > 0 || s.Error != "" {
		v.t.Errorf("%+v\n%s", s, v.said)
	}
	if told := strings.Fields(v.read("told")); len(told) == 0 || told[len(told)-1] != fmt.Sprint(generation) {
		v.t.Errorf("told of %q", told)
	}
	v.noChallenges()
}

// TestSecrets follows a line through its life and then looks for its secrets: in all
// that was said, in the environment and the arguments of hooks, in all files but those
// that are for them.
func TestSecrets(t *testing.T) {
	v := newVictim(t, build(t), "000", "")
	v.ca.Issuer.Subject.CommonName = "$(touch pwned)"
	v.call(0, "init")
	v.rest(1)
	v.call(0, "renew", "mail", "--force")
	v.rest(2)
	v.call(0, "rollover", "mail")
	v.rest(3)
	v.call(0, "revoke", "mail")
	v.rest(4) // another one comes at once
	v.call(0, "status")
	secrets := []string{environmentSecret}
	keys, err := filepath.Glob(v.path("keys/mail/*.pem"))
	if err != nil || len(keys) < 3 {
		t.Fatalf("%v %v", keys, err)
	}
	for _, path := range append(keys, v.path("keys/account.key")) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.Split(string(b), "\n")[1][:40])
	}
	seen := v.read("seen")
	for _, s := range secrets {
		if strings.Contains(v.said, s) || strings.Contains(seen, s) {
			t.Error("a secret was said, or given to a hook")
		}
	}
	err = filepath.WalkDir(v.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, v.path("keys")) {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("a secret is in %s", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Hooks are told this and nothing else; so no text of the CA's is there either.
	live := v.path("lines/mail/live")
	args := 0
	for line := range strings.Lines(seen) {
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, "=")
		ok := slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_"}, name) // of the shell itself
		switch name {
		case "PATH":
			ok = value == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		case "ACMEHOOK_LINE":
			ok = value == "mail"
		case "ACMEHOOK_LIVE":
			ok = value == live
		case "ACMEHOOK_NAMES":
			ok = value == "example.org"
		case "ACMEHOOK_GENERATION":
			ok = slices.Contains([]string{"1", "2", "3", "4"}, value)
		case "args an argument":
			ok, args = true, args+1
		}
		if !ok && !strings.HasPrefix(line, v.program+" -C ") {
			t.Errorf("a hook sees %q", line)
		}
	}
	if args != 4 {
		t.Errorf("%d hooks were run", args)
	}
}
