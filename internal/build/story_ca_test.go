package build_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// nobodys is a line whose keys have no TLSA records.
func nobodys(name string, names ...string) string {
	return fmt.Sprintf("[line.%s]\nnames = [\"%s\"]\ndane = false\n", name, strings.Join(names, `", "`))
}

// TestCAs are the stories of a line that no service waits for, with both programs, nsd
// and both Pebbles. (TestLine changes a key that has TLSA records.) Debian's Pebble knows
// no profiles, no renewal information and no certificates that are replaced: there it is
// told what acmehook does without.
func TestCAs(t *testing.T) {
	t.Parallel()
	g := newStage(t)
	before := cutSOA(g.read("unsigned/example.org"))
	stories := map[string]struct {
		options lab.PebbleOptions
		young   map[string]uint64 // profiles, where the CA knows such
		tell    func(*customer)
	}{
		"life":     {tell: storyOfALife},
		"eab":      {options: lab.PebbleOptions{EAB: map[string]string{"kid-1": eabSecret}}, tell: storyOfEAB},
		"nonces":   {options: lab.PebbleOptions{Nonces: 50}, tell: storyOfNonces},
		"profiles": {young: map[string]uint64{"days6": 6 * 86400, "days45": 45 * 86400}, tell: storyOfProfiles},
		"ari":      {young: map[string]uint64{"short": 90, "long": 90 * 86400}, tell: storyOfARI},
	}
	t.Run("stories", func(t *testing.T) {
		for name, row := range stories {
			for _, modern := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/Pebble %s", name, map[bool]string{false: "2.4", true: "2.10"}[modern]), func(t *testing.T) {
					t.Parallel()
					c := &customer{stage: g, t: t, dir: t.TempDir(), modern: modern, domain: name + ".old.example.org"}
					if start, o := lab.DebianPebble, row.options; modern {
						start, o.Profiles, c.domain = lab.PebbleWith, row.young, name+".new.example.org"
						c.ca = start(t, g.addr, o)
					} else {
						c.ca = start(t, g.addr, o)
					}
					row.tell(c)
				})
			}
		}
	})
	if left, err := filepath.Glob(g.path("dnsextra", "_*")); err != nil || len(left) > 0 {
		t.Errorf("left in the drop box: %v %v", left, err)
	}
	lab.Until(t, "the zone is as before", func() error {
		if after := cutSOA(g.read("unsigned/example.org")); after != before {
			return errors.New(after)
		}
		if n := len(lab.Query(t, g.addr, "_acme-challenge.example.org.", "TXT", 0).Answer); n > 0 {
			return fmt.Errorf("nsd has %d challenges", n)
		}
		return nil
	})
}

// storyOfALife: the apex, its wildcard and a host in one certificate, which is issued,
// renewed with its key, put back by hand, renewed with another key, and revoked.
func storyOfALife(c *customer) {
	names := strings.Fields(orderNames)
	c.lines(nobodys("a", names...))
	c.does(ok, "init")
	c.does(ok, "issue", "a")
	first := c.leaf("a", names...)
	c.does(ok, "run") // and the next key
	if out := c.does(ok, "run"); out != "" {
		c.t.Errorf("it talks although nothing is due: %s", out)
	}
	c.does(ok, "renew", "a", "--force")
	second := c.leaf("a", names...)
	if second.SerialNumber.Cmp(first.SerialNumber) == 0 || spkiHash(second) != spkiHash(first) {
		c.t.Error("it was not renewed with the same key")
	}
	replaced(c, names)
	next := c.status("a").NextKey.Hash
	c.does(ok, "rollover", "a")
	c.does(ok, "run")
	if got := spkiHash(c.leaf("a", names...)); got != next || got == spkiHash(first) {
		c.t.Errorf("the key is %s, and the next one was %s", got, next)
	}
	if s := c.status("a"); s.Generation != 4 || s.Alarm.Code != "" {
		c.t.Errorf("%+v", s)
	}
	revoked(c, names)
}

