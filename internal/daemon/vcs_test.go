package daemon

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"zonebuild/internal/lab"
)

// recipe is a block of docs/vcs.md, by its heading and language, for another tree.
func recipe(t *testing.T, heading, language, tree string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/vcs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## "+heading)
	section, _, _ = strings.Cut(section, "\n## ")
	m := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(section)
	if !ok || m == nil {
		t.Fatalf("docs/vcs.md has no %s below %q", language, heading)
	}
	return strings.ReplaceAll(m[1], "/srv/dns", tree)
}

// TestRecipes: a push comes to be published, as docs/vcs.md says, with its revision.
func TestRecipes(t *testing.T) {
	for _, tt := range []struct {
		heading string
		hook    bool
	}{{"git, pushed", true}, {"git, polled", false}} {
		t.Run(tt.heading, func(t *testing.T) {
			g := newGitSite(t)
			lab.RunIn(t, g.dir, "git", "branch", "-q", "--set-upstream-to=origin/main")
			config := strings.Replace(recipe(t, tt.heading, "toml", g.dir), `"30s"`, `"1s"`, 1)
			if tt.hook {
				bare := strings.TrimSpace(lab.RunIn(t, g.author, "git", "remote", "get-url", "origin"))
				if err := os.WriteFile(filepath.Join(bare, "hooks/post-receive"), []byte(recipe(t, tt.heading, "sh", g.dir)), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			g.write("zonebuild.toml", config)
			g.start()
			g.until("the zone is published", g.published("www"))
			commit := g.commit("www A 192.0.2.80\npushed A 192.0.2.81\n")
			g.until("the commit is published", g.published("pushed"))
			g.until("its revision is logged", func() bool { return strings.Contains(g.said(), `revision "`+commit+`"`) })
		})
	}
}

// TestSubversion: what is committed to a real repository comes to be published, polled
// and by a hook, with its revision, as docs/vcs.md says.
func TestSubversion(t *testing.T) {
	lab.Need(t, "svn", "svnadmin")
	for _, hook := range []bool{false, true} {
		t.Run(map[bool]string{false: "polled", true: "post-commit"}[hook], func(t *testing.T) {
			s := newSite(t, false)
			dir := t.TempDir()
			repository, author := filepath.Join(dir, "zones"), filepath.Join(dir, "author")
			svn := func(args ...string) string {
				t.Helper()
				return lab.Run(t, "svn", append([]string{"--non-interactive", "--config-dir", filepath.Join(dir, "config")}, args...)...)
			}
			lab.Run(t, "svnadmin", "create", repository)
			url := "file://" + repository
			svn("checkout", "-q", url, s.dir)
			svn("add", "-q", s.path("soa"), s.path("primary"))
			svn("commit", "-q", "-m", "first", s.dir)
			svn("checkout", "-q", url, author)
			if hook {
				if err := os.WriteFile(filepath.Join(repository, "hooks/post-commit"), []byte(recipe(t, "Subversion", "sh", s.dir)), 0o755); err != nil {
					t.Fatal(err)
				}
				s.write("zonebuild.toml", "[source.primary]\nrevision = [\"svnversion\"]\n")
			} else {
				s.write("zonebuild.toml", strings.Replace(recipe(t, "Subversion", "toml", s.dir), `"30s"`, `"1s"`, 1))
			}
			s.start()
			s.until("the zone is published", s.published("www"))
			for _, host := range []string{"one", "two", "three"} {
				if err := os.WriteFile(filepath.Join(author, "primary/example.org"), []byte("ns1 A 192.0.2.53\n"+host+" A 192.0.2.81\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				svn("commit", "-q", "-m", host, author)
				s.until(host+" is published", s.published(host+".example.org."))
			}
			s.until("the revision is logged", func() bool { return strings.Contains(s.said(), `published code 0 revision "4`) })
		})
	}
}
