package build_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// TestTLSALostWithLine: what was known of the records is lost, and at the same time
// the map is cleanly shorter: nothing of what is published goes, and an alarm names
// the owner, until the operator ends the records, or their host goes.
func TestTLSALostWithLine(t *testing.T) {
	t.Parallel()
	const https = "_443._tcp.www.example.org."
	www := tlsa.Service{Host: domain.MustParse("www.example.org"), Port: 443, Proto: "tcp"}
	losses := map[string]func(s *site){
		"state/":                   func(s *site) { s.remove("state") },
		"state/tlsa/":              func(s *site) { s.remove("state/tlsa") },
		"the file, damaged":        func(s *site) { s.write("state/tlsa/example.org.json", "{") },
		"one file, and no records": func(s *site) { s.write("state/tlsa/example.org.json", "") },
	}
	maps := map[string]func(s *site){
		"one line":  func(s *site) { s.write("certs.map", mailLine) },
		"the other": func(s *site) { s.write("certs.map", "www.pem www.example.org 443\n") },
		"empty":     func(s *site) { s.write("certs.map", "") },
		"gone":      func(s *site) { s.remove("certs.map") },
	}
	for loss, lose := range losses {
		for cut, shorten := range maps {
			t.Run(loss+" "+cut, func(t *testing.T) {
				t.Parallel()
				s, w, a := mailSite(t, "", mailLine+"www.pem www.example.org 443\n")
				b := newCertificate(t, "www.example.org")
				hand := "3 1 1 " + strings.Repeat("ab", 32)
				primary := s.read("primary/example.org") + "www A 192.0.2.80\n"
				s.write("primary/example.org", primary+"_25._tcp.hand TLSA "+hand+"\nhand A 192.0.2.7\n")
				s.write("certs/www.pem", b.pem())
				w.hosts["192.0.2.80"] = []certificate{b}
				s.pass(0)
				s.pass(time.Hour)
				lose(s)
				shorten(s)
				stands := func(what string) {
					t.Helper()
					s.published(what, smtp, a.record())
					s.published(what, https, b.record())
					left := https
					if cut == "the other" {
						left = smtp
					}
					found := false
					for _, al := range s.status("example.org").Alarms {
						found = found || al.Code == "certificates" && strings.HasPrefix(al.Message, left) || cut == "empty" || cut == "gone"
					}
					list, err := s.open().Check(t.Context(), nil, s.at())
					if err != nil || !found || !strings.Contains(fmt.Sprint(list), left+": no line asks for it, nor is it") {
						t.Fatalf("%s: %v %v\n%v", what, err, s.status("example.org").Alarms, list)
					}
				}
				s.pass(0)
				stands("lost")
				s.write("primary/example.org", s.read("primary/example.org")+"more A 192.0.2.9\n")
				s.pass(5 * 24 * time.Hour)
				stands("days later")
				s.quietly("days later")

				// The state is there again: what is written by hand goes as ever.
				s.published("by hand", "_25._tcp.hand.example.org.", hand)
				s.write("primary/example.org", primary+"hand A 192.0.2.7\n")
				s.pass(0)
				s.published("by hand, removed", "_25._tcp.hand.example.org.")
				stands("another one is removed by hand")
				switch cut {
				case "one line": // retired
					s.mark(www, build.MarkRetire)
					s.pass(0)
					s.published("retired", https)
					s.published("the other one", smtp, a.record())
				case "empty": // its host goes
					s.write("primary/example.org", strings.Replace(s.read("primary/example.org"), "www A 192.0.2.80\n", "", 1))
					s.pass(0)
					s.pass(0)
					s.published("the host is gone, too", https)
					s.published("the other one", smtp, a.record())
				default: // the lines come back
					s.write("certs.map", mailLine+"www.pem www.example.org 443\n")
					s.pass(0)
					s.pass(time.Hour)
					s.published("back", smtp, a.record())
					s.published("back", https, b.record())
					if got := s.alarms("example.org"); got != "" {
						t.Errorf("back: alarms %q", got)
					}
				}
			})
		}
	}
}

// TestTLSALostBroken: while the sources cannot be read nobody knows what is written
// by hand. The loss counts until they can be.
func TestTLSALostBroken(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine)
	hand := "3 1 1 " + strings.Repeat("ab", 32)
	good := s.read("primary/example.org") + "hand A 192.0.2.7\n_25._tcp.hand TLSA " + hand + "\n"
	s.write("primary/example.org", good)
	s.pass(0)
	s.remove("state")
	s.write("certs.map", "")
	s.write("primary/example.org", good+"junk\n")
	s.build(rejected)
	s.now = s.now.Add(time.Hour)
	s.build(rejected)
	s.write("primary/example.org", good)
	s.pass(0)
	s.published("mended", smtp, a.record())
	s.published("mended", "_25._tcp.hand.example.org.", hand)
	list, err := s.open().Check(t.Context(), nil, s.at())
	if err != nil || !strings.Contains(fmt.Sprint(list), smtp+": no line") || strings.Contains(fmt.Sprint(list), "hand.example.org.: no line") {
		t.Errorf("%v %v", err, list)
	}
}

// TestTLSAHandAlone: records written by hand in a zone that never had a line go
// when they are removed, and nobody has to retire them.
func TestTLSAHandAlone(t *testing.T) {
	t.Parallel()
	s, _, _ := mailSite(t, "", "")
	primary := s.read("primary/example.org")
	hand := "3 1 1 " + strings.Repeat("ab", 32)
	s.write("primary/example.org", primary+"_25._tcp.mail TLSA "+hand+"\n*._tcp.w TLSA "+hand+"\n")
	s.pass(0)
	s.published("by hand", smtp, hand)
	s.remove("state") // found by hand: nothing is lost
	s.pass(0)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
	s.quietly("nothing is lost")
	s.write("primary/example.org", primary)
	s.pass(0)
	s.published("removed", smtp)
	s.published("removed", "*._tcp.w.example.org.")
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}