// replaced: the first generation, which the CA knows to be replaced, is live again by the
// operator's hand. The CA refuses to replace it twice, and it is renewed all the same; an
// old CA does not know what that is, and takes the first order.
func replaced(c *customer, names []string) {
	live := filepath.Join(c.dir, "lines/a/live")
	if err := errors.Join(os.Remove(live), os.Symlink("archive/0001", live)); err != nil {
		c.t.Fatal(err)
	}
	before, want := c.orders(), 1
	if c.modern {
		want = 2
	}
	c.does(ok, "renew", "a", "--force")
	c.leaf("a", names...)
	if n, s := c.orders()-before, c.status("a"); n != want || s.Generation != 3 {
		c.t.Errorf("%d requests for an order, want %d; %+v", n, want, s)
	}
}

// revoked: the CA knows of it and why, and the next run renews.
func revoked(c *customer, names []string) {
	old := c.leaf("a", names...)
	if status, _ := c.standing(old); status != "Valid" {
		c.t.Errorf("the CA says %s", status)
	}
	c.does(ok, "revoke", "a", "--reason", "superseded")
	if status, reason := c.standing(old); status != "Revoked" || reason != 4 {
		c.t.Errorf("the CA says %s %d", status, reason)
	}
	c.says(rejected, "the live certificate was revoked at ", "revoke", "a", "--reason", "superseded")
	if s := c.status("a"); s.Alarm.Code != "certificate-revoked" {
		c.t.Errorf("%+v", s)
	}
	c.says(ok, "renew: the live certificate is revoked", "run")
	if status, _ := c.standing(c.leaf("a", names...)); status != "Valid" {
		c.t.Errorf("the CA says %s", status)
	}
	if s := c.status("a"); s.Generation != 5 || s.Alarm.Code != "" {
		c.t.Errorf("%+v", s)
	}
}

const eabSecret = "YSBzZWNyZXQgb2YgdGhlIG9wZXJhdG9yLCAzMiBvY3Q"

// storyOfEAB: no account without the operator's own at the CA, whose key stays where he
// put it.
func storyOfEAB(c *customer) {
	line := nobodys("a", c.domain)
	c.lines(line)
	c.says(failed, "register the account: external account binding wanted", "init")
	c.bind = "eab-key-id = \"kid-1\"\neab-key-file = \"eab\"\n"
	c.lines(line)
	c.put("eab", "YW5vdGhlciBzZWNyZXQgb2YgdGhlIG9wZXJhdG9yLi4\n")
	c.says(failed, "register the account: ", "init")
	c.put("eab", eabSecret+"\n")
	c.does(ok, "init")
	c.does(ok, "issue", "a")
	c.leaf("a", c.domain)
	err := filepath.WalkDir(c.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Base(path) == "eab" {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(eabSecret)) {
			c.t.Errorf("the secret is in %s", path)
		}
		return err
	})
	if err != nil {
		c.t.Error(err)
	}
}

// storyOfNonces: the CA takes every second nonce for one that was used.
func storyOfNonces(c *customer) {
	if !strings.Contains(c.ca.Log(), "reject 50% of good nonces") {
		c.t.Fatalf("the CA rejects none:\n%s", c.ca.Log())
	}
	c.lines(nobodys("a", c.domain, "*."+c.domain))
	c.does(ok, "init")
	c.does(ok, "issue", "a")
	c.does(ok, "renew", "a", "--force")
	leaf := c.leaf("a", c.domain, "*."+c.domain)
	c.does(ok, "revoke", "a")
	if status, _ := c.standing(leaf); status != "Revoked" {
		c.t.Errorf("the CA says %s", status)
	}
	c.does(ok, "account", "deactivate")
	if n := strings.Count(c.ca.Log(), "Issued certificate serial"); n != 2 || c.status("a").Generation != 2 {
		c.t.Errorf("%d certificates, %+v", n, c.status("a"))
	}
}

// storyOfProfiles: certificates live as long as their profile says. One that the CA has
// not, as an old one has none, is refused before an order is made.
func storyOfProfiles(c *customer) {
	line := func(profile string) string { return nobodys("a", c.domain) + "profile = \"" + profile + "\"\n" }
	refused := func(profile, has string) {
		c.t.Helper()
		before := c.orders()
		c.lines(line(profile))
		c.says(failed, fmt.Sprintf("no such profile: %q, the CA has %s", profile, has), "renew", "a", "--force")
		if n := c.orders() - before; n != 0 {
			c.t.Errorf("%d requests for an order", n)
		}
	}
	if !c.modern {
		c.lines(nobodys("a", c.domain))
		c.does(ok, "init")
		c.does(ok, "issue", "a")
		refused("days6", "none")
		if s := c.status("a"); s.Generation != 1 {
			c.t.Errorf("%+v", s)
		}
		return
	}
	for days, profile := range map[int]string{6: "days6", 45: "days45"} {
		c.lines(line(profile))
		c.does(ok, "init")
		c.does(ok, "renew", "a", "--force")
		if leaf := c.leaf("a", c.domain); leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour) != time.Duration(days)*24*time.Hour {
			c.t.Errorf("%s: %s to %s", profile, leaf.NotBefore, leaf.NotAfter)
		}
	}
	refused("classic", "days45, days6")
}

