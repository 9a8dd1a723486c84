package daemon

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/lab"
)

const secondValue = "0bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP0"

// TestHeldChallenges: a daemon that is started while its checkout is held serves new
// challenges, and takes back those that are gone.
func TestHeldChallenges(t *testing.T) {
	for _, tt := range []struct {
		name          string
		hold, release func(*testSite)
	}{
		{"locked", func(s *testSite) { s.write(".git/index.lock", "") }, func(s *testSite) { s.remove(".git/index.lock") }},
		{
			"the update fails",
			func(s *testSite) {
				s.write("zonebuild.toml", "[source.primary]\nupdate = [\"test\", \"-e\", \"up\"]\ninterval = \"1s\"\n")
			},
			func(s *testSite) { s.write("up", "") },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, false)
			s.write("primary/example.org", "ns1 A 192.0.2.53\n_acme-challenge.www TXT hand-written\n")
			s.drop("", goodValue)
			s.start()
			s.until("the challenge is published", s.published(goodValue))
			s.stop()

			tt.hold(s)
			s.remove("dnsextra/_acme-challenge.example.org")
			s.write("primary/example.org", "ns1 A 192.0.2.53\nhalf A 192.0.2.80\n")
			s.start()
			s.until("the old challenge is gone", not(s.published(goodValue)))
			s.drop("", secondValue)
			s.until("a new one is published", s.published(secondValue))
			if s.published("half")() || !s.published("hand-written")() {
				t.Error("what is held was read, or a record of the author's is gone")
			}
			s.drop("", goodValue)
			s.until("the old one again", s.published(goodValue))
			s.until("said", func() bool { return strings.Contains(s.said(), "nothing is read of the checkout") })
			tt.release(s)
			s.until("what was held is published", s.published("half"))
			if s.published("hand-written")() || s.published(secondValue)() || !s.published(goodValue)() {
				t.Error("what was published under the lock stays")
			}
		})
	}
}

// TestReloadHeld: what was read before a reload still counts after it.
func TestReloadHeld(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", "[source.primary]\nupdate = [\"test\", \"!\", \"-e\", \"down\"]\ninterval = \"1s\"\n")
	s.write("sshfp/.keep", "")
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write("down", "")
	s.until("the alarm", func() bool { return strings.Contains(s.said(), "alarm=source-update") })
	s.write("primary/example.org", "ns1 A 192.0.2.53\nhalf A 192.0.2.80\n")
	s.write("zonebuild.toml", "output-mode = \"0640\"\n[source.primary]\nupdate = [\"test\", \"!\", \"-e\", \"down\"]\ninterval = \"1s\"\n")
	key, err := os.ReadFile(s.hostKey())
	if err != nil {
		t.Fatal(err)
	}
	s.write("sshfp/www.example.org", string(key))
	s.until("what is made of other sources is published", s.published("SSHFP"))
	if s.published("half")() {
		t.Error("what is held was read")
	}
	s.remove("down")
	s.until("what was held is published", s.published("half"))
}

// hostKey makes an SSH host key and gives the file of its public part.
func (s *testSite) hostKey() string {
	s.t.Helper()
	lab.Need(s.t, "ssh-keygen")
	path := filepath.Join(s.t.TempDir(), "key")
	lab.Run(s.t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
	return path + ".pub"
}

// TestConfigGone: a configuration that vanishes is none that has only defaults.
func TestConfigGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone func(*testSite)
	}{
		{"removed", func(s *testSite) { s.remove("zonebuild.toml") }},
		{"emptied", func(s *testSite) { s.write("zonebuild.toml", "# nothing yet\n") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, false)
			s.write("zonebuild.toml", "output-mode = \"0640\"\n")
			s.start()
			s.until("the zone is published", s.published("www"))
			tt.gone(s)
			s.until("the alarm", func() bool {
				return strings.Contains(s.said(), `alarm=reload-failed source="" message="load the configuration: zonebuild.toml is gone`)
			})
			s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.82\n")
			s.until("the change is published", s.published("new"))
			if info, err := os.Stat(s.path("signed/example.org")); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%v %v: the old configuration does not hold", info.Mode(), err)
			}
			s.write("zonebuild.toml", "output-mode = \"0644\"\n")
			s.until("the alarm is over", func() bool { return strings.Contains(s.said(), `msg="alarm is over" alarm=reload-failed`) })
		})
	}
}

