package daemon

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

const fetch = "[source.primary]\nupdate = [\"git\", \"-C\", \"%\", \"fetch\", \"-q\", \"origin\"]\ninterval = \"1s\"\n"

// fetching is a configuration that fetches in a directory.
func fetching(dir string) string { return strings.ReplaceAll(fetch, "%", dir) }

// TestFollowGitRestart: what is exported and signed counts also when nothing newer can be
// had.
func TestFollowGitRestart(t *testing.T) {
	g := newGitSite(t)
	key, allowed := g.signer("author")
	lab.RunIn(t, g.author, "git", "config", "gpg.format", "ssh")
	first := g.commit("www A 192.0.2.80\nfirst A 192.0.2.81\n", signedBy(key)...)
	g.write("zonebuild.toml", fetching("."))
	g.follow = Follow{Ref: "origin/main", AllowedSigners: allowed}
	g.start()
	g.until("the signed commit is published", g.published("first"))
	g.stop()
	g.commit("www A 192.0.2.80\nevil A 192.0.2.83\n", "--no-gpg-sign")
	g.start()
	g.until("its revision is taken", func() bool { return strings.Count(g.said(), "revision="+first) == 2 })
	g.until("the alarm", func() bool { return g.stands("verify ") })
	g.drop("", goodValue)
	g.until("a challenge is published, of that revision", func() bool {
		return g.published(goodValue)() && strings.Contains(g.said(), `published code 0 revision "`+first+`"`)
	})
	if g.published("evil")() {
		t.Error("an unsigned commit was published")
	}
	g.stop()

	// Another may sign now: what is exported counts no more, and stays published.
	_, g.follow.AllowedSigners = g.signer("other")
	g.start()
	g.until("the daemon waits", func() bool { return strings.Contains(g.said(), "nothing is read of the checkout") })
	if !g.published("first")() {
		t.Error("the published zone is gone")
	}
}

