package dnssec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/zone"
)

// bigText is a zone with delegations, glue, wildcards and aliases, n names in all.
func bigText(n int) string {
	var b strings.Builder
	b.WriteString("$TTL 3600\n@ SOA ns.other.test. host.other.test. 1 7200 3600 600000 300\n@ NS ns.other.test.\n@ MX 10 ns.other.test.\n")
	for i := range n {
		switch i % 7 {
		case 0:
			fmt.Fprintf(&b, "d%d NS ns.d%[1]d\nns.d%[1]d A 10.0.0.1\nns.d%[1]d AAAA 2001:db8::1\n", i)
		case 1:
			fmt.Fprintf(&b, "d%d NS ns.other.test.\nd%[1]d DS 1 13 2 %064x\n", i, i)
		case 2:
			fmt.Fprintf(&b, "c%d CNAME h3\n*.w%[1]d TXT \"a\" \"b\"\n", i)
		default:
			fmt.Fprintf(&b, "h%d A 10.0.0.%d\nh%[1]d A 10.0.1.%[2]d\nh%[1]d AAAA 2001:db8::%x\n", i, i%250, i)
		}
	}
	return b.String()
}

// samePlan compares all that a plan is but for what it was made from.
func samePlan(t *testing.T, a, b *Plan) {
	t.Helper()
	type result struct {
		Reasons        []string
		Changed        bool
		New, Due, Kept int
		Next           time.Time
		Oldest         int64
		Items          []item
		Spans          []span
		Unkept         []bool
	}
	of := func(p *Plan) result {
		r := result{p.Reasons, p.Changed, p.New, p.Due, p.Kept, p.Next, p.oldest, p.items, p.spans, nil}
		for i, s := range p.slots {
			r.Unkept = append(r.Unkept, s == unkept)
			if s != unkept && p.expires[i] == 0 {
				t.Error("a signature is kept whose expiration is not known")
			}
		}
		return r
	}
	x, y := of(a), of(b)
	if !reflect.DeepEqual(x.Reasons, y.Reasons) || x.New != y.New || x.Due != y.Due || x.Kept != y.Kept || !x.Next.Equal(y.Next) || x.Oldest != y.Oldest || x.Changed != y.Changed {
		t.Errorf("%v new %d due %d kept %d next %v oldest %d\n%v new %d due %d kept %d next %v oldest %d",
			x.Reasons, x.New, x.Due, x.Kept, x.Next, x.Oldest, y.Reasons, y.New, y.Due, y.Kept, y.Next, y.Oldest)
	}
	if !slices.Equal(x.Items, y.Items) || !slices.Equal(x.Spans, y.Spans) || !slices.Equal(x.Unkept, y.Unkept) {
		t.Error("items, spans or slots differ")
	}
}

// A zone that is held is planned and written like one that is read back from its
// file, through changes of records, policy and keys and through time.
func TestHeld(t *testing.T) {
	const apex = "example.org"
	for _, denial := range []Denial{NSEC, NSEC3, NSEC3OptOut} {
		for _, zonemd := range []uint8{0, dns.ZoneMDHashAlgSHA384} {
			t.Run(fmt.Sprint(denial, zonemd), func(t *testing.T) {
				policy := testPolicy()
				policy.Denial, policy.ZoneMD = denial, zonemd
				keys := []Key{newKey(t, apex, GenerateOptions{Role: KSK}), newKey(t, apex, GenerateOptions{Role: ZSK})}
				r := rand.New(rand.NewPCG(3, uint64(denial)))
				lines := strings.Split(strings.TrimSpace(bigText(60)), "\n")
				now := testNow()
				var held *Previous
				var text []byte
				for round := range 40 {
					switch r.IntN(8) {
					case 0:
						lines = append(lines, fmt.Sprintf("new%d TXT x", round))
					case 1:
						lines = slices.Delete(lines, len(lines)-1, len(lines))
					case 2:
						lines = append(lines, fmt.Sprintf("x.new%d.h%d TXT x", round, r.IntN(9)))
					case 3:
						keys = []Key{keys[0], newKey(t, apex, GenerateOptions{Role: ZSK})}
					case 4:
						policy.Validity += time.Hour
					case 5:
						now = now.Add(-time.Minute)
					}
					now = now.Add(time.Duration(r.IntN(48)) * time.Hour)
					z := compileText(t, apex, strings.Join(lines, "\n")+"\n")
					var read *Previous
					if text != nil {
						read = readPrevious(t, apex, text)
						samePrevious(t, held, read)
					}
					write := func(prev *Previous) (*Signed, []byte) {
						p := planFor(t, z, keys, policy, prev, now)
						s, err := Sign(p, uint32(now.Unix()))
						if err != nil {
							t.Fatal(err)
						}
						s.Hold()
						out := bytes.NewBufferString("; a header\n")
						if _, err := s.WriteTo(out); err != nil {
							t.Fatal(err)
						}
						return s, out.Bytes()
					}
					if text != nil {
						samePlan(t, planFor(t, z, keys, policy, held, now), planFor(t, z, keys, policy, read, now))
						less := compileText(t, apex, strings.Join(lines[:len(lines)/2], "\n")+"\n")
						if n, m := held.Vanished(less, never), read.Vanished(less, never); n != m || n == 0 {
							t.Errorf("%d records vanished, %d by the file", n, m)
						}
					}
					_, want := write(read)
					s, got := write(held)
					if !bytes.Equal(got, want) {
						t.Fatalf("round %d: the zone that is held is written otherwise", round)
					}
					var err error
					if held, err = s.Previous("prev", got); err != nil {
						t.Fatal(err)
					}
					text = got
				}
			})
		}
	}
}

