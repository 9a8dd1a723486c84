package build_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/build"
	"zonebuild/internal/lab"
)

// hostKey makes a key of OpenSSH's and gives the line of its .pub file.
func hostKey(t *testing.T, name, kind string) string {
	t.Helper()
	lab.Need(t, "ssh-keygen")
	path := t.TempDir() + "/" + name
	lab.Run(t, "ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", path)
	b, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines are those of a file of the site with a word in them, their owners' TTL and
// class left out.
func (s *site) lines(path, word string) []string {
	s.t.Helper()
	var out []string
	for line := range strings.Lines(s.read(path)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 5 && f[3] == word {
			out = append(out, f[0]+" "+f[4])
		}
	}
	return out
}

// TestSSHFP: the records are those of ssh-keygen; a broken file and an unmounted
// directory change nothing but the alarm, and a file that goes takes its records.
func TestSSHFP(t *testing.T) {
	t.Parallel()
	for _, signed := range []bool{true, false} {
		t.Run(fmt.Sprint(signed), func(t *testing.T) {
			t.Parallel()
			files := smallZone("a A 192.0.2.1\nb A 192.0.2.2\nc SSHFP 4 2 " + strings.Repeat("ab", 32) + "\nc A 192.0.2.3\n*.w A 192.0.2.4\n")
			config := fmt.Sprintf("[policy]\nsign = %t\n", signed)
			files["zonebuild.toml"] = config
			a, b := hostKey(t, "a", "ed25519"), hostKey(t, "b", "ecdsa")
			files["sshfp/a.example.org"], files["sshfp/b.example.org"] = a, b
			s := newSite(t, files)
			if r := s.build(ok); len(r.Strays) != 0 {
				t.Errorf("%v", r.Strays)
			}
			want := strings.Fields(lab.Run(t, "ssh-keygen", "-r", "a.example.org.", "-f", s.path("sshfp", "a.example.org")))
			got := s.lines("signed/example.org", "SSHFP")
			if len(got) != 3 || !strings.EqualFold(got[0], "a.example.org. "+strings.Join(want[len(want)-3:], " ")) {
				t.Fatalf("%v, ssh-keygen: %v", got, want)
			}
			same := func(what, alarm string) {
				t.Helper()
				for range 2 {
					s.build(ok)
					if now := s.lines("signed/example.org", "SSHFP"); !slices.Equal(now, got) || s.alarms("example.org") != alarm {
						t.Fatalf("%s: %v\nnot %v\nalarms %q", what, now, got, s.alarms("example.org"))
					}
				}
				stamps := s.stamps()
				if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged || r.FaultsNew || s.stamps() != stamps {
					t.Errorf("%s: the same again: %+v", what, r)
				}
			}
			same("steady", "")
			s.write("sshfp/a.example.org", a[:40])
			s.write("sshfp/b.example.org", "junk\n")
			same("broken", "host-keys")
			s.write("primary/example.org", s.read("primary/example.org")+"new A 192.0.2.9\n") // all is made anew
			same("broken, and something else changed", "host-keys")
			s.remove("state")
			same("broken, state lost", "host-keys")
			s.write("sshfp/a.example.org", a)
			s.write("sshfp/b.example.org", b)
			same("mended", "")

			s.write("zonebuild.toml", config+"[source.sshfp]\nmarker = \".mounted\"\n")
			s.remove("sshfp")
			same("unmounted", "host-keys")
			s.remove("state")
			s.write("primary/example.org", s.read("primary/example.org")+"other A 192.0.2.9\n")
			same("unmounted, state lost, all made anew", "host-keys")
			s.write("zonebuild.toml", config)
			s.write("sshfp/a.example.org", a)
			s.write("sshfp/stray.example.net", a)
			r := s.build(ok)
			if now := s.lines("signed/example.org", "SSHFP"); len(now) != 2 || len(r.Strays) != 1 || !r.StrayNew {
				t.Errorf("a file that is gone: %v %v", now, r.Strays)
			}
			if r := s.build(ok); r.StrayNew || len(r.Strays) != 1 {
				t.Errorf("told again: %v", r.Strays)
			}
			// A broken file takes a revoked key along.
			s.write("sshfp/a.example.org", "@revoked * "+a+"junk\n")
			s.build(ok)
			if now := s.lines("signed/example.org", "SSHFP"); len(now) != 1 || s.alarms("example.org") != "host-keys" {
				t.Errorf("revoked: %v %q", now, s.alarms("example.org"))
			}
			// No marker says that an absent directory is a mount.
			s.write("sshfp/a.example.org", a)
			s.build(ok)
			if now := s.lines("signed/example.org", "SSHFP"); len(now) != 2 {
				t.Errorf("mended: %v", now)
			}
			s.remove("sshfp")
			s.build(ok)
			if now := s.lines("signed/example.org", "SSHFP"); len(now) != 1 || !strings.HasPrefix(now[0], "c.") || s.alarms("example.org") != "" {
				t.Errorf("absent: %v, alarms %q", now, s.alarms("example.org"))
			}
		})
	}
}

// TestSSHFPOfMany: an unread directory is the alarm of the zones that had hosts in
// it, and of the first; a host without a zone is told once.
func TestSSHFPOfMany(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"zonebuild.toml": "[source.sshfp]\nmarker = \".mounted\"\n[sshfp]\nttl = \"5m\"\nsha1 = true\n", "sshfp/.mounted": ""})
	for _, z := range []string{"a.example", "b.example", "c.example"} {
		s.write("soa/"+z, "$TTL 1h\n@ SOA ns1.example.net. hostmaster 1 2h 30m 4w 1h\n@ NS ns1.example.net.\n")
		s.write("primary/"+z, "h A 192.0.2.1\n")
	}
	s.makeKeys()
	s.write("sshfp/h.b.example", hostKey(t, "h", "ed25519"))
	s.build(ok)
	if got := s.lines("signed/b.example", "SSHFP"); len(got) != 2 || !strings.Contains(s.read("signed/b.example"), "h.b.example.\t300\tIN\tSSHFP\t4 1 ") {
		t.Errorf("%v", got)
	}
	s.remove("sshfp")
	for range 2 {
		s.build(ok)
		if a, b, c := s.alarms("a.example"), s.alarms("b.example"), s.alarms("c.example"); a != "host-keys" || b != "host-keys" || c != "" {
			t.Errorf("alarms %q %q %q", a, b, c)
		}
	}
	if got := s.lines("signed/b.example", "SSHFP"); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// TestSSHFPByHand: hand-written records stand beside those of the file; that one of them