// TestFollowGitExport: what is in the work tree does not count, whether it is committed or
// not; `build` beside the daemon and after it reads the revision, and without --follow-git
// the checkout counts again.
func TestFollowGitExport(t *testing.T) {
	g := newGitSite(t)
	g.write("primary/included", "included A 192.0.2.90\n")
	g.write("certs.map", "")
	lab.RunIn(t, g.dir, "git", "add", "primary", "certs.map")
	lab.RunIn(t, g.dir, "git", "commit", "-q", "-m", "include")
	lab.RunIn(t, g.dir, "git", "push", "-q", "origin", "main")
	lab.RunIn(t, g.author, "git", "pull", "-q")
	g.write("zonebuild.toml", fetching("."))
	g.follow, g.saw = Follow{Ref: "origin/main"}, g.sayFaults
	g.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.80\nedited A 192.0.2.55\n")
	g.write("soa/evil.example", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	g.start()
	g.until("the commit is published", g.published("www"))
	commit := g.commit("www A 192.0.2.80\n$INCLUDE primary/included\n")
	g.until("the next is, with what it includes", g.published("included"))
	g.write("primary/included", "included A 192.0.2.91\n")
	g.write(".git/index.lock", "")
	g.drop("", goodValue)
	g.until("a challenge is published", g.published(goodValue))
	check := func(when string) {
		t.Helper()
		if g.published("edited")() || g.published("192.0.2.91")() || strings.Contains(g.said(), "zone evil.example.") {
			t.Errorf("%s: what is in no revision was published", when)
		}
	}
	check("watch")

	build1 := func() build.Report {
		t.Helper()
		tree := g.open()
		r, err := tree.Build(t.Context(), build.Options{Now: time.Now().UTC().Truncate(time.Second), Log: g.d.Log})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	g.remove(".git/index.lock")
	if r := build1(); r.Code != cli.ExitOK || len(r.Zones) != 1 {
		t.Errorf("build beside the daemon: %+v", r)
	}
	check("build beside it")
	if faults, err := g.open().Check(t.Context(), nil, time.Now()); err != nil || faults.HasErrors() {
		t.Errorf("check: %v %v", faults, err)
	}
	if left := g.revisions(); len(left) != 2 || !slices.Contains(left, commit) {
		t.Errorf("revisions that are kept: %q", left)
	}

	// A new zone and a fault, as names of the tree.
	if err := os.WriteFile(filepath.Join(g.author, "soa/new.example"), []byte("$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.RunIn(t, g.author, "git", "add", "soa")
	g.commit("www A 192.0.2.80\nwww CNAME ns1\n")
	g.until("the new zone is there", func() bool { return strings.Contains(g.said(), "zone new.example.") })
	g.until("the fault is told", func() bool { return strings.Contains(g.said(), "primary/example.org:3") })
	if strings.Contains(g.said(), "state/revision/primary") {
		t.Error("a fault names the exported file")
	}
	g.commit("www A 192.0.2.81\n")
	g.until("the mended one is published", g.published("192.0.2.81"))
	if left := g.revisions(); len(left) != 2 {
		t.Errorf("revisions that are kept: %q", left)
	}
	g.stop()
	check("at the end")

	g.follow = Follow{}
	g.remove("soa/evil.example")
	g.start()
	g.until("the checkout counts", g.published("edited"))
	if _, err := os.Lstat(g.path("state/revision")); !errors.Is(err, os.ErrNotExist) || g.revisions() != nil {
		t.Errorf("what was exported is still there: %v", err)
	}
}

// sayFaults logs the faults of a pass.
func (s *testSite) sayFaults(r *build.Report) {
	for i := range r.Zones {
		for _, f := range r.Zones[i].Diagnostics {
			fmt.Fprintln(s, f)
		}
	}
}

// revisions are those that are kept.
func (s *testSite) revisions() (out []string) {
	entries, _ := os.ReadDir(s.path("state/revisions"))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestFollowGitBelow: the checkout is a directory below the tree, without a work tree, and
// the tree's own files are beside it. Nothing is there until the first fetch.
func TestFollowGitBelow(t *testing.T) {
	g := newGitSite(t)
	bare := strings.TrimSpace(lab.RunIn(t, g.dir, "git", "remote", "get-url", "origin"))
	s := newSite(t, false)
	for _, name := range []string{"soa/example.org", "primary/example.org"} {
		s.remove(name)
	}
	lab.RunIn(t, s.dir, "git", "init", "-q", "checkout")
	lab.RunIn(t, s.path("checkout"), "git", "remote", "add", "origin", bare)
	s.write("zonebuild.toml", "[source.soa]\npath = \"checkout/soa\"\nmarker = \".mounted\"\n"+strings.Replace(fetching("checkout"), "]\n", "]\npath = \""+s.path("checkout/primary")+"\"\n", 1))
	s.write("local", "local A 192.0.2.99\n")
	s.follow = Follow{Ref: "origin/main"}
	s.start()
	s.until("the first fetch is published", s.published("www"))
	g.commit("www A 192.0.2.80\n$INCLUDE local\n")
	s.until("a file beside the checkout is included", s.published("local"))
	if entries, err := os.ReadDir(s.path("checkout")); err != nil || len(entries) != 1 {
		t.Errorf("the work tree was touched: %v %v", entries, err)
	}
}

// TestFollowGitLinks: a link in a revision leads nowhere out of it, and not to the keys.
func TestFollowGitLinks(t *testing.T) {
	g := newGitSite(t)
	g.write("zonebuild.toml", fetching("."))
	g.follow, g.saw = Follow{Ref: "origin/main"}, g.sayFaults
	g.start()
	g.until("the commit is published", g.published("www"))
	keys, err := filepath.Glob(g.path("keys/K*.key"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("%v %v", keys, err)
	}
	for i, to := range []string{g.path("keys"), "../../keys", "../keys"} {
		name := fmt.Sprintf("primary/inc%d", i)
		if err := os.Symlink(to, filepath.Join(g.author, name)); err != nil {
			t.Fatal(err)
		}
		lab.RunIn(t, g.author, "git", "add", "primary")
		name = path.Join(name, filepath.Base(keys[0]))
		g.commit("www A 192.0.2.80\n$INCLUDE " + name + "\n")
		why := []string{"leads out of the tree", "leads out of the tree", "no such file"}[i]
		g.until("refused: "+to, func() bool {
			for line := range strings.Lines(g.said()) {
				if strings.Contains(line, name) && strings.Contains(line, why) {
					return true
				}
			}
			return false
		})
	}
}

// TestFollowUsage: what cannot be followed is refused at the start, in words.
func TestFollowUsage(t *testing.T) {
	refuses := func(s *testSite, want string) {
		t.Helper()
		err := s.daemon().Run(t.Context())
		if err == nil || cli.Code(err) != cli.ExitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := newSite(t, false)
	s.follow = Follow{Ref: "origin/main"}
	refuses(s, "no checkout of git (.git) is around soa/ or the tree")
	s.follow.Ref = "--upload-pack=x"
	refuses(s, "no name of a revision")
	lab.Run(t, "git", "init", "-q", s.path("checkout"))
	s.write("checkout/soa/example.org", "x")
	for _, dir := range []string{"soa", "primary"} {
		if err := os.RemoveAll(s.path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("checkout/soa", s.path("soa")); err != nil {
		t.Fatal(err)
	}
	s.write("zonebuild.toml", "[source.primary]\npath = \"checkout/primary\"\n")
	s.follow.Ref = "origin/main"
	refuses(s, "leads into the checkout by a symbolic link")
}

// TestAllowedSignersInside: whoever commits must not choose who may.
func TestAllowedSignersInside(t *testing.T) {
	g := newGitSite(t)
	_, allowed := g.signer("author")
	b, err := os.ReadFile(allowed)
	if err != nil {
		t.Fatal(err)
	}
	g.write("etc/signers", string(b))
	link := filepath.Join(t.TempDir(), "tree")
	if err := os.Symlink(g.dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{g.path("etc/signers"), filepath.Join(link, "etc/signers")} {
		g.follow = Follow{Ref: "origin/main", AllowedSigners: path}
		if err := g.daemon().Run(t.Context()); cli.Code(err) != cli.ExitUsage {
			t.Errorf("%s: %v", path, err)
		}
	}
}
