package acmeclient

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// RFC 9773 §4.1 has this example.
func TestCertID(t *testing.T) {
	aki := []byte{0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4}
	id, err := CertID(&x509.Certificate{AuthorityKeyId: aki, SerialNumber: big.NewInt(0x87654321)})
	if want := "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"; id != want || err != nil {
		t.Errorf("%s %v, want %s", id, err, want)
	}
	if _, err := CertID(&x509.Certificate{SerialNumber: big.NewInt(1)}); err == nil || err.Error() != "name the certificate: it has no authority key identifier" {
		t.Errorf("%v", err)
	}
}

func lifetime(days int) *x509.Certificate {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &x509.Certificate{NotBefore: from, NotAfter: from.AddDate(0, 0, days), AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(7)}
}

func TestByLifetime(t *testing.T) {
	for days, want := range map[int]string{90: "2026-03-02T00:00:00Z", 45: "2026-01-31T00:00:00Z", 10: "2026-01-07T16:00:00Z", 9: "2026-01-05T12:00:00Z", 6: "2026-01-04T00:00:00Z", 1: "2026-01-01T12:00:00Z"} {
		if got := stamp(ByLifetime(lifetime(days))); got != want {
			t.Errorf("%d days: %s, want %s", days, got, want)
		}
	}
}

func TestWindow(t *testing.T) {
	leaf := lifetime(100)
	at := func(days int) string { return leaf.NotBefore.AddDate(0, 0, days).Format(time.RFC3339) }
	for _, row := range []struct{ body, want string }{
		{`{"suggestedWindow":{"start":"` + at(50) + `","end":"` + at(60) + `"}}`, at(50) + " " + at(60) + " "},
		{`{"suggestedWindow":{"start":"` + at(90) + `","end":"` + at(900) + `"},"explanationURL":"https://ca.example/\u001b[2J"}`, at(90) + " " + at(95) + ` https://ca.example/\x1b[2J`},
		{`{"suggestedWindow":{"start":"2001-01-01T00:00:00Z","end":"2001-01-02T00:00:00Z"}}`, "2001-01-01T00:00:00Z 2001-01-02T00:00:00Z "},
		{`{"suggestedWindow":{"start":"` + at(96) + `","end":"` + at(97) + `"}}`, "malformed by the CA: a window from " + at(96) + ", when it is too late"},
		{`{"suggestedWindow":{"start":"` + at(60) + `","end":"` + at(50) + `"}}`, "malformed by the CA: a window that ends before it begins"},
		{`{"suggestedWindow":{"start":"` + at(60) + `","end":"` + at(60) + `"}}`, "malformed by the CA: a window that ends before it begins"},
		{`{"suggestedWindow":{"start":"0001-01-01T00:00:00Z","end":"` + at(60) + `"}}`, "malformed by the CA: no window"},
		{`{"suggestedWindow":{}}`, "malformed by the CA: no window"},
		{`{}`, "malformed by the CA: no window"},
		{`null`, "malformed by the CA: no window"},
		{`[]`, "malformed by the CA: json: cannot unmarshal array into Go value of type struct"},
		{`{"suggestedWindow":{"start":"tomorrow"}}`, `malformed by the CA: parsing time`},
		{`{`, "malformed by the CA: unexpected end of JSON input"},
	} {
		w, err := parseWindow([]byte(row.body), leaf)
		got := stamp(w.start) + " " + stamp(w.end) + " " + w.why
		if err != nil {
			got = err.Error()
		}
		if got != row.want && (err == nil || !strings.HasPrefix(got, row.want)) {
			t.Errorf("%s\n got %s\nwant %s", row.body, got, row.want)
		}
	}
}

