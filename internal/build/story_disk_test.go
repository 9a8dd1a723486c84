package build_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull: files can grow no further than a limit of the process. What is
// published stays, the error says what was being written, and the next run
// recovers.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	for _, blocks := range []int{0, 1, 2, 4, 8, 16, 32} { // of 512 octets
		t.Run(fmt.Sprintf("%d blocks", blocks), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, smallZone("www A 192.0.2.1\n"))
			p := program{t, p.path}
			p.must("-C", s.dir, "build", "--new-zone")
			file, serial := s.read("signed/example.org"), s.whole("example.org")
			var hosts strings.Builder
			for i := range 250 {
				fmt.Fprintf(&hosts, "h%d A 192.0.2.%d\n", i, i)
			}
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.1\n"+hosts.String())

			cmd := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -f %d && exec "$0" -C "$1" build`, blocks), p.path, s.dir)
			said, code := pipe(t, cmd)
			if code != failed || !strings.Contains(said, "file too large") || strings.Count(said, "\n") > 3 {
				t.Errorf("exit %d: %s", code, said)
			}
			if s.read("signed/example.org") != file {
				t.Error("the published file changed")
			}
			s.noTemporary("signed", "unsigned", "state")
			p.must("-C", s.dir, "build")
			if s.whole("example.org") <= serial || !strings.Contains(s.read("signed/example.org"), "h249.example.org.") {
				t.Error("with room again, the change is not published")
			}
			if said := p.must("-C", s.dir, "build"); said != "" {
				t.Errorf("nothing changed, and yet: %s", said)
			}
		})
	}
}

// pipe runs a command whose output goes through a pipe, which no limit of
// file sizes stops.
func pipe(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	return program{t: t}.finish(cmd)
}

// TestReadOnlyOutput: signed/ cannot be written to.
func TestReadOnlyOutput(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"signed", "unsigned", "state"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, smallZone("www A 192.0.2.1\n"))
			p := newProgram(t)
			user := s.giveAway()
			run := func(args ...string) (string, int) {
				cmd := exec.Command(p.path, append([]string{"-C", s.dir}, args...)...)
				cmd.SysProcAttr = user
				return p.finish(cmd)
			}
			if said, code := run("build", "--new-zone"); code != 0 {
				t.Fatalf("exit %d: %s", code, said)
			}
			file, serial := s.read("signed/example.org"), s.whole("example.org")
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
			if err := os.Chmod(s.path(dir), 0o555); err != nil {
				t.Fatal(err)
			}
			said, code := run("build")
			if code != failed || !strings.Contains(said, "permission denied") {
				t.Errorf("exit %d: %s", code, said)
			}
			if dir == "signed" && s.read("signed/example.org") != file { // of unsigned/, that depends on whether a serial is to be remembered there
				t.Error("the published file changed")
			}
			s.whole("example.org")
			if err := os.Chmod(s.path(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			if said, code := run("build"); code != 0 || s.whole("example.org") <= serial {
				t.Errorf("writable again: exit %d: %s", code, said)
			}
			if said, code := run("build"); code != 0 || said != "" {
				t.Errorf("nothing changed, and yet: exit %d: %s", code, said)
			}
		})
	}
}

// TestRootLeavesNoFiles: root working in another user's tree leaves nothing
// that this user cannot replace.
func TestRootLeavesNoFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can do that")
	}
	s := newSite(t, smallZone("www A 192.0.2.1\n"))
	s.giveAway()
	s.build(ok)
	s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.2\n")
	s.build(ok)
	for _, dir := range []string{"signed", "unsigned", "state", "keys"} {
		err := filepath.WalkDir(s.path(dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody {
				t.Errorf("%s is root's", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

const nobody = 65534

// giveAway gives the tree to another user, if we are root, and says how to run
// a program as that user: root can write everywhere.
func (s *site) giveAway() *syscall.SysProcAttr {
	s.t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	err := filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	// The directories above are the test's own, and closed.
	for dir := filepath.Dir(s.dir); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}