// TestRevisionFails: a revision that nobody can tell holds nothing back.
func TestRevisionFails(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", "[source.primary]\nupdate = [\"true\"]\nrevision = [\"sh\", \"-c\", \"exit 3\"]\ninterval = \"1s\"\n")
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.82\n")
	s.until("the change is published", s.published("new"))
	s.until("a warning", func() bool { return strings.Contains(s.said(), `msg="ask for the revision" source=primary`) })
	if strings.Contains(s.said(), "alarm=source-update") {
		t.Error("an alarm")
	}
}

// TestConfigOutside: as docs/security.md has it, a configuration in the checkout means
// nothing, and what is in it is published.
func TestConfigOutside(t *testing.T) {
	b, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, recipe, ok := strings.Cut(string(b), "```toml\n")
	recipe, _, ok2 := strings.Cut(recipe, "```")
	if !ok || !ok2 {
		t.Fatal("docs/security.md has no configuration")
	}
	for _, follow := range []bool{false, true} {
		g := newGitSite(t)
		outer := t.TempDir()
		if err := os.Rename(g.path("keys"), filepath.Join(outer, "keys")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(g.dir, filepath.Join(outer, "checkout")); err != nil {
			t.Fatal(err)
		}
		g.dir = outer
		lab.RunIn(t, g.path("checkout"), "git", "branch", "-q", "--set-upstream-to=origin/main")
		lab.RunIn(t, g.path("checkout"), "git", "clean", "-q", "-f", "-d")
		recipe := strings.Replace(recipe, "[source.primary]\n", "[source.primary]\ninterval = \"1s\"\n", 1)
		if follow {
			recipe = strings.Replace(recipe, `"pull", "--quiet", "--ff-only"`, `"fetch", "--quiet"`, 1)
			g.follow = Follow{Ref: "origin/main"}
		}
		g.write("zonebuild.toml", recipe)
		g.start()
		g.until("the zone is published", g.published("www"))
		if err := os.WriteFile(filepath.Join(g.author, "zonebuild.toml"), []byte("alarm-command = [\"touch\", \"stolen\"]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		lab.RunIn(t, g.author, "git", "add", "zonebuild.toml")
		commit := g.commit("www A 192.0.2.80\n$INCLUDE keys/x\n")
		g.until("the fault", g.alarmed("input-rejected"))
		commit = g.commit("www A 192.0.2.80\nnew A 192.0.2.81\n")
		g.until("the commit is published", g.published("new"))
		g.until("its revision is logged", func() bool { return strings.Contains(g.said(), `revision "`+commit+`"`) })
		for _, path := range []string{"stolen", "checkout/stolen"} {
			if _, err := os.Stat(g.path(path)); err == nil {
				t.Error("a program of the checkout ran")
			}
		}
		g.stop()
	}
}

// TestPassFails: where nothing can be built, everybody who looks is told, until it can.
func TestPassFails(t *testing.T) {
	s := newSite(t, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = l
	s.write("zonebuild.toml", `alarm-command = ["sh", "-c", "cat >>alarms"]`+"\n")
	s.start()
	s.until("the zone is published", s.published("www"))
	health := func() (int, string) {
		r, err := http.Get("http://" + l.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	if code, text := health(); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, text)
	}
	if err := os.Remove(s.path("state/drop-boxes/lock")); err != nil {
		t.Fatal(err)
	}
	s.write("state/drop-boxes/lock/x", "") // no file: nobody can lock it
	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.82\n")
	s.tells("the alarm", "raise pass-failed")
	if code, text := health(); code != http.StatusServiceUnavailable || !strings.Contains(text, "nothing is built: lock the drop boxes") {
		t.Errorf("healthz: %d %s", code, text)
	}
	if err := os.RemoveAll(s.path("state/drop-boxes/lock")); err != nil {
		t.Fatal(err)
	}
	s.reload <- struct{}{} // else the retry comes in a while
	s.until("the change is published", s.published("new"))
	s.tells("the end", "raise pass-failed", "clear pass-failed")
	if code, text := health(); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, text)
	}
}
