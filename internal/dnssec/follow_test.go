package dnssec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/zone"
)

// wholePlan is NewPlan that lays out all of the zone.
func wholePlan(t *testing.T, z *zone.Zone, keys []Key, policy Policy, prev *Previous, now time.Time) *Plan {
	t.Helper()
	p := &Plan{zone: z, keys: keys, policy: policy, prev: prev, now: now.Unix()}
	if err := p.chooseSigners(); err != nil {
		t.Fatal(err)
	}
	p.findReplaced()
	if err := errors.Join(p.buildMade(nil), p.buildNSEC()); err != nil {
		t.Fatal(err)
	}
	p.explain(p.layOut())
	return p
}

// A zone that is held and changes in a few lines, edit after edit, is planned and
// written as when all of it is laid out anew: whatever the lines are, and wherever
// they stand.
func TestFollow(t *testing.T) {
	const apex = "example.org"
	policy := testPolicy()
	keys := []Key{newKey(t, apex, GenerateOptions{Role: KSK}), newKey(t, apex, GenerateOptions{Role: ZSK})}
	r := rand.New(rand.NewPCG(9, 1))
	head := "$TTL 3600\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 300\n@ NS ns.other.test.\n"
	lines := strings.SplitAfter(strings.TrimSuffix(strings.TrimPrefix(bigText(5500), head), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	name := func() string {
		return fmt.Sprintf("%s%d", []string{"h", "a", "zz", "d", "c", "*.w", "x.y.h", "g.d"}[r.IntN(8)], r.IntN(5500))
	}
	piece := func() string {
		switch r.IntN(12) {
		case 0:
			return name() + " NS ns.other.test.\n"
		case 1:
			return "@ TXT " + fmt.Sprint(r.IntN(99)) + "\n"
		case 2:
			return name() + " CNAME h3\n"
		}
		return fmt.Sprintf("%s TXT %d\n", name(), r.IntN(99))
	}
	o := zone.ParseOptions{Apex: domain.MustParse(apex), Hold: true}
	parse := func(was *zone.Fragment) (f zone.Fragment) {
		src := []byte(head + strings.Join(lines, ""))
		if was != nil {
			if f, ok := zone.ParseAgain(was, "p", src, o); ok {
				return f
			}
		}
		f, faults := zone.Parse("p", src, o)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		return f
	}
	f := parse(nil)
	z, host, faults := zone.Rules{}.CompileAgain(nil, o.Apex, f)
	if z == nil {
		t.Fatal(faults[0])
	}
	now := testNow()
	var held *Previous
	publish := func(p *Plan) {
		s, err := Sign(p, uint32(now.Unix()))
		if err != nil {
			t.Fatal(err)
		}
		s.Hold()
		var out bytes.Buffer
		if _, err := s.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		if held, err = s.Previous("prev", out.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	publish(planFor(t, z, keys, policy, nil, now))
	followed, compiled := 0, 0
	for round := range 90 {
		was := lines
		for range 1 + r.IntN(2)*r.IntN(2) {
			at := r.IntN(len(lines))
			switch r.IntN(3) {
			case 0:
				lines = slices.Delete(slices.Clone(lines), at, at+1+r.IntN(2)*r.IntN(2))
			case 1:
				lines = slices.Clone(lines)
				lines[at] = piece()
			default:
				lines = slices.Insert(slices.Clone(lines), at, piece())
			}
		}
		now = now.Add(time.Duration(r.IntN(40)) * time.Minute)
		is := parse(&f)
		next, nextHost, _ := zone.Rules{}.CompileAgain(host, o.Apex, is)
		if next == nil { // it has a fault
			lines = was
			continue
		}
		compiled++
		z, host, f = next, nextHost, is
		want := wholePlan(t, z, keys, policy, held, now)
		probe := &Plan{zone: z, keys: keys, policy: policy, prev: held, now: now.Unix()}
		if err := probe.chooseSigners(); err != nil {
			t.Fatal(err)
		}
		probe.findReplaced()
		if err := probe.buildMade(nil); err != nil {
			t.Fatal(err)
		}
		_, ok := probe.follow()
		got := planFor(t, z, keys, policy, held, now)
		samePlan(t, got, want)
		if got.denial.Len() != want.denial.Len() {
			t.Fatalf("round %d: %d NSEC records, want %d", round, got.denial.Len(), want.denial.Len())
		}
		for i := range got.denial.Len() {
			a, _ := got.denial.TTL(i)
			b, _ := want.denial.TTL(i)
			if a != b || !bytes.Equal(got.denial.Owner(i), want.denial.Owner(i)) || !bytes.Equal(got.denial.Rdata(i), want.denial.Rdata(i)) {
				t.Fatalf("round %d: NSEC %d is another", round, i)
			}
		}
		if t.Failed() {
			t.Fatalf("round %d: %q became %q", round, was[:3], lines[:3])
		}
		if ok {
			followed++
		}
		if round%15 == 0 {
			s, err := Sign(want, uint32(now.Unix()))
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if _, err := s.WriteTo(&text); err != nil {
				t.Fatal(err)
			}
			if s, err = Sign(got, uint32(now.Unix())); err != nil {
				t.Fatal(err)
			}
			var other bytes.Buffer
			if _, err := s.WriteTo(&other); err != nil || !bytes.Equal(other.Bytes(), text.Bytes()) {
				t.Fatalf("round %d: written otherwise: %v", round, err)
			}
		}
		publish(planFor(t, z, keys, policy, held, now))
	}
	if followed < 25 {
		t.Errorf("only %d of %d zones were followed", followed, compiled)
	}
}
