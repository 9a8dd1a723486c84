package sshfp_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/sshfp"
	"zonebuild/zone"
)

// zones knows example.org and a zone in it.
func zones(name domain.Name) (domain.Name, bool) {
	for _, apex := range []string{"sub.example.org", "example.org"} {
		if apex := domain.MustParse(apex); name.IsWithin(apex) {
			return apex, true
		}
	}
	return domain.Name{}, false
}

func dirOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// said are faults a line each, without the directory.
func said(dir string, faults diag.List) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(strings.ReplaceAll(f.String(), dir, "D") + "\n")
	}
	return b.String()
}

// TestScan: each file name and kind of file, with the faults of the set and of
// the hosts, word by word.
func TestScan(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"a.example.org":             ed25519Key,
		"dot.example.org.":          ed25519Key,
		"b.sub.example.org":         ed25519Key,
		"twice.example.org":         ed25519Key,
		"twice.example.org.":        ed25519Key,
		"large.example.org":         strings.Repeat("#", 64<<10+1),
		"bad.example.org":           "ssh-rsa AAAA\n",
		"other.example.com":         ed25519Key,
		"Upper.example.org":         ed25519Key,
		"*.example.org":             ed25519Key,
		"%2e":                       ed25519Key,
		"a..example.org":            ed25519Key,
		"J\xf6rg.example.org":       ed25519Key,
		"nlf.example.org\nx":        ed25519Key,
		".mounted":                  "",
		".a.example.org.swp":        "x",
		"a.example.org~":            "x",
		"#a.example.org#":           "x",
		"25-0%2f25.sub.example.org": ed25519Key,
	})
	if err := os.Mkdir(filepath.Join(dir, "dir.example.org"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.example.org", filepath.Join(dir, "link.example.org")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.example.org"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := sshfp.Scan(sshfp.Options{Dir: dir, Marker: ".mounted"}, zones)
	var got strings.Builder
	for _, h := range s.Hosts {
		n := -1
		if h.Records != nil {
			n = h.Records.Len()
		}
		fmt.Fprintf(&got, "%s %s %d %v %s\n", h.Name, h.Apex, n, h.Broken, strings.ReplaceAll(h.Reason, dir, "D"))
		if h.Broken != h.Faults.HasErrors() || h.Broken != (h.Reason != "") || h.Broken != (h.Records == nil) {
			t.Errorf("%s: broken %v, but %v", h.Name, h.Broken, h.Faults)
		}
	}
	got.WriteString(said(dir, s.Faults))
	const want = `a.example.org. example.org. 1 false 
bad.example.org. example.org. -1 true D/bad.example.org:1:9: the host is left out: the key is cut short
dir.example.org. example.org. -1 true D/dir.example.org: the host is left out: not a regular file
dot.example.org. example.org. 1 false 
fifo.example.org. example.org. -1 true D/fifo.example.org: the host is left out: not a regular file
large.example.org. example.org. -1 true D/large.example.org: the host is left out: too large: more than 65536 octets
link.example.org. example.org. -1 true D/link.example.org: the host is left out: not a regular file
25-0/25.sub.example.org. sub.example.org. 1 false 
b.sub.example.org. sub.example.org. 1 false 
twice.example.org. example.org. -1 true D/twice.example.org.: the host is left out: a second file of it
D/%2e: warning: passed over, the file name is that of no host: the root is no host [sshfp-file-name]
D/*.example.org: warning: passed over, the file name is that of no host: a wildcard is no host [sshfp-file-name]
D/J\xf6rg.example.org: warning: passed over, the file name is that of no host: "J\xf6rg.example.org": byte that needs an escape (write a non-ASCII name as A-labels) [sshfp-file-name]
D/Upper.example.org: warning: passed over, the file name is that of no host: "Upper.example.org" is written "upper.example.org" [sshfp-file-name]
D/a..example.org: warning: passed over, the file name is that of no host: "a..example.org": empty label [sshfp-file-name]
D/nlf.example.org\nx: warning: passed over, the file name is that of no host: "nlf.example.org\nx": byte that needs an escape (write a non-ASCII name as A-labels) [sshfp-file-name]
D/other.example.com: warning: other.example.com.: passed over, no zone holds this host [sshfp-no-zone]
`
	if got.String() != want {
		t.Errorf("%s\nwant\n%s", &got, want)
	}
	_, faults := s.For(domain.MustParse("example.org"))
	if faults.HasErrors() || !strings.HasSuffix(said(dir, faults), "D/twice.example.org.: warning: twice.example.org.: the host is left out: a second file of it [sshfp-twice] (the first at D/twice.example.org)\n") {
		t.Errorf("%s", said(dir, faults))
	}
}

// TestUnread: a directory of which nothing can be known is not an empty one.
func TestUnread(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	for i := range 16385 {
		f, err := os.Create(filepath.Join(full, fmt.Sprintf("h%d.example.org", i)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	comment := bytes.Repeat([]byte("#"), 64<<10)
	large := t.TempDir()
	for i := range 257 {
		if err := os.WriteFile(filepath.Join(large, fmt.Sprintf("h%d.example.org", i)), comment, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dirOf(t, map[string]string{"f": ""}), "f")
	for _, tt := range []struct {
		o    sshfp.Options
		want string
	}{
		{sshfp.Options{Dir: filepath.Join(full, "absent")}, ""},
		{sshfp.Options{Dir: filepath.Join(full, "absent"), Marker: "m"}, "not mounted: m is not there"},
		{sshfp.Options{Dir: dirOf(t, map[string]string{"a.example.org": ed25519Key}), Marker: "m"}, "not mounted: m is not there"},
		{sshfp.Options{Dir: full}, "more than 16384 files"},
		{sshfp.Options{Dir: large}, "more than 16777216 octets"},
		{sshfp.Options{Dir: file}, "not a directory"},
	} {
		s := sshfp.Scan(tt.o, zones)
		if s.Unread != tt.want || len(s.Hosts) != 0 {
			t.Errorf("%+v: %q, want %q", tt.o, s.Unread, tt.want)
		}
		want := ""
		if tt.want != "" {
			want = "D: warning: the host keys are not read, what is published of them stays: " + tt.want + " [sshfp-unread]\n"
		}
		if got := said(tt.o.Dir, s.Faults); got != want {
			t.Errorf("%s", got)
		}
	}
}

// TestManyStrays: names that are no hosts cannot make a report without end.
func TestManyStrays(t *testing.T) {
	files := map[string]string{}
	for i := range 25 {
		files[fmt.Sprintf("h%02d.example.com", i)] = ed25519Key
	}
	dir := dirOf(t, files)
	s := sshfp.Scan(sshfp.Options{Dir: dir}, zones)
	if len(s.Faults) != 21 || s.Faults[20].String() != dir+": warning: 5 more files are passed over [sshfp-more]" {
		t.Errorf("%s", said(dir, s.Faults))
	}
}

// compile gives the SSHFP records of example.org with the guests of a scan.
func compile(t *testing.T, s *sshfp.Set, primary string) (string, diag.List) {
	t.Helper()
	apex := domain.MustParse("example.org")
	o := zone.ParseOptions{Apex: apex}
	soa, faults := zone.Parse("soa", []byte("$TTL 60\n@ SOA ns h 1 2h 30m 4w 1h\n@ NS ns\n"), o)
	hand, more := zone.Parse("primary", []byte("ns A 192.0.2.1\n"+primary), o)
	guests, _ := s.For(apex)
	z, said := zone.Compile(apex, append([]zone.Fragment{soa, hand}, guests...)...)
	if faults = append(faults, more...); z == nil || faults.HasErrors() {
		t.Fatalf("%v %v", faults, said)
	}
	var b strings.Builder
	if _, err := z.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	out := ""
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "\tSSHFP\t") {
			out += strings.ReplaceAll(line, "\t", " ")
		}
	}
	return out, said
}

// TestCompile: the fragments as the compiler takes them. The fingerprints are the
// RFCs', and for type 1 of the Ed25519 key what `ssh-keygen -r` says.
func TestCompile(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"a.example.org": ecdsaKey + "\n" + ed25519Key, "b.example.org": ed25519Key, "c.example.org": ed25519Key, "d.example.org": "x",
	})
	s := sshfp.Scan(sshfp.Options{Dir: dir, SHA1: true, TTL: 300}, zones)
	got, faults := compile(t, s, "c CNAME a\nb 600 SSHFP 1 2 b049f950d1397b8fee6a61e4d14a9acdc4721e084eff5460bbed80cfaa2ce2cb\n")
	const want = `a.example.org. 300 IN SSHFP 3 1 c64607a28c5300fec1180b6e417b922943cffcdd
a.example.org. 300 IN SSHFP 3 2 821eb6c1c98d9cc827ab7f456304c0f14785b7008d9e8646a8519de80849afc7
a.example.org. 300 IN SSHFP 4 1 06a2de9a2d0f034701d67917e49cfc45a03c2e61
a.example.org. 300 IN SSHFP 4 2 a87f1b687ac0e57d2a081a2f282672334d90ed316d2b818ca9580ea384d92401
b.example.org. 600 IN SSHFP 1 2 b049f950d1397b8fee6a61e4d14a9acdc4721e084eff5460bbed80cfaa2ce2cb
b.example.org. 600 IN SSHFP 4 1 06a2de9a2d0f034701d67917e49cfc45a03c2e61
b.example.org. 600 IN SSHFP 4 2 a87f1b687ac0e57d2a081a2f282672334d90ed316d2b818ca9580ea384d92401
`
	if got != want {
		t.Errorf("%swant\n%s", got, want)
	}
	if got := said(dir, faults); got != "D/c.example.org:1:1: warning: c.example.org.: the file is left out: a CNAME stands at its owner (primary:2:1) [guest-dropped]\n" {
		t.Errorf("%s", got)
	}
	plain, _ := compile(t, sshfp.Scan(sshfp.Options{Dir: dir}, zones), "c A 192.0.2.3\n")
	if strings.Contains(plain, " 1 c646") || strings.Count(plain, " 3600 IN SSHFP ") != 4 {
		t.Errorf("%s", plain)
	}
}

// TestDigest: the digest of a fragment changes with all that its records and its
// faults are made of, and with nothing else.
func TestDigest(t *testing.T) {
	dir := dirOf(t, map[string]string{"a.example.org": ed25519Key})
	path := filepath.Join(dir, "a.example.org")
	digest := func(o sshfp.Options) [32]byte {
		o.Dir = dir
		fragments, _ := sshfp.Scan(o, zones).For(domain.MustParse("example.org"))
		if len(fragments) != 1 || len(fragments[0].Files) != 1 || !fragments[0].Guest || fragments[0].Name != path || fragments[0].Files[0].Name != path {
			t.Fatalf("%+v", fragments)
		}
		return fragments[0].Files[0].Digest
	}
	seen := map[[32]byte]string{digest(sshfp.Options{}): "plain"}
	if digest(sshfp.Options{TTL: sshfp.DefaultTTL}) != digest(sshfp.Options{}) {
		t.Error("the default TTL makes a difference")
	}
	other := func(what string, o sshfp.Options) {
		d := digest(o)
		if first, ok := seen[d]; ok {
			t.Errorf("%s has the digest of %s", what, first)
		}
		seen[d] = what
	}
	other("SHA-1", sshfp.Options{SHA1: true})
	other("another TTL", sshfp.Options{TTL: 60})
	for _, text := range []string{ed25519Key + "\n" + dsaKey, rsaKey, "", "x"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		other(text, sshfp.Options{})
	}
	if err := os.WriteFile(path+".", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	other("a second file", sshfp.Options{})
	if err := os.Remove(path + "."); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	other("a directory", sshfp.Options{})
}

// TestRevokedDoesNotStay: what is published of a broken host stays, but for the
// keys that its file revokes.
func TestRevokedDoesNotStay(t *testing.T) {
	dir := dirOf(t, map[string]string{"a.example.org": "@revoked * " + ed25519Key + "\nssh-rsa AAAA\n"})
	s := sshfp.Scan(sshfp.Options{Dir: dir}, zones)
	if len(s.Hosts) != 1 || !s.Hosts[0].Broken {
		t.Fatalf("%+v", s.Hosts)
	}
	for record, stays := range map[string]bool{
		"0402a87f1b687ac0e57d2a081a2f282672334d90ed316d2b818ca9580ea384d92401": false,
		"040106a2de9a2d0f034701d67917e49cfc45a03c2e61":                         false,
		"0102b049f950d1397b8fee6a61e4d14a9acdc4721e084eff5460bbed80cfaa2ce2cb": true,
		"0402":     true,
		"04":       true,
		"":         true,
		"04030000": true,
	} {
		rdata, err := hex.DecodeString(record)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Hosts[0].MayStay(rdata); got != stays {
			t.Errorf("%s: %v", record, got)
		}
	}
}
