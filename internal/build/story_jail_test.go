//go:build linux

package build_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zonebuild/internal/lab"
)

// TestJail: the ACME side is another user, with a umask that hides its files; the
// builder has the drop box mounted read-only in a mount namespace of its own.
// Challenges arrive, and neither side can do more than that.
func TestJail(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "unshare", "mount")
	const nobody = 65534
	p := newProgram(t)
	hook := filepath.Join(filepath.Dir(p.path), "acmehook")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", hook, "../../cmd/acmehook").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	if err := os.MkdirAll(s.path("dnsextra"), 0o755); err != nil {
		t.Fatal(err)
	}
	jail := filepath.Join(t.TempDir(), "jail")
	if err := os.MkdirAll(filepath.Join(jail, "dnsextra"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(filepath.Dir(jail)), filepath.Dir(jail), filepath.Dir(filepath.Dir(p.path)), filepath.Dir(p.path), s.dir, filepath.Dir(s.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{jail, filepath.Join(jail, "dnsextra")} {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	inJail := func(script string) (string, error) {
		cmd := exec.Command("sh", "-c", "umask 077; "+script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	mount := fmt.Sprintf("mount --bind %s %[2]s && mount -o remount,ro,bind %[2]s && ", filepath.Join(jail, "dnsextra"), s.path("dnsextra"))
	builder := func(script string) (string, error) {
		out, err := exec.Command("unshare", "-m", "sh", "-c", mount+script).CombinedOutput()
		return string(out), err
	}
	build := p.path + " -C " + s.dir + " build --new-zone"
	published := func(value string) bool { return strings.Contains(s.read("signed/example.org"), value) }

	if out, err := builder(build); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if out, err := inJail(hook + " -C " + jail + " add example.org " + boxValue(1)); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if out, err := builder(build); err != nil || !published(boxValue(1)) {
		t.Fatalf("%v %s", err, out)
	}
	before := cutSOA(s.read("unsigned/example.org"))
	for _, attack := range []string{
		"ln -s " + s.path("primary/example.org") + " dnsextra/_acme-challenge.link.example.org",
		"ln " + jail + "/dnsextra/_acme* dnsextra/_acme-challenge.hard.example.org",
		"mkfifo dnsextra/_acme-challenge.fifo.example.org",
		"printf 'www.example.org. 60 IN A 6.6.6.6 ; TXT\\n' >dnsextra/www.example.org",
		"printf '$INCLUDE /etc/passwd ; TXT\\n' >dnsextra/_acme-challenge.example.org",
		"echo secret >dnsextra/_acme-challenge.hidden.example.org", // mode 0600
	} {
		if out, err := inJail("cd " + jail + " && " + attack); err != nil {
			t.Logf("%s: %v %s", attack, err, out) // the kernel is ahead of us
		}
	}
	if out, err := builder(build); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if after := cutSOA(s.read("unsigned/example.org")); after != before {
		t.Errorf("%s\nbefore\n%s", after, before)
	}
	s.whole("example.org")
	for what, script := range map[string]string{
		"read a key":    "cat " + s.path("keys") + "/*.private",
		"write a zone":  "echo x >>" + s.path("signed/example.org"),
		"write a state": "echo x >" + s.path("state/example.org.json"),
	} {
		if out, err := inJail(script); err == nil {
			t.Errorf("the jail can %s: %s", what, out)
		}
	}
	if out, err := builder("touch " + s.path("dnsextra/x")); err == nil || !strings.Contains(out, "Read-only file system") {
		t.Errorf("the builder can write to the drop box: %v %s", err, out)
	}
}
