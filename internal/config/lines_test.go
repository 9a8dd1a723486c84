package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// hookOf loads a text as acmehook.toml of a directory.
func hookOf(t *testing.T, text string) (*Hook, []string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile(HookFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h, faults := LoadHook(".")
	var out []string
	for _, f := range faults {
		out = append(out, f.String())
	}
	return h, out
}

func TestLines(t *testing.T) {
	h, faults := hookOf(t, `
[line.mail]
names    = ["Mail.Example.org.", "*.example.org"]
services = ["smtp"]
deploy   = [["a", "b c"], ["d"]]
[service.smtp]
host = "mail.example.org"
port = 25
probe = "none"
[account]
key = "/secret/key"
ca-file = "ca.pem"
`)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	l, ok := h.Line("mail")
	if !ok || !reflect.DeepEqual(l.Names, []string{"mail.example.org", "*.example.org"}) || !reflect.DeepEqual(l.Deploy, [][]string{{"a", "b c"}, {"d"}}) ||
		!l.ReuseKey || !l.NextKey || l.KeyType != "ecdsa-p256" || l.Timeout != time.Minute {
		t.Errorf("%+v", l)
	}
	if s := h.ServicesOf(l); len(s) != 1 || !s[0].ProbeOff || !s[0].TLSA || s[0].Proto != "tcp" {
		t.Errorf("%+v", s)
	}
	if h.Account.Key != "/secret/key" || h.Account.CAFile != "ca.pem" || h.LinesDir != "lines" {
		t.Errorf("%+v", h.Account)
	}
}

// TestProbePorts: an address without a port has the service's.
func TestProbePorts(t *testing.T) {
	h, faults := hookOf(t, "[service.smtp]\nhost = \"h.example\"\nprobe = [\"192.0.2.25\", \"2001:db8::25\", \"192.0.2.26:2525\", \"192.0.2.27@26\"]\nport = 25\n")
	if got := fmt.Sprint(h.Services[0].Probe); len(faults) > 0 || got != "[192.0.2.25:25 [2001:db8::25]:25 192.0.2.26:2525 192.0.2.27:26]" {
		t.Errorf("%s %v", got, faults)
	}
}

func TestLineFaults(t *testing.T) {
	for text, want := range map[string]string{
		"[line.mail]\n": "acmehook.toml:1:7: line mail: names are missing [config-value]",
		"[line.\"../x\"]\nnames = [\"a.example\"]": `acmehook.toml:1:7: line "../x": a name is of a-z, 0-9, dot, dash and underscore, and begins with a letter or a digit [config-value]`,
		"line = 1":         "acmehook.toml:1:1: unknown key line [config-unknown]",
		"[line]\nmail = 1": "acmehook.toml:2:1: mail: must be a table: [line.mail] [config-value]",
		"[line.mail]\nnames = [\"a.example\", \"A.example.\"]":                                          "acmehook.toml:2:23: names: a.example stands twice [config-value]",
		"[line.mail]\nnames = [\"a.*.example\"]":                                                        `acmehook.toml:2:10: names: "a.*.example" is no name that a certificate is for [config-value]`,
		"[line.mail]\nnames = []":                                                                       "acmehook.toml:2:1: names: must be from 1 to 100 names [config-value]",
		"[line.mail]\nnames = [\"a.example\"]\nservices = [\"x\"]":                                      "acmehook.toml:3:1: services: there is no [service.x] [config-value]",
		"[line.mail]\nnames = [\"a.example\"]\ndeploy = [\"x\"]":                                        `acmehook.toml:3:1: deploy: must be a list of commands: [["program", "argument", ...], ...] [config-value]`,
		"[line.mail]\nnames = [\"a.example\"]\nkey-tipe = \"x\"":                                        "acmehook.toml:3:1: unknown key key-tipe in [line.mail] (is key-type meant?) [config-unknown]",
		"[line.mail]\nnames = [\"a.example\"]\nnext-csr = \"x\"":                                        "acmehook.toml:3:1: next-csr: csr is missing [config-value]",
		"[line.mail]\nnames = [\"a.example\"]\ncsr = \"../x\"":                                          `acmehook.toml:3:7: csr: "../x" leads out of the tree: write the whole path [config-value]`,
		"[line.mail]\nnames = [\"a.example\"]\nmust-staple = true":                                      "acmehook.toml:3:15: must-staple: is refused: CAs answer no OCSP any more, and clients would turn away from a certificate that demands it [config-value]",
		"[line.a]\nnames = [\"a.example\"]\n[line.b]\nnames = [\"b.example\"]\ndirectory = \"lines/a\"": "acmehook.toml:3:7: line b: lines/a is taken by the line a [config-value]",
		"names = [\"a.example\", \"*.b.example\"]\nalias = {\"c.example\" = \"c.example.net\"}\n[line.mail]\nnames = [\"x.a.example\", \"*.a.example\", \"c.example\", \"x.b.example\"]": "acmehook.toml:4:1: names: x.b.example may not be proved: it is not within `names` at the top [config-value]",
		"[service.x]\nport = 1": "acmehook.toml:1:10: service x: host is missing [config-value]",
		"[service.x]\nport = 1\nhost = \"h.example\"\nprobe = \"x\"": `acmehook.toml:4:9: probe: must be "none" or a list of addresses such as "192.0.2.1:443" [config-value]`,
		"[account]\ndirectory = \"http://ca.example/\"":              `acmehook.toml:2:13: directory: "http://ca.example/" is no https URL [config-value]`,
		"[account]\neab-key-id = \"x\"":                              "acmehook.toml:1:2: account: eab-key-id and eab-key-file are given together or not at all [config-value]",
		"[account]\ncontact = [\"x@example.org\"]":                   `acmehook.toml:2:12: contact: "x@example.org" is no URL such as mailto:hostmaster@example.org [config-value]`,
	} {
		if _, faults := hookOf(t, text); len(faults) != 1 || faults[0] != want {
			t.Errorf("%q:\n%q, want\n%q", text, faults, want)
		}
	}
}

// TestServicePresets: what is in examples/services is a service with a command.
func TestServicePresets(t *testing.T) {
	files, err := filepath.Glob("../../examples/services/*.toml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			h, faults := hookOf(t, string(text))
			if len(faults) > 0 || len(h.Services) != 1 || len(h.Services[0].Reload) == 0 || h.Services[0].Name+".toml" != filepath.Base(file) {
				t.Errorf("%+v %v", h.Services, faults)
			}
		})
	}
}

