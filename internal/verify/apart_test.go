package verify

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// canonical is the zone with its owners in canonical order, in the form in which
// published files have it.
func (l lines) canonical() []byte {
	out := make([][]string, len(l))
	for i, s := range l {
		f := strings.Fields(s)
		rest := strings.Join(f[4:], " ")
		if k := strings.Index(s, `"`); k >= 0 && f[3] != "RRSIG" {
			rest = s[strings.Index(s, f[3])+len(f[3])+1:]
		}
		out[i] = []string{strings.ToLower(f[0]), strings.Join(append([]string{f[0]}, f[1:4]...), "\t") + "\t" + rest}
	}
	slices.SortStableFunc(out, func(a, b []string) int {
		return domain.Compare(wireOf(a[0]), wireOf(b[0]))
	})
	var b bytes.Buffer
	for _, s := range out {
		b.WriteString(s[1] + "\n")
	}
	return b.Bytes()
}

func wireOf(name string) []byte {
	wire, err := appendName(nil, []byte(name))
	if err != nil {
		panic(err)
	}
	return domain.ToLower(wire)
}

// names are the owners with an NSEC, in canonical order, relative to the apex.
func (l lines) names() (out []string) {
	for _, line := range strings.Split(string(l.canonical()), "\n") {
		if f := strings.Fields(line); len(f) > 3 && f[3] == "NSEC" {
			out = append(out, strings.TrimSuffix(strings.TrimSuffix(f[0], "example.org."), "."))
		}
	}
	out[0] = "@"
	return out
}

// relink makes the NSEC of a name anew, and signs it.
func (l *lines) relink(name, next string, types ...string) {
	*l = slices.DeleteFunc(*l, func(s string) bool { return is(s, name, "NSEC") })
	types = append(slices.Clone(types), "RRSIG", "NSEC")
	slices.SortFunc(types, func(a, b string) int {
		m, _ := typeOf([]byte(a))
		n, _ := typeOf([]byte(b))
		return cmp.Compare(m, n)
	})
	l.add(full(name) + "\t300\tIN\tNSEC\t" + full(next) + " " + strings.Join(types, " "))
	l.sign(name, "NSEC")
}

// typesAt are the types at a name, without those that the signer adds.
func (l lines) typesAt(name string) (out []string) {
	for _, s := range l {
		if f := strings.Fields(s); strings.EqualFold(f[0], full(name)) && f[3] != "RRSIG" && f[3] != "NSEC" && !slices.Contains(out, f[3]) {
			out = append(out, f[3])
		}
	}
	return out
}

// insert adds a name with one TXT, and all that a signer would change.
func (l *lines) insert(name string) {
	names := l.names()
	at, _ := slices.BinarySearchFunc(names, name, func(a, b string) int { return domain.Compare(wireOf(full(a)), wireOf(full(b))) })
	before, next := names[at-1], names[at%len(names)]
	l.add(full(name) + "\t60\tIN\tTXT\tx")
	l.sign(name, "TXT")
	l.relink(name, next, "TXT")
	l.relink(before, name, l.typesAt(before)...)
	l.newSerial()
}

// remove takes a name away, and does what a signer would do.
func (l *lines) remove(name string) {
	names := l.names()
	at := slices.Index(names, name)
	before, next := names[at-1], names[(at+1)%len(names)]
	*l = slices.DeleteFunc(*l, func(s string) bool { return strings.EqualFold(strings.Fields(s)[0], full(name)) })
	l.relink(before, next, l.typesAt(before)...)
	l.newSerial()
}

func (l *lines) newSerial() {
	serial := strings.Fields(l.get("@", "SOA"))[6]
	n, err := strconv.Atoi(serial)
	if err != nil {
		panic(err)
	}
	l.edit("@", "SOA", serial, strconv.Itoa(n+1))
	l.sign("@", "SOA")
}