// is of another key is told.
func TestSSHFPByHand(t *testing.T) {
	t.Parallel()
	a := hostKey(t, "a", "ed25519")
	files := smallZone("a A 192.0.2.1\na SSHFP 4 1 " + strings.Repeat("ab", 20) + "\na SSHFP 3 2 " + strings.Repeat("ab", 32) + "\n")
	files["sshfp/a.example.org"] = a
	s := newSite(t, files)
	told := func() string { return fmt.Sprint(one(t, s.build(ok), "example.org").Diagnostics) }
	if got := told(); strings.Contains(got, "sshfp-hand-written") {
		t.Errorf("of other algorithms: %s", got)
	}
	record := strings.SplitN(s.lines("signed/example.org", "SSHFP")[2], " ", 2)[1]
	primary := s.read("primary/example.org")
	s.write("primary/example.org", primary+"a SSHFP "+record+"\n")
	if got := told(); strings.Contains(got, "sshfp-hand-written") || len(s.lines("signed/example.org", "SSHFP")) != 3 {
		t.Errorf("of the same key: %s", got)
	}
	s.write("primary/example.org", primary+"a SSHFP 4 2 "+strings.Repeat("cd", 32)+"\n")
	got := told()
	if !strings.Contains(got, "a.example.org.: the fingerprint of another key of algorithm 4 than sshfp/a.example.org has: OpenSSH from 8.7 on refuses the host with either [sshfp-hand-written]") || len(s.lines("signed/example.org", "SSHFP")) != 4 {
		t.Errorf("of another key: %s", got)
	}
}
