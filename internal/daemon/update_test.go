package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/lab"
)

// gitSite is a tree that is a work tree of a bare repository, beside an author's.
type gitSite struct {
	*testSite
	author string
}

func newGitSite(t *testing.T) *gitSite {
	t.Helper()
	lab.Need(t, "git", "ssh-keygen")
	s := newSite(t, false)
	g := &gitSite{testSite: s, author: t.TempDir()}
	bare := filepath.Join(t.TempDir(), "zones.git")
	lab.Run(t, "git", "init", "-q", "--bare", "-b", "main", bare)
	lab.RunIn(t, s.dir, "git", "init", "-q", "-b", "main")
	for _, dir := range []string{s.dir} {
		lab.RunIn(t, dir, "git", "config", "user.name", "t")
		lab.RunIn(t, dir, "git", "config", "user.email", "t@example.org")
	}
	lab.RunIn(t, s.dir, "git", "add", "soa", "primary")
	lab.RunIn(t, s.dir, "git", "commit", "-q", "-m", "first")
	lab.RunIn(t, s.dir, "git", "remote", "add", "origin", bare)
	lab.RunIn(t, s.dir, "git", "push", "-q", "origin", "main")
	lab.Run(t, "git", "clone", "-q", bare, g.author)
	lab.RunIn(t, g.author, "git", "config", "user.name", "author")
	lab.RunIn(t, g.author, "git", "config", "user.email", "author@example.org")
	return g
}

// commit changes the zone, pushes, and gives the commit; args are options of git.
func (g *gitSite) commit(hosts string, args ...string) string {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.author, "primary/example.org"), []byte("ns1 A 192.0.2.53\n"+hosts), 0o644); err != nil {
		g.t.Fatal(err)
	}
	lab.RunIn(g.t, g.author, "git", append([]string{"commit", "-q", "-a", "-m", "change"}, args...)...)
	lab.RunIn(g.t, g.author, "git", "push", "-q", "-f", "origin", "HEAD:main")
	return strings.TrimSpace(lab.RunIn(g.t, g.author, "git", "rev-parse", "HEAD"))
}

// signer makes a key for commits and gives the file of those who may sign.
func (g *gitSite) signer(name string) (key, allowed string) {
	g.t.Helper()
	dir := g.t.TempDir()
	key, allowed = filepath.Join(dir, name), filepath.Join(dir, "allowed")
	lab.Run(g.t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
	public, err := os.ReadFile(key + ".pub")
	if err == nil {
		err = os.WriteFile(allowed, append([]byte(name+"@example.org "), public...), 0o644)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return key, allowed
}

func signedBy(key string) []string { return []string{"-S" + key + ".pub"} }

// TestUpdate: a commit is fetched, published, and named in the log; a fetch that
// fails raises an alarm and takes nothing.
func TestUpdate(t *testing.T) {
	g := newGitSite(t)
	g.write("zonebuild.toml", `[source.primary]
update = ["sh", "-c", "git pull -q --ff-only origin main && test ! -e broken"]
revision = ["git", "rev-parse", "HEAD"]
interval = "1s"
`)
	g.start()
	g.until("the zone is published", g.published("www"))
	rev := g.commit("www A 192.0.2.80\npulled A 192.0.2.81\n")
	g.until("the commit is published", g.published("pulled"))
	g.until("the revision is logged", func() bool { return strings.Contains(g.said(), `published code 0 revision "`+rev+`"`) })
	g.write("broken", "")
	g.commit("www A 192.0.2.80\nnever A 192.0.2.82\n")
	g.until("the alarm", func() bool { return strings.Contains(g.said(), "alarm=source-update source=tree") })
	if g.published("never")() {
		t.Error("what a failed update left was published")
	}
	g.remove("broken")
	g.until("the update that succeeds is published", g.published("never"))
}

// TestFollowGit: only signed commits are taken, and only forwards.
func TestFollowGit(t *testing.T) {
	g := newGitSite(t)
	key, allowed := g.signer("author")
	other, _ := g.signer("other")
	lab.RunIn(t, g.author, "git", "config", "gpg.format", "ssh")
	first := g.commit("www A 192.0.2.80\nfirst A 192.0.2.81\n", signedBy(key)...)
	g.write("zonebuild.toml", "[source.primary]\nupdate = [\"git\", \"fetch\", \"-q\", \"origin\"]\ninterval = \"1s\"\n")
	g.follow = Follow{Ref: "origin/main", AllowedSigners: allowed}
	g.start()
	g.until("the signed commit is published", g.published("first"))
	g.until("its revision is logged", func() bool { return strings.Contains(g.said(), `revision "`+first+`"`) })
	for what, args := range map[string][]string{"unsigned": {"--no-gpg-sign"}, "foreign": signedBy(other)} {
		commit := g.commit("www A 192.0.2.80\n"+what+" A 192.0.2.82\n", args...)
		g.until(what+" is refused", func() bool { return g.stands("verify " + commit) })
		if g.published(what)() {
			t.Errorf("%s: published", what)
		}
		if to, err := os.Readlink(g.path("state/revision")); err != nil || to != "revisions/"+first {
			t.Errorf("%s: %q %v is exported, not %s", what, to, err, first)
		}
	}
	g.commit("www A 192.0.2.80\nsecond A 192.0.2.83\n", signedBy(key)...)
	g.until("the next signed commit is published", g.published("second"))

	// A signed commit that is not behind the present one is a step back.
	lab.RunIn(t, g.author, "git", "reset", "-q", "--hard", first)
	g.commit("www A 192.0.2.80\nrewritten A 192.0.2.84\n", signedBy(key)...)
	g.until("the rewritten history is refused", func() bool { return g.stands(errNotForward.Error()) })
	if g.published("rewritten")() {
		t.Error("rewritten history was published")
	}
}

// stands reports whether an alarm of the daemon says a text.
func (s *testSite) stands(text string) bool {
	b, _ := os.ReadFile(s.path("state/watch/alarms.json"))
	return strings.Contains(string(b), text)
}
