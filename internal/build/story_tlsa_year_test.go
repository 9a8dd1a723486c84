package build_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
)

// cached is a version of the RRset that a cache may hold.
type cached struct {
	records []string
	until   time.Time
}

// year is a life of a mail server with a simulated clock: its owner deploys a key
// only when `tlsa ready` says so, and everything else goes wrong.
type year struct {
	*site
	w      *world
	r      *rand.Rand
	caches map[string]cached // by text
	keys   []certificate     // live, and the next one if there is one
	due    map[string]int    // hours until a host gets the live key
	second certificate       // of another line, for RSA as it were; it never changes
	want   int               // exit status of a build
	clock  bool              // nobody asks the servers
	soa    time.Time         // when its refresh was lowered; zero = it is high
	gone   map[string]time.Time
	broken int // hours for which something is
	mend   func()
	lag    int
	ready  int // deployments
}

// remember notes what the servers show now.
func (y *year) remember() {
	for _, server := range y.w.servers {
		text, lags := y.w.lags[server]
		if !lags {
			text = y.read("signed/example.org")
		}
		v := cached{}
		ttl := uint64(0)
		for line := range strings.Lines(text) {
			if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 5 && f[0] == smtp && f[3] == "TLSA" {
				v.records = append(v.records, f[4])
				ttl, _ = strconv.ParseUint(f[1], 10, 32)
			}
		}
		v.until = y.now.Add(time.Duration(ttl) * time.Second)
		y.caches[fmt.Sprint(ttl, v.records)] = v
	}
}

// check wants every client to reach every host, whatever its cache holds.
func (y *year) check(what string) {
	y.t.Helper()
	for _, v := range y.caches {
		if len(v.records) == 0 || v.until.Before(y.now) {
			continue
		}
		for addr, certs := range y.w.hosts {
			// An address that has gone is used for its TTL, and as long as the zone is on its way.
			if at, ok := y.gone[addr]; ok && y.now.After(at.Add(time.Hour+y.longest())) {
				continue
			}
			for _, c := range certs {
				if !slices.Contains(v.records, c.record()) {
					y.t.Fatalf("%s, %s: %s serves %s, a cache holds until %s: %q", y.now, what, addr, c.record(), v.until, v.records)
				}
			}
		}
	}
}

// longest is refresh and retry of the SOA record that a secondary goes by.
func (y *year) longest() time.Duration {
	if y.clock && (y.soa.IsZero() || y.now.Before(y.soa.Add(20*time.Hour))) {
		return 20 * time.Hour
	}
	return 2*time.Hour + 30*time.Minute
}

// setSOA raises or lowers refresh and retry.
func (y *year) setSOA(low bool) {
	y.soa = time.Time{}
	times := "19h 1h"
	if low {
		times, y.soa = "2h 30m", y.now
	}
	y.write("soa/example.org", "$TTL 1h\n@ SOA ns1 hostmaster 1 "+times+" 4w 1h\n@ NS ns1\n")
}

// yearZone is what is written by hand; without its many hosts a guard refuses it.
const yearZone = "ns1 A 192.0.2.53\nmail A 192.0.2.25\nmail A 192.0.2.26\n"

const manyHosts = "a A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\nd A 192.0.2.1\ne A 192.0.2.1\nf A 192.0.2.1\ng A 192.0.2.1\nh A 192.0.2.1\n"

func yearMap(options string) string {
	return "mail.pem mail.example.org 25 next=next.pem" + options + "\nrsa.pem mail.example.org 25" + options + "\n"
}

// goWrong breaks something for some hours.
func (y *year) goWrong() string {
	y.broken = 1 + y.r.IntN(60)
	live := y.keys[0]
	switch y.r.IntN(11) {
	case 7:
		y.write("primary/example.org", yearZone)
		y.want = rejected
		y.mend = func() { y.write("primary/example.org", yearZone+manyHosts); y.want = ok }
		return "nothing is published"
	case 8:
		y.write("primary/example.org", strings.Replace(yearZone, "mail A 192.0.2.26\n", "", 1)+manyHosts)
		y.gone["192.0.2.26"] = y.now
		y.mend = func() {
			y.write("primary/example.org", yearZone+manyHosts)
			y.w.hosts["192.0.2.26"] = []certificate{y.keys[0], y.second}
			delete(y.due, "192.0.2.26")
			delete(y.gone, "192.0.2.26")
		}
		return "an address is gone"
	case 9:
		y.w.deaf = true
		y.mend = func() { y.w.deaf = false }
		return "no resolver answers"
	case 10:
		if y.lag == 0 {
			y.setSOA(y.soa.IsZero())
		}
		y.mend = func() {}
		return "another SOA record"
	case 0:
		y.write("certs/mail.pem", "junk")
		y.mend = func() { y.write("certs/mail.pem", live.pem()) }
		return "junk"
	case 1:
		y.write("certs/mail.pem", newCertificate(y.t, "mail.example.org").pem())
		y.mend = func() { y.write("certs/mail.pem", live.pem()) }
		return "a hostile key"
	case 2:
		if err := os.Rename(y.path("certs"), y.path("away")); err != nil {
			y.t.Fatal(err)
		}
		y.mend = func() {
			if err := os.Rename(y.path("away"), y.path("certs")); err != nil {
				y.t.Fatal(err)
			}
		}
		return "certs/ is gone"
	case 3:
		y.remove("state")
		y.mend = func() {}
		return "state/ is lost"
	case 4:
		y.write("certs.map", yearMap(fmt.Sprintf(" ttl=%dm", 10+y.r.IntN(300))))
		y.mend = func() {}
		return "another TTL"
	case 5:
		y.remove("certs.map")
		y.mend = func() { y.write("certs.map", yearMap("")) }
		return "certs.map is gone"
	}
	for _, addr := range []string{"192.0.2.25", "192.0.2.54:53"} {
		y.w.silent[addr] = true
	}
	y.mend = func() { y.w.silent = map[string]bool{} }
	return "silence"
}

