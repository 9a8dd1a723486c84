package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestCheck: a drop box, servers and an alias that are right, and each that is
// not.
func TestCheck(t *testing.T) {
	lab.Need(t, "nsd")
	zones := t.TempDir()
	text := "$TTL 300\n@ SOA ns1 host 1 7200 1800 600000 60\n@ NS ns1\nns1 A 127.0.0.1\n_acme-challenge.good CNAME x.acme.example.net.\n_acme-challenge.wrong CNAME y.acme.example.net.\n"
	if err := os.WriteFile(filepath.Join(zones, "example.org"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d := lab.NSD(t, lab.NSDOptions{Dir: zones, Zones: []string{"example.org"}})
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "dnsextra"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := func(text string) {
		t.Helper()
		text = fmt.Sprintf("names = [\"example.org\"]\ntimeout = \"10s\"\n%s", text)
		if err := os.WriteFile(filepath.Join(dir, "acmehook.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(code int, want ...string) {
		t.Helper()
		var out, err bytes.Buffer
		if got := run(t.Context(), []string{"-C", dir, "check"}, os.Getenv, &out, &err); got != code {
			t.Errorf("exit %d, want %d\n%s%s", got, code, &out, &err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%q is not in\n%s", w, &out)
			}
		}
	}
	alias := "[alias]\n\"good.example.org\" = \"x.acme.example.net\"\n"
	config("servers = [\"" + d.Addr() + "\"]\n" + alias)
	check(cli.ExitOK, "drop box "+dir+"/dnsextra: right\nclock: right\nname server "+strings.Replace(d.Addr(), ":", "@", 1)+": right\nalias of _acme-challenge.good.example.org.: right\n")
	if entries, err := os.ReadDir(filepath.Join(dir, "dnsextra")); err != nil || len(entries) != 1 || entries[0].Name() != ".acmehook.lock" {
		t.Errorf("left behind: %v %v", entries, err)
	}
	config("servers = [\"" + d.Addr() + "\"]\n" + alias + "\"wrong.example.org\" = \"x.acme.example.net\"\n\"none.example.org\" = \"x.acme.example.net\"\n")
	check(cli.ExitNo, "alias of _acme-challenge.wrong.example.org.: the CNAME there leads to y.acme.example.net., not to x.acme.example.net.",
		"alias of _acme-challenge.none.example.org.: no CNAME is there, it should lead to x.acme.example.net.")
	config("servers = [\"127.0.0.1@9\"]\n")
	check(cli.ExitNo, "name server 127.0.0.1@9: ")
	config("resolver = [\"127.0.0.1@9\"]\n")
	check(cli.ExitNo, "name servers of example.org.: look up the zone of example.org.: ")
}