// storyOfARI: the CA says when to renew: now, later than the lifetime says, or nothing
// that makes sense. Only what it says at its first word is told here, for it wants to be
// left alone for six hours then; lines that renew by themselves do not ask it before.
func storyOfARI(c *customer) {
	const byLifetime, byWindow = "renewal by the lifetime", "renewal in the window that the CA suggests"
	day := 24 * time.Hour
	window := func(from, to time.Duration) string {
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		return fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q},"explanationURL":"https://ca.example/why"}`, at(from), at(to))
	}
	answers := map[string]string{
		"now": window(-2*time.Hour, -time.Hour), "later": window(70*day, 71*day),
		"cut": `{"suggestedWindow":{`, "inverted": window(2*time.Hour, time.Hour),
	}
	lines := func(more string) {
		text := ""
		for name := range answers {
			text += nobodys(name, name+"."+c.domain) + more
			if profile := "long"; c.modern {
				if name == "now" {
					profile = "short" // a new certificate rests for a tenth of its life, a minute at most
				}
				text += "profile = \"" + profile + "\"\n"
			}
		}
		c.lines(text)
	}
	if !c.modern {
		answers = map[string]string{"none": ""}
	}
	lines("renew-at = 95\n")
	c.does(ok, "init")
	c.does(ok, "run")
	if !c.modern {
		lines("")
		c.does(ok, "run")
		leaf := c.leaf("none", "none."+c.domain)
		s, at := c.waits("none", byLifetime)
		if s.Renewal.Fault != "the CA tells nobody when to renew" || !at.Equal(lifetimes(leaf, 2, 3)) {
			c.t.Errorf("at %s, %+v", at, s)
		}
		return
	}
	for name, answer := range answers {
		c.suggest(name, answer)
	}
	lines("")
	out := c.does(ok, "run")
	for name, answer := range answers {
		if name == "now" {
			continue // it may be renewed, and may be over
		}
		leaf := c.leaf(name, name+"."+c.domain)
		switch name {
		case "later":
			s, at := c.waits(name, byWindow)
			if s.Generation != 1 || s.Renewal.Why != "https://ca.example/why" || !at.After(lifetimes(leaf, 2, 3).Add(9*day)) || at.After(leaf.NotBefore.Add(72*day)) {
				c.t.Errorf("%s: at %s, %+v", answer, at, s)
			}
		default:
			s, at := c.waits(name, byLifetime)
			if s.Generation != 1 || !strings.Contains(s.Renewal.Fault, "malformed by the CA") || !at.Equal(lifetimes(leaf, 2, 3)) {
				c.t.Errorf("%s: at %s, %+v", answer, at, s)
			}
		}
	}
	lab.Until(c.t, "it is renewed", func() error {
		s := c.status("now")
		if s.Generation == 2 {
			return nil
		}
		for _, w := range s.Waits {
			if time.Now().Before(w.At) {
				return fmt.Errorf("%s: %s", w.At, w.Why)
			}
		}
		out += c.does(ok, "run")
		return errors.New("it was to be renewed just now")
	})
	c.leaf("now", "now."+c.domain)
	if !strings.Contains(out, "renew: "+byWindow) {
		c.t.Errorf("it says %q", out)
	}
	for name := range answers {
		if s := c.status(name); name != "now" && s.Generation != 1 {
			c.t.Errorf("%+v", s)
		}
	}
}

// lifetimes is when so many parts of the certificate's life are over.
func lifetimes(leaf *x509.Certificate, parts, of int) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotAfter.Add(-life * time.Duration(of-parts) / time.Duration(of)).Truncate(time.Second)
}
