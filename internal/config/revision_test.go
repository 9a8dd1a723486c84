package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestRevision: what is in the checkout is read of an exported revision, wherever the
// checkout is; nothing else is.
func TestRevision(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	tree := func(checkout, toml string, dirs ...string) (dir string, c *Config) {
		t.Helper()
		n++
		dir = filepath.Join(base, string(rune('a'+n)), "dns")
		for _, d := range append(dirs, checkout+"/.git", "state/revisions/c0ffee") {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("revisions/c0ffee", filepath.Join(dir, "state/revision")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, File), []byte(toml), 0o644); err != nil {
			t.Fatal(err)
		}
		c, faults := Load(dir)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		return dir, c
	}
	paths := func(c *Config) []string {
		return []string{c.Paths.SOA, c.Paths.Primary, c.Paths.CertsMap, c.Paths.Certs, c.Paths.SSHFP, c.Paths.Keys, c.Paths.Signed, c.SourcePath("x/y")}
	}
	check := func(what, dir string, c *Config, want ...string) {
		t.Helper()
		for i := range want {
			if !filepath.IsAbs(want[i]) {
				want[i] = filepath.Join(dir, want[i])
			}
		}
		if got := paths(c)[:len(want)]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%q, want\n%q", what, got, want)
		}
	}

	dir, c := tree(".", "", "state/revisions/c0ffee/soa", "state/revisions/c0ffee/sshfp/x", "certs", "state/revisions/c0ffee/certs/.keep")
	if len(c.Zones) != 0 {
		t.Errorf("%v", c.Zones)
	}
	check("the tree is the checkout", dir, c, "state/revision/soa", "state/revision/primary", "state/revision/certs.map", "certs", "state/revision/sshfp", "keys", "signed", "state/revision/x/y")

	dir, c = tree("..", "", "../r", "state/revisions/c0ffee/dns/sshfp/x", "state/revisions/c0ffee/dns/soa")
	check("the tree is in the checkout", dir, c, "state/revision/dns/soa", "state/revision/dns/primary", "state/revision/dns/certs.map", "certs", "state/revision/dns/sshfp", "keys", "signed", "state/revision/dns/x/y")
	if got := c.Shown(c.Paths.CertsMap); got != "certs.map" {
		t.Errorf("shown as %q", got)
	}
	if !c.InRevision(c.Paths.SOA) || c.InRevision(c.Paths.Certs) {
		t.Error("InRevision")
	}

	dir, c = tree("checkout", "[source.soa]\npath = \"checkout/soa\"\n[paths]\ncerts-map = \"checkout/m\"\n")
	check("the checkout is below the tree", dir, c, "state/revision/soa", "primary", "state/revision/m", "certs", "sshfp", "keys", "signed", "x/y")
	if got := c.Shown(c.Paths.CertsMap); got != "checkout/m" {
		t.Errorf("shown as %q", got)
	}

	elsewhere := filepath.Join(base, "elsewhere")
	dir, c = tree("../../elsewhere", "[source.soa]\npath = \""+elsewhere+"/soa\"\n")
	check("the checkout is elsewhere", dir, c, "state/revision/soa", "primary", "certs.map", "certs", "sshfp", "keys", "signed", "x/y")
	if got := c.Checkout(); got != elsewhere {
		t.Errorf("the checkout is %s", got)
	}
	if err := os.Remove(filepath.Join(dir, "state/revision")); err != nil {
		t.Fatal(err)
	}
	if c, faults := Load(dir); faults.HasErrors() || c.Revision != nil || c.Paths.SOA != elsewhere+"/soa" || c.Checkout() != elsewhere {
		t.Errorf("no revision: %v %v", c.Paths, faults)
	}

	dir, _ = tree(".", "")
	if err := os.Remove(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	if _, faults := Load(dir); !faults.HasErrors() || faults[0].Pos.File != "state/revision" {
		t.Errorf("no checkout: %v", faults)
	}
	remember := func(of string) {
		t.Helper()
		link := filepath.Join(dir, "state", CheckoutLink)
		if err := os.RemoveAll(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(of, link); err != nil {
			t.Fatal(err)
		}
	}
	remember(filepath.Join(dir, "other"))
	if _, faults := Load(dir); !faults.HasErrors() {
		t.Error("another checkout was taken for that of the sources")
	}
	remember(dir)
	c, faults := Load(dir)
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	check("the checkout is away", dir, c, "state/revision/soa", "state/revision/primary")
	if err := os.RemoveAll(filepath.Join(dir, "state/revisions")); err != nil {
		t.Fatal(err)
	}
	if _, faults := Load(dir); !faults.HasErrors() || !strings.Contains(faults[0].String(), "c0ffee is not there") {
		t.Errorf("no export: %v", faults)
	}
}

// TestRevisionZones: the zones are the files of soa/ and the names of lists in the revision.
func TestRevisionZones(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		".git/x": "", "soa/edited.example": "", "list": "edited.example\n",
		"state/revisions/c0ffee/soa/a.example": "", "state/revisions/c0ffee/list": "a.example\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("revisions/c0ffee", filepath.Join(dir, "state/revision")); err != nil {
		t.Fatal(err)
	}
	for _, toml := range []string{"", "[[zone]]\nnames-from = \"list\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, File), []byte(toml), 0o644); err != nil {
			t.Fatal(err)
		}
		c, faults := Load(dir)
		if faults != nil || len(c.Zones) != 1 || c.Zones[0].Name.String() != "a.example." || c.Zones[0].SOA != "soa/a.example" {
			t.Errorf("%q: %+v %v", toml, c.Zones, faults)
		}
	}
}

// TestRelativeTree: a tree that is named relative to the working directory.
func TestRelativeTree(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"dns/.git", "dns/state/revisions/c0ffee/sshfp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("dns/state/revisions/c0ffee/sshfp/host.example", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, faults := Load("dns"); faults.HasErrors() || c.Paths.SOA != "dns/soa" || c.Paths.CertsMap != "dns/certs.map" || c.Paths.SSHFP != "dns/sshfp" ||
		c.SourcePath("soa/x") != "dns/soa/x" || c.Shown(c.Paths.CertsMap) != "certs.map" {
		t.Errorf("%+v %v", c.Paths, faults)
	}
	if err := os.Symlink("revisions/c0ffee", "dns/state/revision"); err != nil {
		t.Fatal(err)
	}
	link, err := filepath.Abs("dns/state/revision")
	if err != nil {
		t.Fatal(err)
	}
	if c, faults := Load("dns"); faults.HasErrors() || c.Paths.SOA != link+"/soa" || c.Paths.CertsMap != link+"/certs.map" || c.Paths.SSHFP != link+"/sshfp" || c.Paths.Certs != "dns/certs" ||
		c.SourcePath("soa/x") != link+"/soa/x" || c.Shown(c.Paths.CertsMap) != "certs.map" {
		t.Errorf("%+v %v", c.Paths, faults)
	}
}
