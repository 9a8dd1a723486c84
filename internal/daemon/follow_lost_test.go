package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// newFollowed is a site that follows a signed revision, which is published; sign are the
// options of its author's commits.
func newFollowed(t *testing.T) (g *gitSite, sign []string) {
	t.Helper()
	g = newGitSite(t)
	key, allowed := g.signer("author")
	lab.RunIn(t, g.author, "git", "config", "gpg.format", "ssh")
	g.commit("www A 192.0.2.80\nfirst A 192.0.2.81\n", signedBy(key)...)
	g.write("zonebuild.toml", fetching("."))
	g.follow, g.saw = Follow{Ref: "origin/main", AllowedSigners: allowed}, g.sayFaults
	g.start()
	g.until("the signed commit is published", g.published("first"))
	return g, signedBy(key)
}

// TestFollowGitAway: a daemon that starts while the checkout is away, as while it is cloned
// anew, keeps up what is published, and so does `build`; the work tree's files never count.
func TestFollowGitAway(t *testing.T) {
	g, sign := newFollowed(t)
	g.stop()
	git := filepath.Join(t.TempDir(), "git")
	if err := os.Rename(g.path(".git"), git); err != nil {
		t.Fatal(err)
	}
	g.write("primary/example.org", "ns1 A 192.0.2.53\nedited A 192.0.2.55\n")
	g.start()
	g.drop("", goodValue)
	g.until("a challenge is published", g.published(goodValue))
	g.until("the alarm", func() bool { return g.stands("not a git repository") })
	if faults, err := g.open().Check(t.Context(), nil, g.d.Now()); err != nil || faults.HasErrors() {
		t.Errorf("check: %v %v", faults, err)
	}
	if !g.published("first")() || g.published("edited")() {
		t.Error("what is published is not the revision")
	}
	if err := os.Rename(git, g.path(".git")); err != nil {
		t.Fatal(err)
	}
	g.commit("www A 192.0.2.80\nsecond A 192.0.2.82\n", sign...)
	g.until("the next commit is published", g.published("second"))
}

// TestFollowGitLost: an export that was removed or left out of a backup is made again, of
// the same commit, also where the newest is refused.
func TestFollowGitLost(t *testing.T) {
	g, _ := newFollowed(t)
	g.commit("www A 192.0.2.80\nevil A 192.0.2.83\n", "--no-gpg-sign")
	g.until("the alarm says why", func() bool { return g.stands(errNotSigned.Error()) })
	exported, err := os.Readlink(g.path("state/revision"))
	if err != nil {
		t.Fatal(err)
	}
	whole := func() bool {
		_, err := os.Stat(g.path("state/" + exported + "/soa/example.org"))
		is, _ := os.Readlink(g.path("state/revision"))
		return err == nil && is == exported
	}
	for _, lost := range []string{"revisions", "revision"} {
		if err := os.Rename(g.path("state/"+lost), g.path("lost-"+lost)); err != nil {
			t.Fatal(err)
		}
		g.until(lost+" is there again", whole)
	}
	g.stop()
	if err := os.RemoveAll(g.path("state/revisions")); err != nil {
		t.Fatal(err)
	}
	g.start()
	g.until("the export is made by the start", whole)
	g.drop("", goodValue)
	g.until("a challenge is published", g.published(goodValue))
	if !g.published("first")() || g.published("evil")() {
		t.Error("what is published is not the revision")
	}
}