// A change that a signer makes is verified apart, and gives the same file to be
// trusted as one that is read whole.
func TestChange(t *testing.T) {
	base := lines(fixture(t, "nsec"))
	trusted := Trust(base.canonical())
	if trusted == nil || !trusted.apart {
		t.Fatal("the fixture is not trusted")
	}
	tests := map[string]func(*lines){
		"nothing":             func(*lines) {},
		"serial":              func(l *lines) { l.newSerial() },
		"name in the middle":  func(l *lines) { l.insert("n") },
		"first name":          func(l *lines) { l.insert("_acme-challenge") },
		"last name":           func(l *lines) { l.insert("zzz") },
		"one comes, one goes": func(l *lines) { l.insert("_acme-challenge"); l.remove("zzz") },
		"two names apart":     func(l *lines) { l.insert("_acme-challenge"); l.insert("naz") },
		"two names together":  func(l *lines) { l.insert("nb"); l.insert("nc") },
		"below another":       func(l *lines) { l.insert("_acme-challenge.mail") },
		"name removed":        func(l *lines) { l.remove("hinfo") },
		"two removed":         func(l *lines) { l.remove("hinfo"); l.remove("naptr") },
		"neighbours removed":  func(l *lines) { l.remove("naptr"); l.remove("new") },
		"record at a name":    func(l *lines) { l.edit("mail", "A", "192.0.2.3", "192.0.2.33"); l.sign("mail", "A") },
		"signature made anew": func(l *lines) { l.sign("mail", "A") },
		"glue":                func(l *lines) { l.edit("ns.insecure", "A", "192.0.2.8", "192.0.2.88") },
		"address at the apex": func(l *lines) {
			l.add("example.org.\t60\tIN\tA\t192.0.2.5")
			l.sign("@", "A")
			l.relink("@", "_sip._udp", l.typesAt("@")...)
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := slices.Clone(base)
			if name == "one comes, one goes" {
				l.insert("zzz")
			}
			from := Trust(l.canonical())
			change(&l)
			data := l.canonical()
			o := Options{Now: fixtureNow, Apex: domain.MustParse("example.org")}
			if _, faults := Bytes("zone", data, o); len(faults) > 0 {
				t.Fatal(faults)
			}
			o.Trusted = from
			next, ok := Change(data, o)
			if !ok {
				t.Fatal("not verified")
			}
			if want := Trust(data); !reflect.DeepEqual(next.owners, want.owners) || next.apart != want.apart {
				t.Errorf("owners are %v, want %v", next.owners, want.owners)
			}
		})
	}
}

