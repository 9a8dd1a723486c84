package daemon

import (
	"os"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/durable"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
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
			s.reload <- struct{}{}
			s.drop("fourth.", goodValue)
			s.until("and behind a reload", s.published("_acme-challenge.fourth.example.org."))
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

// TestDeadDisk: a pass that hangs where nothing takes time is named, the loop turns and
// people are told all the same, and the end does not wait for it.
func TestDeadDisk(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	for _, dir := range []string{"keys", "signed", "unsigned", "state"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, false)
			s.write("zonebuild.toml", "alarm-command = [\"sh\", \"-c\", \"cat >>told\"]\n")
			s.start()
			s.until("the zone is published", s.published("www"))
			s.until("the pass is over", func() bool { return s.logged("zone example.org. published") > 0 })
			end := lab.Hang(t, s.path(dir))
			s.drop("", goodValue)
			s.until("the pass hangs", func() bool { return s.d.beside.Hangs(time.Second) != "" })
			turned := func() time.Duration {
				s.d.mu.Lock()
				defer s.d.mu.Unlock()
				return s.d.turned
			}
			was := turned()
			s.until("the loop turns", func() bool { return turned() > was })
			s.d.alarm(watch.Alarm{Code: watch.AlarmBuild, Message: "a build hangs"}) // which it says in a minute
			s.until("somebody is told", func() bool {
				b, err := os.ReadFile(s.path("told"))
				return err == nil && strings.Contains(string(b), watch.AlarmBuild)
			})
			if err := s.end(); err == nil || !strings.Contains(err.Error(), "the running build hangs") || !strings.Contains(err.Error(), s.path(dir)) {
				t.Errorf("the daemon ended with: %v", err)
			}
			s.end = func() error { return nil } // it was looked at
			end()
			s.until("the pass is over", func() bool { return !s.d.site.building.Load() })
		})
	}
}

// TestDeadAtStart: a daemon that is started while a mount does not answer serves what it
// can: new challenges of other drop boxes, with what is published. Where the list of
// zones does not answer, it waits, says so, and ends when it is told to.
func TestDeadAtStart(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	for _, dir := range []string{"boxb", "sshfp", "certs", "primary", "soa"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, false)
			s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n[[drop-box]]\npath = \"dnsextra\"\n[[drop-box]]\npath = \"boxb\"\n")
			for _, dir := range []string{"boxb", "sshfp", "certs"} {
				s.write(dir+"/.keep", "")
			}
			s.write("certs.map", "mail.pem www.example.org 25\n")
			s.start()
			s.until("the zone is published", s.published("www"))
			s.stop()

			end := lab.Hang(t, s.path(dir))
			s.drop("", goodValue)
			s.start()
			if dir == "soa" {
				s.until("it says what it waits for", func() bool { return s.logged("the configuration is still being read") > 0 })
				s.stop()
				end()
				s.start()
			}
			s.until("a challenge is published", s.published(goodValue))
			s.reload <- struct{}{}
			s.drop("second.", goodValue)
			s.until("another one is", s.published("_acme-challenge.second.example.org."))
			if !s.published("192.0.2.80")() {
				t.Error("what was published is gone")
			}
			end()
			s.write("primary/example.org", "ns1 A 192.0.2.53\nwww A 192.0.2.80\nlast A 192.0.2.82\n")
			s.until("the tree is read", s.published("192.0.2.82"))
			s.stop()
		})
	}
}

// TestBuildBesideDeadBox: a command that waits for a drop box that does not answer keeps
// the daemon from nothing; neither does one that came as far as the lock of all boxes.
func TestBuildBesideDeadBox(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	s := newSite(t, false)
	s.write("zonebuild.toml", "resolver = [\"127.0.0.1@9\"]\n[[drop-box]]\npath = \"dnsextra\"\n[[drop-box]]\npath = \"boxb\"\n")
	s.write("boxb/.keep", "")
	s.start()
	s.until("the zone is published", s.published("www"))
	end := lab.Hang(t, s.path("boxb"))
	tree, ended := s.open(), make(chan error, 1)
	go func() {
		_, err := tree.Build(t.Context(), build.Options{Now: time.Now().UTC(), Server: &publish.None{}, Log: s.d.Log})
		ended <- err
	}()
	var lock *durable.Lock
	s.until("the lock", func() (ok bool) {
		var err error
		lock, err = durable.TryLock(s.path("state/drop-boxes/lock"))
		return err == nil
	})
	s.drop("", goodValue)
	s.until("a challenge is published", s.published(goodValue))
	s.remove("dnsextra/_acme-challenge.example.org")
	s.until("and gone again", not(s.published(goodValue)))
	select {
	case err := <-ended:
		t.Errorf("the command ended: %v", err)
	default:
	}
	lock.Unlock()
	end()
	if err := <-ended; err != nil {
		t.Errorf("when it answers: %v", err)
	}
	s.stop()
}