// TestFollowGitFaulty: a start with a revision that cannot be taken ends, but takes the
// next that was fetched.
func TestFollowGitFaulty(t *testing.T) {
	g, sign := newFollowed(t)
	list := filepath.Join(g.author, "list")
	if err := os.WriteFile(list, []byte("example.org\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.RunIn(t, g.author, "git", "add", "list")
	g.commit("www A 192.0.2.80\nlisted A 192.0.2.82\n", sign...)
	g.until("the list is there", g.published("listed"))
	g.write("zonebuild.toml", fetching(".")+"[[zone]]\nnames-from = \"list\"\n")
	lab.RunIn(t, g.author, "git", "rm", "-q", "list")
	g.commit("www A 192.0.2.80\nunlisted A 192.0.2.83\n", sign...)
	g.until("the fault is told", func() bool { return g.stands("read list") })
	g.stop()
	if err := g.daemon().Run(t.Context()); cli.Code(err) != cli.ExitRejected {
		t.Errorf("a start with it: %v", err)
	}
	lab.RunIn(t, g.author, "git", "checkout", "-q", "HEAD~1", "list")
	g.commit("www A 192.0.2.80\nmended A 192.0.2.84\n", sign...)
	lab.RunIn(t, g.dir, "git", "fetch", "-q", "origin")
	g.start()
	g.until("the mended one is published", g.published("mended"))
}

// TestFollowGitReplaced: refs/replace/, which a mirror fetches, changes nothing that is
// signed.
func TestFollowGitReplaced(t *testing.T) {
	g, sign := newFollowed(t)
	g.write("evil", "ns1 A 192.0.2.53\nevil A 192.0.2.83\n")
	evil := strings.TrimSpace(lab.RunIn(t, g.dir, "git", "hash-object", "-w", "evil"))
	second := g.commit("www A 192.0.2.80\nsecond A 192.0.2.82\n", sign...)
	blob := strings.TrimSpace(lab.RunIn(t, g.author, "git", "rev-parse", second+":primary/example.org"))
	g.stop()
	lab.RunIn(t, g.dir, "git", "fetch", "-q", "origin")
	lab.RunIn(t, g.dir, "git", "replace", blob, evil)
	if out := lab.RunIn(t, g.dir, "git", "show", second+":primary/example.org"); !strings.Contains(out, "evil") {
		t.Fatalf("git replaces nothing: %s", out)
	}
	g.start()
	g.until("what is signed is published", g.published("second"))
}

// TestExportBesideOld: the git of a daemon that was killed writes into no archive of the
// next.
func TestExportBesideOld(t *testing.T) {
	g := newGitSite(t)
	commit := strings.TrimSpace(lab.RunIn(t, g.dir, "git", "rev-parse", "HEAD"))
	f := &gitFollower{Follow: Follow{Ref: "main"}, top: g.dir, link: g.path("state/revision"), log: g.daemon().Log}
	g.write("state/revisions/."+commit+".tar", "old")
	if err := os.Link(g.path("state/revisions/."+commit+".tar"), g.path("old")); err != nil {
		t.Fatal(err)
	}
	if at, err := f.Update(t.Context()); err != nil || at != commit {
		t.Fatalf("%q %v", at, err)
	}
	if b, err := os.ReadFile(g.path("old")); err != nil || string(b) != "old" {
		t.Errorf("it was written over: %d octets, %v", len(b), err)
	}
	if _, err := os.Stat(g.path("state/revision/soa/example.org")); err != nil {
		t.Error(err)
	}
	if left := g.revisions(); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"revision", "revisions", "checkout"} {
		if _, err := os.Lstat(g.path("state/" + name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

// TestFollowGitCollected: sshfp/ is read of the revision when that has files there, and of
// the tree when it has none or only keeps the place, by the daemon as by `build`.
func TestFollowGitCollected(t *testing.T) {
	g := newGitSite(t)
	key, err := os.ReadFile(g.hostKey())
	if err != nil {
		t.Fatal(err)
	}
	put := func(dir, name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "sshfp"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "sshfp", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if dir == g.author {
			lab.RunIn(t, dir, "git", "add", "sshfp")
		}
	}
	has := func(host string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(g.path("signed/example.org"))
			for line := range strings.Lines(string(b)) {
				if strings.HasPrefix(line, host+".") && strings.Contains(line, "\tSSHFP\t4 2 ") {
					return true
				}
			}
			return false
		}
	}
	g.write("zonebuild.toml", fetching("."))
	g.follow = Follow{Ref: "origin/main"}
	put(g.dir, "www.example.org", string(key))
	put(g.author, ".gitkeep", "")
	g.commit("www A 192.0.2.80\nlast A 192.0.2.81\n")
	g.start()
	g.until("the place alone changes nothing", func() bool { return g.published("last")() && has("www")() })
	put(g.author, "last.example.org", string(key))
	g.commit("www A 192.0.2.80\nlast A 192.0.2.82\n")
	g.until("the revision's are published", has("last"))
	g.until("those of the tree count no more", not(has("www")))
	lab.RunIn(t, g.author, "git", "rm", "-q", "-r", "sshfp")
	g.commit("www A 192.0.2.80\nlast A 192.0.2.83\n")
	g.until("those of the tree count again", has("www"))
	g.until("the revision's are gone", not(has("last")))
}

// TestFollowGitBeside: of a source in another checkout it is said that nobody verifies it.
func TestFollowGitBeside(t *testing.T) {
	g := newGitSite(t)
	other := filepath.Join(t.TempDir(), "other")
	lab.Run(t, "git", "clone", "-q", g.dir, other)
	g.write("zonebuild.toml", "[source.primary]\npath = \""+other+"/primary\"\n")
	g.follow = Follow{Ref: "origin/main"}
	g.start()
	g.until("the zone is published", g.published("www"))
	if said := g.said(); !strings.Contains(said, "it is in another checkout") || !strings.Contains(said, "path="+other+"/primary") || strings.Contains(said, "path="+g.path("soa")) {
		t.Error("nothing is said of primary/, or of others")
	}
}
