package build_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// mark says something by hand.
func (s *site) mark(service tlsa.Service, mark string) {
	s.t.Helper()
	if err := s.open().MarkTLSA(s.t.Context(), service, mark); err != nil {
		s.t.Fatal(err)
	}
}

// TestTLSALineGone: records whose line is gone stay, with an alarm that names them,
// until the operator ends them or their host leaves the zone; a map that is cut
// short, empty or absent looks the same.
func TestTLSALineGone(t *testing.T) {
	t.Parallel()
	const https = "_443._tcp.www.example.org."
	both := mailLine + "www.pem www.example.org 443\n"
	s, w, a := mailSite(t, "", both)
	s.write("soa/example.net", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.write("primary/example.net", "_25._tcp.mail TLSA 3 1 1 "+strings.Repeat("ab", 32)+"\n")
	s.makeKeys()
	b := newCertificate(t, "www.example.org")
	s.write("primary/example.org", s.read("primary/example.org")+"www A 192.0.2.80\n")
	s.write("certs/www.pem", b.pem())
	w.hosts["192.0.2.80"] = []certificate{b}
	s.pass(0)
	s.pass(time.Hour)
	before := s.read("state/tlsa/example.org.json")
	stands := func(what string) {
		t.Helper()
		s.pass(time.Hour)
		s.write("primary/example.org", s.read("primary/example.org")+fmt.Sprintf("h%d A 192.0.2.9\n", len(s.read("primary/example.org"))))
		s.pass(5 * 24 * time.Hour)
		s.published(what, smtp, a.record())
		s.published(what, https, b.record())
		if one, two := s.alarms("example.org"), s.alarms("example.net"); one != "certificates" || two != "" {
			t.Fatalf("%s: alarms %q, %q", what, one, two)
		}
		if _, err := os.Stat(s.path("state", "tlsa", "example.net.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a zone without lines has rollovers: %v", what, err)
		}
		s.quietly(what)
	}
	for what, text := range map[string]string{
		"one line": mailLine, "the other line": "www.pem www.example.org 443\n", "nothing": "", "a comment": "# nothing\n",
		"cut short": both[:len(both)-25], "a bad host": mailLine + "www.pem www..example.org 443\n", "a bad port": mailLine + "www.pem www.example.org https\n",
	} {
		s.write("certs.map", text)
		s.pass(0)
		list, err := s.open().Check(t.Context(), nil, s.at())
		if err != nil || !strings.Contains(fmt.Sprint(list), "[certs-map-line-gone]") {
			t.Errorf("%s: %v %v", what, list, err)
		}
		stands(what)
	}
	s.remove("certs.map")
	stands("absent")
	s.write("certs.map", both)
	s.pass(0)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("the lines are back: alarms %q", got)
	}
	if at := strings.Index(before, "\"added\""); !strings.Contains(s.read("state/tlsa/example.org.json"), before[at:at+40]) {
		t.Error("the lines are back, but what was known is not")
	}

	// On purpose: by hand, together with the host, or for hand-written records.
	s.write("certs.map", mailLine)
	s.pass(0)
	www := tlsa.Service{Host: domain.MustParse("www.example.org"), Port: 443, Proto: "tcp"}
	all, err := s.open().TLSA(t.Context(), s.at())
	if err != nil || len(all) != 2 || !all[0].Left || all[0].Service() != www || !all[0].Alarm() || all[1].Left {
		t.Errorf("%v %+v", err, all)
	}
	for _, mark := range []string{build.MarkAccept, build.MarkSeen} {
		if err := s.open().MarkTLSA(t.Context(), www, mark); err == nil {
			t.Errorf("%s: no error", mark)
		}
	}
	s.mark(www, build.MarkRetire)
	s.pass(0)
	s.published("retired", https)
	s.published("the other one", smtp, a.record())
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("retired: alarms %q", got)
	}
	s.write("certs.map", both)
	s.pass(0)
	s.published("back", https, b.record())
	s.write("certs.map", mailLine)
	s.write("primary/example.org", strings.Replace(s.read("primary/example.org"), "www A 192.0.2.80\n", "*.example.org. A 192.0.2.80\n", 1))
	s.pass(0)
	s.pass(time.Hour)
	s.published("a wildcard is left", https, b.record())
	s.write("primary/example.org", strings.Replace(s.read("primary/example.org"), "*.example.org. A 192.0.2.80\n", "", 1))
	s.pass(0)
	s.pass(time.Hour)
	s.published("the host is gone, too", https)
	hand := "3 1 1 " + strings.Repeat("ab", 32)
	s.write("certs.map", "")
	s.write("primary/example.org", s.read("primary/example.org")+"_25._tcp.mail TLSA "+hand+"\n")
	s.pass(0)
	s.published("written by hand instead", smtp, hand)
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}

// TestTLSABadLine: a line that cannot be read is a fault of the map: no zone has an
// alarm or a state because of it, unless records may hang on it.
func TestTLSABadLine(t *testing.T) {
	t.Parallel()
	s, _, a := mailSite(t, "", mailLine)
	s.write("soa/example.net", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.write("primary/example.net", "")
	s.makeKeys()
	s.write("certs.map", mailLine+"new.pem new..example.org 25\nnew.pem new.example.net 0\n")
	r := s.pass(0)
	s.published("the good line", smtp, a.record())
	if len(r.Strays) != 2 || r.Strays[0].Code != "certs-map-host" || r.Strays[1].Code != "certs-map-port" {
		t.Errorf("%v", r.Strays)
	}
	if one, two := s.alarms("example.org"), s.alarms("example.net"); one != "" || two != "" {
		t.Errorf("alarms %q, %q", one, two)
	}
	if _, err := os.Stat(s.path("state", "tlsa", "example.net.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a zone without lines has rollovers: %v", err)
	}
	s.quietly("bad lines")
}

// quietly wants a build that writes nothing.
func (s *site) quietly(what string) {
	s.t.Helper()
	s.build(ok)
	s.now = s.now.Add(time.Minute)
	before := s.stamps()
	if s.build(ok); s.stamps() != before {
		s.t.Errorf("%s: something was written", what)
	}
}
