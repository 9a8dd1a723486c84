package acmeclient

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// TestFull: what counts against the next order, and for how long.
func TestFull(t *testing.T) {
	const ca, day = "https://ca.example/dir", 24 * time.Hour
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	names := []string{"example.org", "*.example.org"}
	order := func(after time.Duration) *Order {
		return &Order{Directory: ca, Identifiers: names, Created: start.Add(after)}
	}
	for _, row := range []struct {
		name     string
		times    []time.Duration
		lifetime time.Duration // of the certificates; 0: nothing came of them
		at       time.Duration
		want     time.Duration // until when; 0: at once
	}{
		{"none", nil, 0, 0, 0},
		{"four", []time.Duration{0, 1, 2, 3}, 90 * day, 4, 0},
		{"five", []time.Duration{0, 1, 2, 3, 4}, 90 * day, time.Hour, 7 * day},
		{"five, and the first is old enough", []time.Duration{0, day, day + 1, day + 2, day + 3}, 90 * day, 7 * day, 0},
		{"six, in another order", []time.Duration{5 * day, 0, day, day + 1, day + 2, 2 * day}, 90 * day, 6 * day, 8 * day},
		{"of six days", []time.Duration{0, 1, 2, 3, 4}, 160 * time.Hour, day, 80 * time.Hour},
		{"of six hours", []time.Duration{0, 1, 2, 3, 4}, 6 * time.Hour, 3 * time.Hour, 0},
		{"nine without certificate", []time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8}, 0, 9, 0},
		{"ten without certificate", []time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 0, 59 * time.Minute, time.Hour},
		{"ten without certificate an hour ago", []time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 0, time.Hour, 0},
		{"from before the clock was set back", []time.Duration{400 * day, 400*day + 1, 400*day + 2, 400*day + 3, 400*day + 4}, 90 * day, 0, 0},
	} {
		var j Journal
		now := start.Add(row.at)
		for _, after := range row.times {
			seen := start.Add(max(after, row.at)) // by a clock that was right then
			j.ordered(order(after), 0, seen)
			if row.lifetime > 0 {
				j.ordered(order(after), row.lifetime, seen)
			}
		}
		until, why := j.Full(ca, []string{"*.EXAMPLE.org", "example.org"}, now)
		if row.want == 0 && !until.IsZero() || row.want > 0 && !until.Equal(start.Add(row.want)) || (why == "") != until.IsZero() {
			t.Errorf("%s: until %s: %s", row.name, until, why)
		}
		for _, other := range []func() (time.Time, string){
			func() (time.Time, string) { return j.Full("https://other.example/dir", names, now) },
			func() (time.Time, string) { return j.Full(ca, names[:1], now) },
		} {
			if until, why := other(); !until.IsZero() {
				t.Errorf("%s: others: until %s: %s", row.name, until, why)
			}
		}
	}
	// It does not grow: what counts no more goes, and there are never more than so many.
	var j Journal
	for i := range keepAll {
		j.Orders = append(j.Orders, Ordered{fmt.Sprint(i), start, 90 * day})
	}
	for i := range 3 {
		j.ordered(&Order{Directory: fmt.Sprint(ca, i), Identifiers: names, Created: start}, 90*day, start)
	}
	if len(j.Orders) != keepAll {
		t.Errorf("%d orders are kept", len(j.Orders))
	}
	if j.ordered(order(8*day), 0, start.Add(8*day)); len(j.Orders) != 1 {
		t.Errorf("%d orders are kept after a week", len(j.Orders))
	}
}

// TestTooManyOrders: the CA is not asked for a sixth certificate, nor for an eleventh order
// of which nothing came; what it has not heard of counts for nothing, and a process that
// was killed has counted.
func TestTooManyOrders(t *testing.T) {
	f, z := newFakeCA(t), newZone(t)
	now := time.Now()
	clock := func() time.Time { now = now.Add(time.Millisecond); return now }
	var store Store
	c := register(t, f, func(c *Config) { store, c.Now = c.Store, clock })
	request := Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}
	obtain := func() error {
		_, err := c.Obtain(t.Context(), z, request)
		if err == nil {
			err = c.Forget("a")
		}
		return err
	}
	asked := func(want int) {
		t.Helper()
		if n := f.Asked("/newOrder"); n != want {
			t.Fatalf("%d orders, want %d", n, want)
		}
	}
	for range maxIssued {
		if err := obtain(); err != nil {
			t.Fatal(err)
		}
	}
	if err := obtain(); !errors.Is(err, ErrTooManyOrders) || !strings.Contains(err.Error(), "there were 5 certificates for these names since ") {
		t.Fatal(err)
	}
	asked(maxIssued)
	request.Beyond = true
	if err := obtain(); err != nil {
		t.Fatal(err)
	}
	request.Beyond = false
	asked(maxIssued + 1)

	// Failures, and answers that were never heard.
	const later = 8 * 24 * time.Hour
	now = now.Add(later)
	f.Leaf = func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotBefore.Add(later), c.NotAfter.Add(later) }
	f.Take = lab.At("/newOrder", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := obtain(); !errors.Is(err, ErrTemporary) {
		t.Fatal(err)
	}
	if j, err := c.Journal(); err != nil || len(j.Orders) > maxIssued+1 {
		t.Fatalf("%+v %v", j.Orders, err)
	}
	f.Take = lab.At("/newOrder", func(w http.ResponseWriter, _ *http.Request) { lab.Refuse(w, 403, "", "rejectedIdentifier", "no") })
	before := f.Asked("/newOrder")
	for range maxOrders {
		if err := obtain(); !errors.Is(err, ErrRejectedIdentifier) {
			t.Fatal(err)
		}
	}
	asked(before + maxOrders)
	f.Take = nil
	if err := obtain(); !errors.Is(err, ErrTooManyOrders) || !strings.Contains(err.Error(), "there were 10 orders") {
		t.Fatal(err)
	}
	asked(before + maxOrders)
	// Another process, and the same journal.
	another := newClient(t, f, func(n *Config) { n.Store, n.Key, n.Now = store, c.key, clock })
	if _, err := another.Obtain(t.Context(), z, request); !errors.Is(err, ErrTooManyOrders) {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if err := obtain(); err != nil {
		t.Fatal(err)
	}
}
