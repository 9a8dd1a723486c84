package build_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/build"
	"zonebuild/internal/lab"
)

// TestKeep: a tree that stays open and holds a large zone publishes what one that is
// opened for each pass would, edit after edit: of the author, of robots, of other
// processes, and broken ones. What a change does not touch is not signed anew, foreign
// verifiers find the zone sound, and a cold pass finds nothing left to do.
func TestKeep(t *testing.T) {
	t.Parallel()
	lab.Need(t, "ldns-verify-zone", "dnssec-verify")
	lines := []string{"ns1 A 192.0.2.53\n"}
	host := func(i int) string { return fmt.Sprintf("host%d-has-a-name-that-makes-the-text-of-the-zone-large", i) }
	for i := range 2500 {
		lines = append(lines, fmt.Sprintf("%s A 192.0.2.%d\n", host(i), i%250), fmt.Sprintf("%s AAAA 2001:db8::%x\n", host(i), i))
	}
	s := newSite(t, smallZone(strings.Join(lines[1:], "")))
	write := func() { s.write("primary/example.org", strings.Join(lines, "")) }
	write()
	tree := s.open()
	tree.Keep()
	pass := func(code int) build.Result {
		t.Helper()
		report, err := tree.Build(t.Context(), s.options())
		if err != nil {
			t.Fatal(err)
		}
		if report.Code != code {
			t.Fatalf("exit %d, want %d: %+v", report.Code, code, report.Zones[0])
		}
		return report.Zones[0]
	}
	sound := func() {
		t.Helper()
		lab.Run(t, "ldns-verify-zone", s.path("signed/example.org"))
		lab.Run(t, "dnssec-verify", "-q", "-x", "-o", "example.org", s.path("signed/example.org"))
		if r := one(t, s.build(ok), "example.org"); r.Action != build.Unchanged {
			t.Errorf("a cold pass: %+v", r)
		}
	}
	pass(ok)
	if info, err := os.Stat(s.path("signed/example.org")); err != nil || info.Size() < 1<<20 {
		t.Fatalf("the zone is too small to be held: %v %v", info, err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	w := s.box()
	few := func(what string, most int) {
		t.Helper()
		res := pass(ok)
		if res.Action != build.Published || res.NewSigs > most || res.NewSigs == 0 {
			t.Errorf("%s: %s, %d signatures made: %v", what, res.Action, res.NewSigs, res.Reasons)
		}
	}
	for round := range 12 {
		at := 1 + r.IntN(len(lines)-1)
		lines = slices.Insert(lines, at, fmt.Sprintf("added%d TXT \"%d\"\n", round, round))
		write()
		few("a name came", 4)
		switch round % 6 {
		case 0: // a name goes, and another has another address
			lines[at] = ""
			lines[1+r.IntN(len(lines)-1)] = host(r.IntN(2500)) + " A 192.0.2.251\n"
			write()
			pass(ok)
		case 1:
			if err := w.Add(t.Context(), s.challenge("_acme-challenge.ns1.example.org", round)); err != nil {
				t.Fatal(err)
			}
			few("a challenge came", 4)
			if err := w.Remove(s.challenge("_acme-challenge.ns1.example.org", round)); err != nil {
				t.Fatal(err)
			}
			few("a challenge went", 3)
		case 2: // broken, and mended
			was := lines[at]
			lines[at] = "added A 192.0.2.300\n"
			write()
			if res := pass(rejected); res.Action != build.Rejected || len(res.Diagnostics) == 0 || res.Diagnostics[0].Pos.Line != 1+strings.Count(strings.Join(lines[:at], ""), "\n") {
				t.Errorf("%+v", res)
			}
			lines[at] = was
			write()
			if res := pass(ok); res.Action != build.Unchanged {
				t.Errorf("mended: %+v", res)
			}
		case 3: // another process publishes
			lines = slices.Insert(lines, at, fmt.Sprintf("other%d A 192.0.2.1\n", round))
			write()
			s.build(ok)
			if res := pass(ok); res.Action != build.Unchanged {
				t.Errorf("behind another process: %+v", res)
			}
		case 4: // a delegation with glue
			lines = slices.Insert(lines, at, fmt.Sprintf("sub%d NS ns.sub%[1]d\nns.sub%[1]d A 192.0.2.2\n", round))
			write()
			few("a delegation came", 4)
		default: // the apex
			s.write("soa/example.org", s.read("soa/example.org")+fmt.Sprintf("@ TXT %d\n", round))
			few("the apex changed", 3)
		}
		if round == 5 {
			sound()
		}
	}
	sound()
}
