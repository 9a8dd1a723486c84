package daemon

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// waits is an alarm-command that notes what it is told, and waits for a file.
const waits = `alarm-command = ["sh", "-c", "cat >>alarms; until test -e go; do sleep 0.1; done"]` + "\n"

// told are the events that alarm-command got, with their codes.
func (s *testSite) told() (out []string) {
	b, _ := os.ReadFile(s.path("alarms"))
	for line := range strings.Lines(string(b)) {
		_, event, _ := strings.Cut(line, `"event":"`)
		event, _, _ = strings.Cut(event, `"`)
		_, code, _ := strings.Cut(line, `"code":"`)
		code, _, _ = strings.Cut(code, `"`)
		out = append(out, event+" "+code)
	}
	return out
}

func (s *testSite) tells(what string, want ...string) {
	s.t.Helper()
	s.until(what, func() bool { return slices.Equal(s.told(), want) })
}

// TestSlowAlarmCommand: nobody waits for a program that hangs, and what it takes at last
// is told once.
func TestSlowAlarmCommand(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", waits)
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write("primary/broken.example", "www A 192.0.2.1\n")
	s.write("soa/broken.example", "broken\n")
	s.tells("the alarm of another zone", "raise input-rejected")
	s.drop("", goodValue)
	s.until("a challenge is published meanwhile", s.published(goodValue))
	s.write("primary/example.org", "broken\n")
	s.until("the alarm of this one", s.alarmed("input-rejected"))
	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.81\n")
	s.until("mended", s.published("new"))
	if got := s.told(); len(got) != 1 {
		t.Errorf("it was told %q while it hung", got)
	}
	s.write("go", "")
	s.write("soa/broken.example", "$TTL 1h\n@ SOA ns1.example.org. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.org.\n")
	s.tells("its end", "raise input-rejected", "clear input-rejected", "raise keys") // it has none
}

// TestAlarmCommandFails: it is told again after five minutes, without a build, also of a
// zone that is never due.
func TestAlarmCommandFails(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", `alarm-command = ["sh", "-c", "test ! -e down && cat >>alarms"]`+"\n[policy]\nsign = false\n")
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write("down", "")
	s.write("primary/example.org", "broken\n")
	s.until("it fails", func() bool { return strings.Contains(s.said(), "tell alarm-command") })
	tl := &s.d.teller
	var again time.Time
	s.until("it waits", func() bool {
		tl.mu.Lock()
		defer tl.mu.Unlock()
		again = tl.again
		return !tl.busy && !again.IsZero()
	})
	if wait := time.Until(again); wait > alarmRetry || wait < alarmRetry/2 {
		t.Errorf("it is told again in %s", wait)
	}
	s.remove("down")
	tl.mu.Lock()
	tl.again = time.Now()
	tl.mu.Unlock()
	s.tells("told by the clock", "raise input-rejected")
	s.write("down", "")
	s.write("primary/example.org", "ns1 A 192.0.2.53\nnew A 192.0.2.81\n")
	s.until("mended", s.published("new"))
	s.until("it fails again", func() bool { return strings.Count(s.said(), "tell alarm-command") == 2 })
	s.stop()
	s.remove("down")
	s.start()
	s.tells("the end is not forgotten", "raise input-rejected", "clear input-rejected")
}

// TestClearDuringRaise: an alarm that ends while it is being told is told to be over.
func TestClearDuringRaise(t *testing.T) {
	s := newSite(t, false)
	s.write("zonebuild.toml", waits+"[source.certs]\nupdate = [\"test\", \"!\", \"-e\", \"down\"]\ninterval = \"1s\"\n")
	s.start()
	s.until("the zone is published", s.published("www"))
	s.write("down", "")
	s.tells("raised", "raise source-update")
	s.remove("down")
	s.until("over", func() bool { return strings.Contains(s.said(), `msg="alarm is over" alarm=source-update`) })
	s.write("go", "")
	s.tells("told to be over", "raise source-update", "clear source-update")
}

// TestSlowWorld: neither a program that is to tell the revision, nor a host that takes the
// connection and says nothing holds up a challenge.
func TestSlowWorld(t *testing.T) {
	s := newSite(t, false)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var taken, given atomic.Int32 // connections, and those that the client gave up
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			go func() {
				_, _ = io.Copy(io.Discard, c) // until its end
				given.Add(1)
				c.Close()
			}()
		}
	}()
	s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n[tlsa]\nobserve = \"clock\"\n"+
		"[source.primary]\nrevision = [\"sh\", \"-c\", \"echo >>asked; exec sleep 100\"]\n")
	text, _ := newCertificate(t, "www.example.org")
	next, _ := newCertificate(t, "www.example.org")
	s.write("certs/www.pem", text)
	s.write("certs/next.pem", next)
	s.write("certs.map", fmt.Sprintf("www.pem www.example.org 443 next=next.pem probe=%s\n", silent.Addr()))
	s.start()
	s.until("a look hangs", func() bool { return taken.Load() > 0 })
	s.until("a revision was asked for", func() bool { _, err := os.Stat(s.path("asked")); return err == nil })
	s.drop("", goodValue)
	s.until("a challenge is published", s.published(goodValue))
	s.drop("", secondValue)
	s.until("and another", s.published(secondValue))
	if given.Load() > 0 {
		t.Error("the look had ended")
	}
	if said := s.said(); strings.Contains(said, "ask for the revision") || strings.Contains(said, "zone example.org. published") {
		t.Error("the program had ended")
	}
	s.until("the look ends", func() bool { return given.Load() > 0 })
	s.until("it counts", func() bool { return strings.Contains(s.said(), "msg=changed source=looked") })
	s.until("the pass is told of, without a revision", func() bool { return strings.Contains(s.said(), `published code 0 revision ""`) })
}
