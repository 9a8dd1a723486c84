package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// sshKey is the line of a host key.
const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGP6Fw5vgeTiTNFoeLKXXFJeCRlAIKZVr+OkSoVzbJzN\n"

// TestPartsBuiltOnlyAfterSuccess: what an update of sshfp/, certs/ or dnsextra/ leaves
// counts only when it succeeds; until then what was there before stands, also while it
// runs, over a reload, and, as far as it is published, over a restart.
func TestPartsBuiltOnlyAfterSuccess(t *testing.T) {
	s, data := mailSite(t)
	owner := "_acme-challenge.example.org"
	fill := func() {
		s.write("sshfp/mail.example.org", sshKey)
		s.drop("", goodValue)
	}
	fill()
	config := strings.Replace(readFile(t, s.path("zonebuild.toml")), "[[drop-box]]\npath = \"dnsextra\"\nmax-values = 200\n", "", 1)
	const damage = `test ! -e fail || { rm -f sshfp/mail* dnsextra/_* certs/live/mail/cert.pem; touch damaged-PART; while ! [ -e go ]; do sleep 0.05; done; exit 1; }`
	for _, part := range []string{"sshfp", "certs", "dnsextra"} {
		config += fmt.Sprintf("[source.%s]\nupdate = [\"sh\", \"-c\", %q]\ninterval = \"1s\"\n", part, strings.ReplaceAll(damage, "PART", part))
	}
	s.write("zonebuild.toml", config)
	there := func() bool {
		return s.published("SSHFP\t4 2 ")() && s.published("3 1 1 "+data)() && s.published(goodValue)()
	}
	host := 0
	change := func(when string) {
		t.Helper()
		host++
		name := fmt.Sprintf("host%d", host)
		s.write("primary/example.org", "ns1 A 192.0.2.53\nmail A 192.0.2.25\n"+name+" A 192.0.2.81\n")
		s.until("a change is published "+when, s.published(name))
		if !there() {
			t.Errorf("%s: what the update took away is gone: %s", when, readFile(t, s.path("signed/example.org")))
		}
	}
	has := func(name string) bool { _, err := os.Stat(s.path(name)); return err == nil }
	s.start()
	s.until("all is published", there)

	s.write("fail", "")
	s.until("the updates run", func() bool { return has("damaged-sshfp") && has("damaged-certs") && has("damaged-dnsextra") })
	change("while they run")
	s.write("go", "")
	s.until("the alarms", func() bool {
		return strings.Contains(s.said(), "source=certs code=source-update") || s.logged("source-update") >= 3
	})
	change("after they failed")
	s.reload <- struct{}{}
	change("behind a reload")
	s.stop()
	s.start()
	change("behind a restart")

	s.remove("fail")
	s.until("they count when an update succeeds", func() bool { return !s.published("SSHFP")() && !s.published(goodValue)() })
	if !s.published("3 1 1 " + data)() {
		t.Error("a record is withdrawn because its certificate is gone")
	}
	fill()
	s.link("../../archive/mail/cert1.pem", "certs/live/mail/cert.pem")
	s.until("all is published again", there)
	s.remove("dnsextra/" + owner)
	s.until("the challenge is gone", not(s.published(goodValue)))
}

// TestMapHeld: certs.map is held back with soa/ and primary/.
func TestMapHeld(t *testing.T) {
	s, data := mailSite(t)
	s.start()
	s.until("the record is published", s.published("3 1 1 "+data))
	line := readFile(t, s.path("certs.map"))
	s.write(".git/index.lock", "")
	s.write("certs.map", line+strings.Replace(line, " 25 ", " 465 ", 1))
	s.drop("", goodValue)
	s.until("a challenge is published under the lock", s.published(goodValue))
	if s.published("_465._tcp")() {
		t.Error("a line was taken under the lock")
	}
	s.remove(".git/index.lock")
	s.until("the line is taken", s.published("_465._tcp"))
}
