package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// fakeLine is a line for what lab.Hostilities orders.
const fakeLine = "[line.mail]\nnames = [\"example.org\"]\nprofile = \"tlsserver\"\n"

// TestHostileCA lets the CA do all it can do wrong when a line is renewed: it is said
// clearly, the line keeps its certificate, no file is written where none belongs, and
// when the CA is well again the line goes on.
func TestHostileCA(t *testing.T) {
	for _, row := range lab.Hostilities() {
		t.Run(row.Name, func(t *testing.T) {
			y := newYard(t)
			outside := y.dir
			y.dir = filepath.Join(outside, "jail")
			if err := os.MkdirAll(y.path("dnsextra"), 0o755); err != nil {
				t.Fatal(err)
			}
			y.write("../etc/passwd", "root\n")
			ca := lab.NewFakeCA(t)
			y.configure(ca, fakeLine)
			y.does(cli.ExitOK, "init")
			y.does(cli.ExitOK, "issue", "mail")
			y.does(cli.ExitOK, "run")
			if y.does(cli.ExitOK, "run") != "" {
				t.Fatal("it does not come to rest")
			}
			before := y.lasting(outside)
			want := strings.TrimPrefix(ca.Play(row), "find the account: ")
			patience := y.limits
			y.limits.Issue = 100 * time.Millisecond
			if strings.HasPrefix(row.Name, "slow") || row.Name == "no answer" {
				y.limits.Request = 300 * time.Millisecond
			}
			y.limits.Lifetime = 0
			y.says(cli.ExitFailed, want, "renew", "mail", "--force")
			if after := y.lasting(outside); !maps.Equal(before, after) {
				t.Errorf("before\n%v\nafter\n%v", before, after)
			}
			y.noChallenges()
			if s := y.status(); s.Generation != 1 || !strings.Contains(s.Error, want) {
				t.Errorf("%+v", s)
			}
			ca.Change, ca.Take, ca.Leaf, ca.Public, ca.Chain, ca.Status, ca.Proved = nil, nil, nil, nil, nil, "pending", false
			y.limits = patience
			y.past += time.Hour
			y.does(cli.ExitOK, "renew", "mail", "--force")
			if s := y.status(); s.Generation != 2 || s.Error != "" {
				t.Errorf("%+v", s)
			}
			y.noChallenges()
		})
	}
}

// lasting is everything in a directory but the program's own notes and locks.
func (y *yard) lasting(dir string) map[string]string {
	y.t.Helper()
	all := (&yard{t: y.t, dir: dir}).tree()
	maps.DeleteFunc(all, func(name, _ string) bool {
		return strings.Contains(name, "/state/") || strings.HasSuffix(name, ".lock")
	})
	return all
}

// TestRetryAfter: a CA that wants to be left alone is, for a day at most, however
// absurd its wish; a run meanwhile asks it for nothing and says nothing.
func TestRetryAfter(t *testing.T) {
	for asked, want := range map[string]time.Duration{
		"":                              time.Minute, // the first failure
		"3600":                          time.Hour,
		"0":                             time.Minute,
		"-1":                            time.Minute,
		"315360000":                     24 * time.Hour,
		"9999999999999999999999":        24 * time.Hour,
		"Fri, 20 Nov 2099 12:30:00 GMT": 24 * time.Hour,
		"Fri, 20 Nov 1999 12:30:00 GMT": time.Minute,
		"soon":                          time.Minute,
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(status, " ", asked), func(t *testing.T) {
				y := newYard(t)
				ca := lab.NewFakeCA(t)
				y.configure(ca, fakeLine)
				y.does(cli.ExitOK, "init")
				ca.Take = lab.At("/newOrder", func(w http.ResponseWriter, _ *http.Request) {
					lab.Refuse(w, status, asked, "rateLimited", "slow down")
				})
				y.says(cli.ExitFailed, "rate limited (rateLimited): slow down", "run")
				n := ca.Asked("/newOrder")
				for _, at := range []time.Duration{want / 2, want - 10*time.Second} {
					y.past = at
					y.does(cli.ExitOK, "run")
				}
				if got := ca.Asked("/newOrder"); got != n {
					t.Errorf("asked %d times, then %d", n, got)
				}
				y.past = want + 10*time.Second
				ca.Take = nil
				y.does(cli.ExitOK, "run")
				if y.status().Generation != 1 {
					t.Error("no certificate")
				}
			})
		}
	}
}