// A change that reaches further than its neighbours is left to a reading of all,
// and so is whatever is wrong.
func TestNoChange(t *testing.T) {
	base := lines(fixture(t, "nsec"))
	tests := map[string]func(*lines, *Options){
		"delegation that hides names": func(l *lines, _ *Options) {
			l.add("ns1.example.org.\t60\tIN\tNS\tns.example.net.")
			l.relink("ns1", "ns2", "NS")
			l.insert("a.ns1")
		},
		"delegation above others": func(l *lines, _ *Options) {
			l.insert("very")
			l.edit("very", "TXT", "TXT\tx", "NS\tns.example.net.")
		},
		"delegation removed":  func(l *lines, _ *Options) { l.remove("insecure"); l.newSerial() },
		"other keys":          func(l *lines, _ *Options) { l.dropWord("@", "DNSKEY", "256") },
		"minimum":             func(l *lines, _ *Options) { l.edit("@", "SOA", " 300", " 200"); l.sign("@", "SOA") },
		"chain left as it is": func(l *lines, _ *Options) { l.add("n.example.org.\t60\tIN\tTXT\tx"); l.sign("n", "TXT") },
		"chain with a hole":   func(l *lines, _ *Options) { l.insert("nb"); l.drop("nb", "NSEC"); l.drop("nb", "RRSIG NSEC") },
		"chain that leaps": func(l *lines, _ *Options) {
			l.insert("nb")
			l.relink("naptr", "new", "NAPTR")
		},
		"name lost": func(l *lines, _ *Options) {
			*l = slices.DeleteFunc(*l, func(s string) bool { return strings.HasPrefix(s, "hinfo.") })
		},
		"last name lost": func(l *lines, _ *Options) {
			names := l.names()
			last := full(names[len(names)-1])
			*l = slices.DeleteFunc(*l, func(s string) bool { return strings.HasPrefix(strings.ToLower(s), last) })
		},
		"expired": func(_ *lines, o *Options) { o.Now = fixtureNow.AddDate(20, 0, 0) },
		"signature of old data": func(l *lines, _ *Options) {
			l.edit("mail", "A", "192.0.2.3", "192.0.2.33")
		},
		"a parent's DS": func(_ *lines, o *Options) { o.DS = []*dns.DS{parseDS(t, keyDS)} },
		"another zone":  func(_ *lines, o *Options) { o.Apex = domain.MustParse("org") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := slices.Clone(base)
			o := Options{Now: fixtureNow, Trusted: Trust(base.canonical())}
			change(&l, &o)
			if _, ok := Change(l.canonical(), o); ok {
				t.Error("verified")
			}
		})
	}
	for _, zone := range []string{"nsec3", "opt-out"} {
		data := lines(fixture(t, zone)).canonical()
		if _, ok := Change(data, Options{Now: fixtureNow, Trusted: Trust(data)}); ok {
			t.Errorf("%s: verified apart", zone)
		}
	}
	data := base.canonical()
	for cut := range len(data) { // a file that was not written to its end
		if _, ok := Change(data[:cut], Options{Now: fixtureNow, Trusted: Trust(data)}); ok {
			t.Fatalf("verified when cut at %d", cut)
		}
	}
}

// Whatever is done to the lines of a file: what is verified apart is verified as a
// whole too.
func TestChangeAtRandom(t *testing.T) {
	base := lines(fixture(t, "nsec"))
	trusted := Trust(base.canonical())
	r := rand.New(rand.NewPCG(1, 2))
	names := base.names()
	agreed := 0
	for round := range 1000 {
		l := slices.Clone(base)
		for range 1 + r.IntN(3) {
			name := names[1+r.IntN(len(names)-1)]
			switch r.IntN(7) {
			case 0:
				if !slices.Contains(l.names(), name) {
					l.insert(name)
				}
			case 1:
				if slices.Contains(l.names(), name) {
					l.remove(name)
				}
			case 2:
				if fresh := string(rune('a'+r.IntN(26))) + "." + name; !slices.Contains(l.names(), fresh) {
					l.insert(fresh)
				}
			case 3:
				i := r.IntN(len(l))
				l = slices.Delete(l, i, i+1)
			case 4:
				i := r.IntN(len(l))
				l[i] = strings.Replace(l[i], "\tA\t", "\tNS\t", 1)
			case 5:
				l.add(strings.Replace(l[r.IntN(len(l))], "example.org.", "x.example.org.", 1))
			case 6:
				l = slices.DeleteFunc(l, func(s string) bool { return strings.EqualFold(strings.Fields(s)[0], full(name)) })
			}
			if !slices.ContainsFunc(l, func(s string) bool { return is(s, "@", "NSEC") }) || !slices.ContainsFunc(l, func(s string) bool { return is(s, "@", "SOA") }) {
				break
			}
		}
		data := l.canonical()
		o := Options{Now: fixtureNow, Trusted: trusted}
		next, ok := Change(data, o)
		o.Trusted = nil
		_, faults := Bytes("zone", data, o)
		switch {
		case ok && len(faults) > 0:
			t.Fatalf("round %d: verified apart: %v\n%s", round, faults, data)
		case ok:
			agreed++
			if want := Trust(data); !reflect.DeepEqual(next.owners, want.owners) {
				t.Fatalf("round %d: owners are %v, want %v", round, next.owners, want.owners)
			}
		}
	}
	if agreed < 100 {
		t.Errorf("only %d changes were verified apart", agreed)
	}
}
