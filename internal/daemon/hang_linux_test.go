package daemon

import (
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// TestDeadMounts: a source of which the mount does not answer keeps no other one from
// being read: challenges of the other drop box are published, and what is written
// elsewhere. What came meanwhile is published when it answers again, and the daemon
// ends well before.
func TestDeadMounts(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	for _, dir := range []string{"boxb", "report", "sshfp", "certs", "primary", "soa"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, false)
			s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n[[drop-box]]\npath = \"dnsextra\"\n[[drop-box]]\npath = \"boxb\"\nreport = \"report/boxb.json\"\n[source.certs]\nmarker = \".mounted\"\n")
			s.write("boxb/.keep", "")
			s.write("report/.keep", "")
			s.write("sshfp/.keep", "")
			s.write("certs/.mounted", "")
			s.write("certs.map", "mail.pem www.example.org 25\n")
			s.start()
			s.until("the zone is published", s.published("www"))
			end := lab.Hang(t, s.path(dir))
			s.drop("", goodValue)
			s.until("a challenge is published", s.published(goodValue))
			s.drop("second.", goodValue)
			s.until("another one is", s.published("_acme-challenge.second.example.org."))
			if dir != "primary" && dir != "soa" {
				s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.80\nother A 192.0.2.81\n")
				s.until("what is written elsewhere is published", s.published("192.0.2.81"))
			}
			if !s.published("192.0.2.80")() {
				t.Error("what was published is gone")
			}
			end()
			s.until("the challenge of the dead mount's time stays", s.published(goodValue))
			s.write("boxb/_acme-challenge.back.example.org", "_acme-challenge.back.example.org. 60 IN TXT \""+goodValue+"\"\n")
			s.until("the other box is read", s.published("_acme-challenge.back.example.org."))
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.80\nlast A 192.0.2.82\n")
			s.until("the tree is read", s.published("192.0.2.82"))

			lab.Hang(t, s.path(dir))
			s.drop("third.", goodValue)
			s.until("the third challenge is published", s.published("_acme-challenge.third.example.org."))
			s.stop()
		})
	}
}

// TestDeadKeys: a pass that hangs where nothing takes time is named, and the end does
// not wait for it.
func TestDeadKeys(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, false)
	s.start()
	s.until("the zone is published", s.published("www"))
	end := lab.Hang(t, s.path("keys"))
	s.drop("", goodValue)
	s.until("the pass hangs", func() bool { return s.d.beside.Hangs(time.Second) != "" })
	if err := s.end(); err == nil || !strings.Contains(err.Error(), "the running build hangs") || !strings.Contains(err.Error(), "list "+s.path("keys")) {
		t.Errorf("the daemon ended with: %v", err)
	}
	s.end = func() error { return nil } // it was looked at
	end()
	s.until("the pass is over", func() bool { return !s.d.site.building.Load() })
}