// TestBackOff: 1 minute, 10, 100, then daily; issue does not wait, but five failures of
// a name within an hour end that too.
func TestBackOff(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine)
	y.does(cli.ExitOK, "init")
	fail := func(f *lab.FakeCA, path string, b map[string]any) {
		if strings.HasPrefix(path, "/authz/") && f.Proved {
			b["status"] = "invalid"
			b["challenges"] = []any{map[string]any{"type": "dns-01", "status": "invalid", "error": map[string]any{"type": "urn:ietf:params:acme:error:dns", "detail": "NXDOMAIN"}}}
			f.Proved, f.Status = false, "pending"
		}
	}
	y.ages(ca)
	ca.Change = fail
	y.does(cli.ExitFailed, "run")
	for i, wait := range []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour, 24 * time.Hour} {
		n := ca.Asked("/newOrder")
		y.past += wait - 10*time.Second
		y.does(cli.ExitOK, "run")
		if ca.Asked("/newOrder") != n {
			t.Fatalf("%d: asked before %s were over", i, wait)
		}
		if s := y.status(); len(s.Waits) == 0 || s.Error == "" {
			t.Errorf("%+v", s)
		}
		y.past += 15 * time.Second
		y.says(cli.ExitFailed, "example.org: validation failed", "run")
		if ca.Asked("/newOrder") != n+1 {
			t.Fatalf("%d: not asked after %s", i, wait)
		}
	}
	y.past += 48 * time.Hour
	for range 5 {
		y.says(cli.ExitFailed, "validation failed", "issue", "mail")
	}
	n := ca.Asked("/newOrder")
	y.says(cli.ExitFailed, "too many failures: example.org failed 5 times within an hour, it rests until", "issue", "mail")
	y.past += 50 * time.Minute
	y.says(cli.ExitFailed, "too many failures", "issue", "mail")
	if ca.Asked("/newOrder") != n {
		t.Error("the CA was asked")
	}
	y.past += 11 * time.Minute
	ca.Change = nil
	y.does(cli.ExitOK, "issue", "mail")
}

// TestPreflight: what is broken here costs nothing at the CA.
func TestPreflight(t *testing.T) {
	for name, row := range map[string]struct {
		breaks func(y *yard)
		want   string
	}{
		"server": {func(y *yard) {
			y.write("acmehook.toml", strings.Replace(y.read("acmehook.toml"), "servers = [", "servers = [\"127.0.0.1@9\", \"127.0.0.2@9\", ", 1))
		}, "before an order: name server 127.0.0.1@9: "},
		"issue":    {func(y *yard) { y.record(`example.org. 1 IN CAA 0 issue "other.example"`) }, "CAA at example.org. does not allow example.org to ca.example"},
		"method":   {func(y *yard) { y.record(`example.org. 1 IN CAA 0 issue "ca.example; validationmethods=http-01"`) }, "CAA at example.org. does not allow"},
		"account":  {func(y *yard) { y.record(`example.org. 1 IN CAA 0 issue "ca.example; accounturi=https://ca.example/2"`) }, "CAA at example.org. does not allow"},
		"parent":   {func(y *yard) { y.record(`org. 1 IN CAA 0 issue ";"`) }, "CAA at org. does not allow"},
		"critical": {func(y *yard) { y.record(`example.org. 1 IN CAA 128 tbs "x"`) }, "CAA at example.org. does not allow"},
		"no box":   {func(y *yard) { os.Remove(y.path("dnsextra")) }, "open the drop box "},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			ca := lab.NewFakeCA(t)
			ca.Change = func(_ *lab.FakeCA, path string, b map[string]any) {
				if path == "/dir" {
					b["meta"].(map[string]any)["caaIdentities"] = []any{"ca.example"}
				}
			}
			y.configure(ca, fakeLine)
			out := y.does(cli.ExitOK, "init")
			record := "example.org. CAA 0 issue \"ca.example; validationmethods=dns-01; accounturi=" + ca.Server.URL + "/account\""
			if !strings.Contains(out, record+"\n") {
				t.Fatalf("no CAA record for the zone: %s", out)
			}
			row.breaks(y)
			y.says(cli.ExitFailed, row.want, "issue", "mail")
			if n := ca.Asked("/newOrder"); n != 0 {
				t.Errorf("%d orders", n)
			}
			if name == "account" { // what init printed allows it
				y.records = nil
				y.record(record)
				y.does(cli.ExitOK, "issue", "mail")
			}
		})
	}
}