// TestPlacesApart: no private key and no state below what is public, nothing of a line in
// the drop box; what is only named alike is left alone.
func TestPlacesApart(t *testing.T) {
	const line = "[line.mail]\nnames = [\"a.example\"]\n"
	for text, want := range map[string]string{
		"keys-dir = \"lines/keys\"\n" + line:                                          "keys-dir: lines/keys is in that of lines-dir, which is public",
		"lines-dir = \"/srv/./certs/\"\nkeys-dir = \"/srv/certs/x/../keys\"\n" + line: "keys-dir: /srv/certs/x/../keys is in that of lines-dir, which is public",
		"state-dir = \"lines/state\"\n" + line:                                        "state-dir: lines/state is in that of lines-dir, which is public",
		"[account]\nkey = \"lines/account.key\"\n" + line:                             "account: key: lines/account.key is in that of lines-dir, which is public",
		line + "keys = \"lines/mail/keys\"\n":                                         "line mail: keys: lines/mail/keys is in that of lines-dir, which is public",
		line + "directory = \"/srv/a\"\nkeys = \"/srv/a/keys\"\n":                     "line mail: keys: /srv/a/keys is in that of line mail: directory, which is public",
		"lines-dir = \"dnsextra\"\n" + line:                                           "lines-dir: dnsextra is in the drop box dnsextra, where challenges are and nothing else",
		"drop-box = \"/box\"\nkeys-dir = \"/box/keys\"\n" + line:                      "keys-dir: /box/keys is in the drop box /box, where challenges are and nothing else",
		line + "directory = \"dnsextra/mail\"\n":                                      "line mail: directory: dnsextra/mail is in the drop box dnsextra, where challenges are and nothing else",
		line + "keys = \"linesx\"\n":                                                  "",
		"lines-dir = \"keys/lines\"\n" + line:                                         "",
		"keys-dir = \"..lines\"\n" + line:                                             "",
		"drop-box = \"lines\"\n":                                                      "", // no line: nothing is there
		"keys-dir = \"dnsextra\"\n[service.x]\nport = 1\nhost = \"h.example\"":        "",
	} {
		_, faults := hookOf(t, text)
		if want == "" && len(faults) > 0 || want != "" && (len(faults) != 1 || faults[0] != "acmehook.toml: "+want+" [config-value]") {
			t.Errorf("%q:\n%q, want\n%q", text, faults, want)
		}
	}
}
