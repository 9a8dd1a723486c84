package daemon

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestDeadSecondary: an address that never answers delays no challenge, and does not
// keep from confirming what comes behind it once it is gone from the configuration.
func TestDeadSecondary(t *testing.T) {
	s := newSite(t, true)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // takes questions, and is silent
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	config := readFile(t, s.path("zonebuild.toml"))
	slow := strings.NewReplacer("address = [", fmt.Sprintf("address = [%q, ", dead.LocalAddr()), `timeout = "3s"`, `timeout = "1h"`).Replace(config)
	if slow == config {
		t.Fatalf("no address in %s", config)
	}
	s.write("zonebuild.toml", slow)
	s.start()
	for i := range 5 {
		value := fmt.Sprintf("%s%03d", goodValue[:40], i)
		host := fmt.Sprintf("h%d.", i)
		s.drop(host, value)
		s.until("a challenge is answered", s.answers("_acme-challenge."+host+"example.org.", value))
	}
	if s.status().Confirmed {
		t.Error("it is confirmed though an address is silent")
	}
	s.write("zonebuild.toml", config)
	s.until("the zone is confirmed without it", func() bool { return s.status().Confirmed && len(s.status().Alarms) == 0 })
}