// The instant lies in the window, is the same for the same seed, and is spread over
// the window for different ones.
func TestPick(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w := window{start: start, end: start.Add(10 * time.Hour)}
	hours := map[int]int{}
	for i := range 1000 {
		seed := fmt.Appendf(nil, "host %d", i)
		at := w.pick(seed, "id")
		if at.Before(w.start) || !at.Before(w.end) || !at.Equal(w.pick(seed, "id")) {
			t.Fatalf("%s", at)
		}
		hours[int(at.Sub(start)/time.Hour)]++
	}
	for h := range 10 {
		if hours[h] < 60 || hours[h] > 140 { // 100 of a fair choice, σ = 9.5
			t.Errorf("%d of 1000 in hour %d", hours[h], h)
		}
	}
	if w.pick([]byte("a"), "id").Equal(w.pick([]byte("a"), "id2")) {
		t.Error("two certificates are renewed at the same instant")
	}
	whole := window{start: start, end: start.AddDate(200, 0, 0)} // no overflow
	if at := whole.pick([]byte("x"), "id"); at.Before(whole.start) || !at.Before(whole.end) {
		t.Errorf("%s", at)
	}
}

// TestRenewal asks Pebble, whose answer is then overridden: now, later, broken.
func TestRenewal(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{Profiles: map[string]uint64{"90d": 90 * 86400}})
	now := time.Now().UTC().Truncate(time.Second)
	c := register(t, ca, func(c *Config) { c.Now = func() time.Time { return now } })
	request := Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t), Profile: "90d"}
	got, err := c.Obtain(t.Context(), z, request)
	if err != nil {
		t.Fatal(err)
	}
	leaf := got.Chain[0]
	ask := func() Renewal {
		t.Helper()
		r, err := c.Renewal(t.Context(), "a", leaf, []byte("seed"))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	override := func(answer string) {
		t.Helper()
		body, err := json.Marshal(map[string]string{"Certificate": lab.Block("CERTIFICATE", leaf.Raw), "ARIResponse": answer})
		if err != nil {
			t.Fatal(err)
		}
		if code, said := ca.Manage("POST", "/set-renewal-info/", string(body)); code != 200 {
			t.Fatal(code, said)
		}
	}
	span := func(from, to time.Time) string {
		return fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q},"explanationURL":"https://ca.example/why"}`, stamp(from), stamp(to))
	}
	first := ask()
	if first.Fault != "" || first.Due(now) || first.At.Before(first.Start) || !first.At.Before(first.End) || !first.AskAgain.Equal(now.Add(6*time.Hour)) {
		t.Errorf("%+v", first)
	}
	override(span(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	if again := ask(); again != first {
		t.Errorf("it asked before it should: %+v", again)
	}
	now = first.AskAgain
	if r := ask(); !r.Due(now) || r.Why != "https://ca.example/why" {
		t.Errorf("renew now: %+v", r)
	}
	override(span(now.Add(20*24*time.Hour), now.Add(21*24*time.Hour)))
	now = now.Add(24 * time.Hour)
	later := ask()
	if later.Due(now) || later.At.Before(now.Add(18*24*time.Hour)) {
		t.Errorf("renew later: %+v", later)
	}
	for _, broken := range []string{"{", "null", span(now.Add(time.Hour), now), "<html>"} {
		override(broken)
		now = now.Add(24 * time.Hour)
		r := ask()
		if !r.At.Equal(later.At) || !strings.HasPrefix(r.Fault, "ask when to renew: malformed by the CA: ") {
			t.Errorf("%s: %+v", broken, r)
		}
	}
	// A damaged record is as good as none.
	if err := c.store.Save("renewal-a", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if r := ask(); !r.At.Equal(ByLifetime(leaf).Truncate(time.Second)) {
		t.Errorf("%+v", r)
	}
	// Without a window from before, the lifetime decides.
	r, err := c.Renewal(t.Context(), "other", leaf, []byte("seed"))
	if err != nil || !r.At.Equal(ByLifetime(leaf).Truncate(time.Second)) || r.Fault == "" || !r.Start.IsZero() {
		t.Errorf("%+v %v", r, err)
	}

	// The renewal names what it replaces; a second one cannot, and is made all the same.
	now = time.Now()
	for i, name := range []string{"b", "c"} {
		request.Name, request.Replaces = name, leaf
		if _, err := c.Obtain(t.Context(), z, request); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, ca.Log())
		}
		o, _, err := c.Order(name)
		if err != nil || (o.Replaces != "") != (i == 0) {
			t.Errorf("%s: replaces %q %v", name, o.Replaces, err)
		}
	}
}

// A CA without renewal information, and one whose answers are out of bounds.
func TestRenewalHostile(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	for _, row := range []struct {
		name   string
		info   bool
		answer func(w http.ResponseWriter, r *http.Request)
		fault  string
		again  time.Duration
	}{
		{"none", false, nil, "the CA tells nobody when to renew", 6 * time.Hour},
		{"ask at once", true, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1") }, "ask when to renew: malformed by the CA: unexpected end of JSON input", time.Minute},
		{"ask never", true, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "999999999999999999999") }, "ask when to renew: malformed by the CA: unexpected end of JSON input", 24 * time.Hour},
		{"ask before", true, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "-7") }, "ask when to renew: malformed by the CA: unexpected end of JSON input", 6 * time.Hour},
		{"not found", true, func(w http.ResponseWriter, r *http.Request) { lab.Refuse(w, 404, "", "malformed", "no\nsuch") }, `ask when to renew: refused by the CA (malformed): no\nsuch`, 6 * time.Hour},
		{"down", true, func(w http.ResponseWriter, r *http.Request) { lab.Refuse(w, 500, "", "serverInternal", "") }, "ask when to renew: failed for the moment (serverInternal)", time.Hour},
		{"elsewhere", true, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/", http.StatusFound)
		}, "ask when to renew: malformed by the CA: redirect to http://evil.example", 6 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeCA(t)
			c := newClient(t, f, func(c *Config) { c.Now = func() time.Time { return now } })
			f.Change = func(f *fakeCA, path string, b map[string]any) {
				if path == "/dir" && row.info {
					b["renewalInfo"] = f.Server.URL + "/info/"
				}
			}
			leaf := lifetime(90)
			f.Take = lab.At("/info/AQ.Bw", func(w http.ResponseWriter, r *http.Request) { row.answer(w, r) })
			r, err := c.Renewal(t.Context(), "a", leaf, nil)
			if err != nil || r.Fault != row.fault || r.AskAgain.Sub(now) != row.again || !r.At.Equal(ByLifetime(leaf)) {
				t.Errorf("%+v %v\nask again after %s", r, err, r.AskAgain.Sub(now))
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{Profiles: map[string]uint64{"short": 6 * 86400, "long": 90 * 86400}})
	c := register(t, ca)
	for profile, days := range map[string]int{"short": 6, "long": 90} {
		got, err := c.Obtain(t.Context(), z, Request{Name: profile, Identifiers: []string{"example.org"}, Key: p256(t), Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		leaf := got.Chain[0]
		if life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour); life != time.Duration(days)*24*time.Hour || got.Profile != profile {
			t.Errorf("%s: %s", profile, life)
		}
	}
	_, err := c.Obtain(t.Context(), z, Request{Name: "x", Identifiers: []string{"example.org"}, Key: p256(t), Profile: "x"})
	if want := `obtain x: order a certificate: no such profile: "x", the CA has long, short`; !errors.Is(err, ErrProfile) || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestAlternates(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{Alternates: 2})
	c := register(t, ca)
	key := p256(t)
	if _, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: key}); err != nil {
		t.Fatal(err)
	}
	tops := map[string]bool{}
	for n := range 3 {
		_, text := ca.Manage("GET", fmt.Sprint("/roots/", n), "")
		chain, err := parseChain([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		tops[chain[0].Subject.CommonName] = true
	}
	if len(tops) != 3 {
		t.Fatalf("%v", tops)
	}
	for top := range tops {
		if err := c.Forget("a"); err != nil {
			t.Fatal(err)
		}
		other, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: key, Issuer: top})
		if err != nil {
			t.Fatal(err)
		}
		checkIssued(t, other, key, "example.org")
		if issuer := other.Chain[len(other.Chain)-1].Issuer.CommonName; issuer != top {
			t.Errorf("issuer %s, want %s", issuer, top)
		}
	}
	if err := c.Forget("a"); err != nil {
		t.Fatal(err)
	}
	got, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: key, Issuer: "nobody"})
	if err != nil || len(got.Notes) != 1 || got.Notes[0] != `no chain ends with the issuer "nobody"` {
		t.Errorf("%v %v", got, err)
	}
}
