package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestUnsignedZone: a zone that its signed parent proves not to be signed gets its first
// certificate, also when a service is named; a key change says what is in its way.
func TestUnsignedZone(t *testing.T) {
	w := newTown(t, lab.NewPebble)
	w.plant("primary/example.org", "ns1 A 127.0.0.1\nplain NS ns1\n")
	w.build()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"example.org":       w.signed(),
		"plain.example.org": "$ORIGIN plain.example.org.\n$TTL 60\n@ SOA ns1.example.org. host.example.org. 1 1h 1h 1w 60\n@ NS ns1.example.org.\nmail A 127.0.0.1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	resolver := lab.NSD(t, lab.NSDOptions{Dir: dir, Zones: []string{"example.org", "plain.example.org"}})
	ca := lab.PebbleWith(t, w.addr, lab.PebbleOptions{})
	line := "[line.mail]\nnames = [\"mail.plain.example.org\"]\nservices = [\"smtp\"]\n[service.smtp]\nhost = \"mail.plain.example.org\"\nport = 25\nprobe = \"none\"\n"
	w.write("acmehook.toml", fmt.Sprintf("servers = [%q]\nresolver = [%q]\nanchors = \"anchors\"\nttls = 1\nmargin = \"0s\"\ntimeout = \"20s\"\n", w.yard.addr, resolver.Addr())+account(ca)+line)
	w.does(cli.ExitOK, "init")
	w.does(cli.ExitOK, "issue", "mail")
	w.does(cli.ExitOK, "live", "mail")
	w.does(cli.ExitOK, "run")
	w.does(cli.ExitOK, "rollover", "mail")
	w.does(cli.ExitOK, "run")
	if s := w.status(); s.Generation != 1 || !strings.Contains(fmt.Sprint(s.Waits), "_25._tcp.mail.plain.example.org.: DNSSEC: insecure: ") || !strings.Contains(fmt.Sprint(s.Waits), "tlsa = false in [service.smtp]") {
		t.Fatalf("%+v", s)
	}
	w.write("acmehook.toml", w.read("acmehook.toml")+"tlsa = false\n")
	w.does(cli.ExitOK, "run")
	if s := w.status(); s.Generation != 2 {
		t.Fatalf("%+v", s)
	}
}
