package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"zonebuild/internal/dane"
	"zonebuild/internal/lab"
)

// other is a tool that checks DANE. ask says whether it is content with a
// case; asked is false where it can say nothing of it.
type other struct {
	name string
	ask  func(t *testing.T, c *daneCase, r *dane.Report) (yes, asked bool, said string)
}

// others are the tools that are installed. Each gets the lab's resolver, root
// key and CA.
func others(t *testing.T, l *daneLab) []other {
	t.Helper()
	resolv := filepath.Join(l.dir, "resolv.conf")
	write(t, resolv, "nameserver "+l.addr53+"\noptions edns0 trust-ad\n")
	write(t, l.dir+"/postfix/main.cf", "compatibility_level = 3.6\nsmtp_dns_support_level = dnssec\ninet_protocols = ipv4\nmail_owner = daemon\nsetgid_group = bin\n")
	port := fmt.Sprint(l.port)
	// inside runs a tool that knows no other resolver and root key than the
	// system's, and leaves files where it stands.
	inside := func(t *testing.T, args ...string) (string, bool) {
		script := `cd "$1" && mount --bind "$2" /etc/resolv.conf && mount --bind "$3" /usr/share/dns/root.key && shift 3 && exec "$@"`
		return lab.Try(t, "unshare", append([]string{"-m", "sh", "-c", script, "sh", l.dir, resolv, l.anchor}, args...)...)
	}
	list := []other{
		{"ldns-dane", func(t *testing.T, c *daneCase, _ *dane.Report) (bool, bool, string) {
			if slices.Contains(c.args, "smtp") {
				return false, false, ""
			}
			said, ok := lab.Try(t, "ldns-dane", "-r", l.addr53, "-T", "-f", l.caFile, "verify", c.full(), port)
			return ok, true, said
		}},
		{"danetool", func(t *testing.T, c *daneCase, _ *dane.Report) (bool, bool, string) {
			args := []string{"danetool", "--check", c.full(), "--port", port, "--proto", "tcp", "--local-dns"}
			if slices.Contains(c.args, "smtp") {
				args = append(args, "--starttls-proto", "smtp")
			}
			said, ok := inside(t, args...)
			return ok, true, said
		}},
		{"openssl s_client", func(t *testing.T, c *daneCase, r *dane.Report) (bool, bool, string) {
			// It asks no DNS: it gets the records, names and addresses that we found.
			check := &r.Checks[0]
			yes, asked, all := true, false, ""
			for _, x := range check.Results {
				switch {
				case len(check.Records) == 0 || !x.Address.IsValid():
					return false, false, ""
				case x.Verdict == dane.Untested:
					continue
				}
				args := []string{"s_client", "-brief", "-verify_return_error", "-CAfile", l.caFile,
					"-connect", l.at(x.Address.String()), "-dane_tlsa_domain", check.SNI}
				for _, record := range check.Records {
					args = append(args, "-dane_tlsa_rrdata", record.String())
				}
				if slices.Contains(c.args, "smtp") {
					args = append(args, "-starttls", "smtp")
				}
				said, ok := lab.Try(t, "openssl", args...)
				yes, asked, all = yes && ok, true, all+said
			}
			return yes, asked, all
		}},
	}
	if program, err := exec.LookPath("posttls-finger"); err == nil { // of Postfix: its package wants to be the mail server
		list = append(list, other{"posttls-finger", func(t *testing.T, c *daneCase, _ *dane.Report) (bool, bool, string) {
			args := []string{"env", "MAIL_CONFIG=" + l.dir + "/postfix", program, "-c", "-l", "dane-only", "-t", "3", "-T", "1", "-F", l.caFile}
			if !slices.Contains(c.args, "smtp") {
				args = append(args, "-w") // TLS at once
			}
			said, _ := inside(t, append(args, "["+c.full()+"]:"+port)...) // its exit status is 0 always
			return strings.Contains(said, "Verified TLS connection established"), true, said
		}})
	}
	return list
}

// TestBesideOthers puts the same cases to other tools. Whoever differs must be
// listed with the case in docs/dane.md, where the reason stands, and nobody else.
func TestBesideOthers(t *testing.T) {
	lab.NeedRoot(t)
	lab.Need(t, "ldns-dane", "openssl", "danetool", "unshare", "mount")
	l, cases := daneWorld(t)
	l.start()
	if l.addr53 == "" {
		t.Skip("no address has a port 53 for us")
	}
	tools := others(t, l)
	documented := differences(t)
	var mu sync.Mutex
	said, count := map[string]int{}, 0
	t.Run("cases", func(t *testing.T) {
		for i := range cases {
			c := &cases[i]
			t.Run(c.title(), func(t *testing.T) {
				code, out, _ := invoke(t, l.args(append([]string{c.full(), fmt.Sprint(l.port), "--json"}, c.args...)...)...)
				t.Parallel() // some tools wait for long; two runs of ours at once would share urfave/cli's help flag
				var r dane.Report
				if err := json.Unmarshal([]byte(out), &r); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				for _, tool := range tools {
					yes, asked, text := tool.ask(t, c, &r)
					if !asked {
						continue
					}
					if differs := yes != (code == 0); differs != slices.Contains(documented[c.title()], tool.name) {
						t.Errorf("%s: %t, exit status of verify-dane %d; docs/dane.md lists %q\n%s", tool.name, yes, code, documented[c.title()], text)
					}
					mu.Lock()
					count++
					said[tool.name]++
					mu.Unlock()
				}
			})
		}
	})
	for _, title := range slices.Sorted(maps.Keys(documented)) {
		if !slices.ContainsFunc(cases, func(c daneCase) bool { return c.title() == title }) {
			t.Errorf("docs/dane.md lists %q, which is no case", title)
		}
	}
	t.Log(count, said)
}

// title is how docs/dane.md calls a case.
func (c *daneCase) title() string { return strings.Join(append([]string{c.host}, c.args...), " ") }

// differences reads the table of docs/dane.md: who differs in which case.
func differences(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("../../docs/dane.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "\n## Beside other tools\n")
	if !ok {
		t.Fatal("docs/dane.md has no such section")
	}
	row := regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| ([^|]*) \\| ")
	names := regexp.MustCompile("`([^`]*)`")
	out := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		for _, c := range names.FindAllStringSubmatch(m[1], -1) {
			for tool := range strings.SplitSeq(m[2], ", ") {
				out[c[1]] = append(out[c[1]], strings.TrimSpace(tool))
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("docs/dane.md lists no case")
	}
	return out
}
