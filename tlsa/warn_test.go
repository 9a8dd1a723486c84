package tlsa

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// TestWarnings: what a step says, word by word.
func TestWarnings(t *testing.T) {
	s := newStory(t)
	say := func(change func()) string {
		s.in.State, s.published = State{}, Published{}
		s.in.Hand, s.in.Now, s.serves, s.in.Marks = nil, simEpoch, [2]string{"A", "A"}, Marks{}
		s.files("A", "gone")
		change()
		s.in.Published = s.published
		s.in.Observed = Observed{Hosts: []HostSeen{{Addr: address(3, 0), Reach: Answered, At: s.in.Now, Chains: [][][]byte{s.chains[s.serves[0]]}}}}
		_, _, faults := Step(s.in)
		var l lines
		for _, d := range faults {
			l = append(l, strings.TrimPrefix(d.String(), "m:1:1: warning: _25._tcp.h.example.: "))
		}
		return l.String()
	}
	full := func() {
		for _, name := range []string{"A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"} {
			s.in.State.Records = append(s.in.State.Records, Tracked{Record: s.record(name), In: true, Live: name == "A"})
			s.published.Records = append(s.published.Records, s.record(name))
		}
		s.in.State.Phase = PhaseMixed
	}
	other := *s.keys["A"].Material
	other.DNSNames = []string{"x.example"}
	for _, c := range []struct {
		name   string
		change func()
		want   string
	}{
		{"nothing", func() {}, ""},
		{"expired", func() { s.in.Now = simEpoch.AddDate(10, 0, 0) }, "c0 expired on 2035-01-01 [tlsa-expired]"},
		{"not yet", func() { s.in.Now = simEpoch.AddDate(-2, 0, 0) }, "c0 is valid only from 2025-01-01 [tlsa-expired]"},
		{"name", func() { s.in.Keys[0].Live.Material = &other }, "c0 does not cover h.example. [tlsa-name]"},
		{"file", func() { s.files("broken", "gone") }, "c0: not PEM; what is published stays [tlsa-file]\n192.0.3.1:25 serves a key that no record matches [tlsa-mismatch]"},
		{"absent", func() { s.files("gone", "gone") }, "c0: file does not exist; what is published stays [tlsa-file]\n192.0.3.1:25 serves a key that no record matches [tlsa-mismatch]"},
		{"next", func() { s.files("A", "broken") }, "next=n: not PEM; what is published stays [tlsa-next]"},
		{"guard", func() { s.files("B", "gone") }, "not published: 192.0.3.1:25 serves a key that none of the files holds; put its certificate there (zonebuild tlsa accept h.example. 25 lets the set pass) [tlsa-guard]\n" +
			"192.0.3.1:25 serves a key that no record matches [tlsa-mismatch]"},
		{"full", func() { full(); s.files("M", "gone") }, short(s.record("M")) + " is not published: 12 records stand here already; `zonebuild tlsa retire h.example. 25` ends those that no file asks for [tlsa-full]"},
		{"lost", func() { s.published = Published{Records: []Record{s.record("A")}, TTL: 60} },
			"nothing is known of the published records: nothing is withdrawn, and all clocks begin now [tlsa-state-lost]"},
		{"clock", func() { s.in.State.Clock, s.in.State.Phase = simEpoch.Add(6*time.Minute), PhaseSteady },
			"the clock is 6m0s behind the last step: all waits stand still until it has caught up, or `zonebuild tlsa seen h.example. 25` begins them anew [tlsa-clock]"},
		{"hand", func() { s.in.Hand = []Record{s.record("K")} }, "1 TLSA records are written by hand at this owner: they stand beside those of the map [tlsa-hand-written]"},
	} {
		if got := say(c.change); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// TestFragment: a set is a guest that the compiler of the zone takes, in the
// text that other tools write.
func TestFragment(t *testing.T) {
	s := newStory(t)
	set := s.step(0)
	f, err := set.Fragment(s.in.Group)
	if err != nil {
		t.Fatal(err)
	}
	apex := domain.MustParse("example")
	host, faults := zone.Parse("p", []byte("$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a.other.\nh A 192.0.2.1\n"), zone.ParseOptions{Apex: apex})
	z, more := zone.Compile(apex, host, f)
	if z == nil {
		t.Fatal(faults, more)
	}
	got := ""
	records := z.Records()
	for i := range records.Len() {
		if records.Type(i) == dns.TypeTLSA {
			got += string(zone.AppendRecordOf(nil, records, i))
		}
	}
	want := strings.ReplaceAll(set.Records[0].Text(s.in.Group.Owner, 3600), "\t", " ")
	if strings.Join(strings.Fields(got), " ") != want || rrset.MaxRdata < maxData {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStoreKeys: a next key that is not there is no key and no fault.
func TestStoreKeys(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "c0"), simCert(1), 0o644); err != nil {
		t.Fatal(err)
	}
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := newStory(t)
	s.in.Keys = store.Keys(s.in.Group)
	s.chains["A"] = [][]byte{simCert(1)}
	s.in.Keys[0].Live.Material.DNSNames = []string{"h.example"}
	s.step(0)
	s.want("new: ?; the zone with the record is not published yet")
	if _, err := OpenStore(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there is opened")
	}
}