func never([]byte, uint16) bool { return false }

func samePrevious(t *testing.T, a, b *Previous) {
	t.Helper()
	x, y := *a, *b
	x.layout, y.layout, x.parsed, y.parsed, x.top, y.top, x.kinds, y.kinds = nil, nil, nil, nil, nil, nil, nil, nil
	if !reflect.DeepEqual(x, y) {
		x.data, y.data = nil, nil
		t.Fatalf("held %+v\nread %+v", x, y)
	}
	if a.top.Len() != b.top.Len() {
		t.Error("the apex differs")
	}
}

// What was not written whole, or not held, is not taken for published.
func TestHeldNot(t *testing.T) {
	const apex = "example.org"
	z := compileText(t, apex, bigText(8))
	p := planFor(t, z, []Key{newKey(t, apex, GenerateOptions{Role: CSK})}, testPolicy(), nil, testNow())
	s, err := Sign(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := s.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Previous("prev", out.Bytes()); err == nil || err.Error() != "the zone was not held while it was written" {
		t.Errorf("error is %v", err)
	}
	s.Hold()
	out.Reset()
	if _, err := s.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Previous("prev", out.Bytes()[1000:]); err == nil || err.Error() != "the file is shorter than the zone" {
		t.Errorf("error is %v", err)
	}
}

// The parts that the cores lay out come to the same plan as one, wherever the cuts
// fall, with a zone that is read and with one that is held.
func TestLayOutInParts(t *testing.T) {
	const apex = "example.org"
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	text := bigText(4000)
	keys := []Key{newKey(t, apex, GenerateOptions{Role: CSK})}
	for _, denial := range []Denial{NSEC, NSEC3OptOut} {
		policy := testPolicy()
		policy.Denial = denial
		z := compileText(t, apex, text)
		s, err := Sign(planFor(t, z, keys, policy, nil, testNow()), 1)
		if err != nil {
			t.Fatal(err)
		}
		s.Hold()
		var out bytes.Buffer
		if _, err := s.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		held, err := s.Previous("prev", out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		changed := compileText(t, apex, text+"new TXT x\nx.h3 TXT y\n")
		less := compileText(t, apex, bigText(1500))
		gone := z.Records().Len() - less.Records().Len()
		for _, cores := range []int{1, 3} {
			runtime.GOMAXPROCS(cores)
			if n, m := held.Vanished(less, never), readPrevious(t, apex, out.Bytes()).Vanished(less, never); n != gone || m != gone {
				t.Errorf("%d cores: %d and %d records vanished, want %d", cores, n, m, gone)
			}
		}
		for _, prev := range []*Previous{nil, held, readPrevious(t, apex, out.Bytes())} {
			for _, z := range []*zone.Zone{z, changed} {
				runtime.GOMAXPROCS(1)
				one := planFor(t, z, keys, policy, prev, testNow().Add(time.Hour))
				for _, cores := range []int{2, 3, 7} {
					runtime.GOMAXPROCS(cores)
					samePlan(t, planFor(t, z, keys, policy, prev, testNow().Add(time.Hour)), one)
				}
			}
		}
	}
}
