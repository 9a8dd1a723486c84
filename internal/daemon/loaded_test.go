package daemon

import (
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// keygen makes keys for a zone that is not in the tree yet.
func (s *testSite) keygen(apex string) {
	s.t.Helper()
	s.write("soa/"+apex, "@ SOA . . 1 2h 30m 4w 1h\n")
	defer s.remove("soa/" + apex)
	tree := s.open()
	if _, err := tree.MakeKeys(domain.MustParse(apex), build.KeyOptions{Now: time.Now().UTC()}); err != nil {
		s.t.Fatal(err)
	}
}

// TestFirstUpdateBringsConfiguration: a zone and a configuration that the first update
// brings are taken, though it comes behind the reading of the configuration.
func TestFirstUpdateBringsConfiguration(t *testing.T) {
	g := newGitSite(t)
	const config = `[source.primary]
update = ["git", "pull", "--quiet", "--ff-only"]
interval = "1h"
`
	g.write("zonebuild.toml", config)
	lab.RunIn(t, g.dir, "git", "add", "zonebuild.toml")
	lab.RunIn(t, g.dir, "git", "commit", "-q", "-m", "configuration")
	lab.RunIn(t, g.dir, "git", "push", "-q", "-u", "origin", "main")
	lab.RunIn(t, g.author, "git", "pull", "-q")
	for name, text := range map[string]string{
		"soa/new.example":     "$TTL 1h\n@ SOA ns1.example.org. hostmaster.example.org. 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n",
		"primary/new.example": "here A 192.0.2.44\n",
		"zonebuild.toml":      config + "[policy]\nzonemd = \"sha384\"\n",
	} {
		if err := os.WriteFile(g.author+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lab.RunIn(t, g.author, "git", "add", ".")
	commit := g.commit("www A 192.0.2.80\n")
	g.keygen("new.example")
	g.start()
	g.until("the configuration is taken", g.published("\tZONEMD\t"))
	g.until("the zone is published", func() bool {
		b, _ := os.ReadFile(g.path("signed/new.example"))
		return strings.Contains(string(b), "192.0.2.44")
	})
	if commit == "" || strings.Contains(g.said(), "alarm=") {
		t.Error("an alarm")
	}
}

// TestConfigGoneAtOnce: the configuration goes after it was read and before it is
// looked at for the first time, which no later look would notice.
func TestConfigGoneAtOnce(t *testing.T) {
	s := newSite(t, false).start()
	s.until("the zone is published", s.published("www"))
	b, err := os.ReadFile(s.path("zonebuild.toml"))
	if err != nil {
		t.Fatal(err)
	}
	site := s.d.site
	if site.outdated() {
		t.Error("nothing changed")
	}
	s.write("zonebuild.toml", string(b)+"# a remark\n")
	if site.outdated() {
		t.Error("a remark changes nothing")
	}
	for _, text := range []string{"", "[policy]\nrefrehs = \"3d\"\n", string(b) + "[policy]\nrefresh = \"3d\"\n"} {
		if s.write("zonebuild.toml", text); !site.outdated() {
			t.Errorf("%q is not noticed", text)
		}
	}
	s.write("zonebuild.toml", string(b))
	s.write("soa/new.example", "@ SOA . . 1 2h 30m 4w 1h\n")
	if !site.outdated() {
		t.Error("a new zone is not noticed")
	}
	s.remove("soa/new.example")
	s.until("all is as it was", func() bool { return !site.outdated() })
	s.stop()
}