func (y *year) isReady() bool {
	tree, _, err := build.Open(y.dir)
	if err != nil {
		y.t.Fatal(err)
	}
	defer tree.Close()
	a, err := tree.TLSAReady(y.t.Context(), mailService(), y.now)
	if err != nil {
		y.t.Fatal(err)
	}
	return a.Ready
}

// hour is one hour with one build; sometimes the builder sleeps.
func (y *year) hour() {
	if y.r.IntN(200) == 0 {
		for range 24 * (1 + y.r.IntN(7)) {
			y.now = y.now.Add(time.Hour)
			y.transfer()
			y.remember()
			y.check("the builder sleeps")
		}
	}
	what := "nothing"
	switch {
	case y.broken > 1:
		y.broken--
	case y.broken == 1:
		y.broken = 0
		y.mend()
		what = "mended"
	case y.r.IntN(60) == 0:
		what = y.goWrong()
	case len(y.keys) == 1 && len(y.due) == 0 && y.r.IntN(48) == 0:
		y.keys = append(y.keys, newCertificate(y.t, "mail.example.org"))
		y.write("certs/next.pem", y.keys[1].pem())
		what = "announced"
	case len(y.keys) == 2 && y.isReady():
		y.keys = y.keys[1:]
		y.write("certs/mail.pem", y.keys[0].pem())
		y.remove("certs/next.pem")
		y.due = map[string]int{"192.0.2.25": y.r.IntN(5), "192.0.2.26": y.r.IntN(500)}
		y.ready++
		what = "deployed"
	}
	for addr, n := range y.due {
		if y.due[addr]--; n <= 0 {
			y.w.hosts[addr] = []certificate{y.keys[0], y.second}
			delete(y.due, addr)
			what += ", " + addr + " has it"
		}
	}
	y.remember()
	y.check(what)
	before := y.read("signed/example.org")
	y.build(y.want)
	if y.read("signed/example.org") != before && y.lag == 0 && y.r.IntN(2) == 0 {
		most := 30
		if y.clock {
			most = int(y.longest() / time.Hour)
		}
		y.w.lags["192.0.2.54:53"], y.lag = before, 1+y.r.IntN(most)
	}
	y.transfer()
	y.remember()
	y.check(what + ", and a build")
	y.now = y.now.Add(time.Hour)
}

// transfer brings the secondary closer to the present zone, builder or not.
func (y *year) transfer() {
	if y.lag > 0 {
		if y.lag--; y.lag == 0 {
			delete(y.w.lags, "192.0.2.54:53")
		}
	}
}

// TestTLSAYear: at every instant a client with the worst allowed cache validates.
func TestTLSAYear(t *testing.T) {
	t.Parallel()
	hours, seeds := 24*90, 2
	if testing.Short() {
		hours = 24 * 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			config := "[policy]\nsign = false\n"
			clock := seed == 1
			if clock {
				config += "[tlsa]\nobserve = \"clock\"\n"
			}
			s, w, a := mailSite(t, config, yearMap(""))
			y := &year{
				site: s, w: w, r: rand.New(rand.NewPCG(uint64(seed), 1)), caches: map[string]cached{}, keys: []certificate{a},
				second: newCertificate(t, "mail.example.org"), want: ok, clock: clock, gone: map[string]time.Time{},
			}
			s.write("certs/rsa.pem", y.second.pem())
			s.write("primary/example.org", yearZone+manyHosts)
			w.hosts["192.0.2.25"], w.hosts["192.0.2.26"] = []certificate{a, y.second}, []certificate{a, y.second}
			if clock {
				y.setSOA(false)
			} else {
				y.setSOA(true)
			}
			s.build(ok)
			for range hours {
				y.hour()
			}
			if got := len(s.tlsaOf("example.org", smtp)); got == 0 || y.ready < 3 && !testing.Short() {
				t.Errorf("%d records, %d deployments", got, y.ready)
			}
			if err := s.open().MarkTLSA(t.Context(), mailService(), build.MarkRetire); err != nil && y.broken == 0 {
				t.Error(err)
			}
		})
	}
}
