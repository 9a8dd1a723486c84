package build_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
)

// TestTLSANextTakenAway: a next key that leaves before it was ready stays until the
// host was seen with the present one for the grace, or until it is retired.
func TestTLSANextTakenAway(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"seen", "silent", "probe=off"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			line := mailLine
			if how == "probe=off" {
				line = strings.TrimSpace(mailLine) + " probe=off\n"
			}
			s, w, a := mailSite(t, "", line)
			s.pass(0)
			s.pass(time.Hour)
			b := newCertificate(t, "mail.example.org")
			s.write("certs/next.pem", b.pem())
			s.pass(0)
			w.silent["192.0.2.26"] = how == "silent"
			s.remove("certs/next.pem")
			s.pass(30 * time.Minute)
			s.published("in grace", smtp, a.record(), b.record())
			s.pass(70 * time.Minute)
			s.pass(70 * time.Minute)
			if how == "seen" {
				s.published("grace is over", smtp, a.record())
				return
			}
			s.pass(5 * 24 * time.Hour)
			s.published("nobody looked at all of the host", smtp, a.record(), b.record())
			s.mark(mailService(), build.MarkRetire)
			s.pass(0)
			s.published("retired", smtp, a.record())
		})
	}
}

// TestTLSAFilled: whoever writes next keys into certs/ fills the RRset to its bound and
// no further; then the right next key waits with an alarm, until the rest is retired.
func TestTLSAFilled(t *testing.T) {
	t.Parallel()
	s, w, a := mailSite(t, "", mailLine)
	s.pass(0)
	w.silent["192.0.2.26"] = true
	records := func() int { return len(s.tlsaOf("example.org", smtp)) }
	for range 14 {
		s.write("certs/next.pem", newCertificate(t, "mail.example.org").pem())
		s.pass(0)
	}
	b := newCertificate(t, "mail.example.org")
	s.write("certs/next.pem", b.pem())
	s.pass(0)
	if n := records(); n != 12 || s.alarms("example.org") != "certificates" || !strings.Contains(fmt.Sprint(s.status("example.org").Alarms), "12 records stand here") {
		t.Errorf("%d records, alarms %+v", n, s.status("example.org").Alarms)
	}
	s.mark(mailService(), build.MarkRetire)
	s.pass(0)
	s.published("retired", smtp, a.record(), b.record())
	if got := s.alarms("example.org"); got != "" {
		t.Errorf("alarms %q", got)
	}
}
