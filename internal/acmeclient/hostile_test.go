package acmeclient

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// TestHostileCA: what a CA can do wrong, and what is said of it.
func TestHostileCA(t *testing.T) {
	for _, row := range lab.Hostilities() {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			f, z := newFakeCA(t), newZone(t)
			said := f.Play(row)
			c := newClient(t, f, func(c *Config) {
				c.Limits.Issue, c.Limits.Lifetime = 100*time.Millisecond, 2000*24*time.Hour
				if strings.HasPrefix(row.Name, "slow") || row.Name == "no answer" {
					c.Limits.Request = time.Second
				}
			})
			started := time.Now()
			got, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t), Profile: "tlsserver"})
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if got != nil {
				t.Error("a certificate")
			}
			want := "obtain a: " + said
			if err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			if err != nil && !isClass(err) {
				t.Errorf("its class is not in its text: %v", err)
			}
			z.empty(t)
			if strings.Contains(row.Name, "token") && len(z.calls) > 0 {
				t.Errorf("it went as far as %q", z.calls)
			}
		})
	}
}

// isClass wants an error to be of the classes that it names, and of one at least.
func isClass(err error) bool {
	found := false
	for _, c := range []error{ErrRateLimited, ErrUnauthorized, ErrCAA, ErrValidation, ErrRejectedIdentifier, ErrTemporary, ErrMalformedByCA, ErrRefused} {
		is := errors.Is(err, c)
		found = found || is
		if is && !strings.Contains(err.Error(), c.Error()) {
			return false
		}
	}
	return found
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	tomorrow := ", not before 2026-11-21T12:00:00Z"
	for _, row := range []struct {
		status      int
		typ, header string
		want        string
		asked       int
	}{
		{429, "rateLimited", "", "rate limited (rateLimited): slow", 1},
		{429, "rateLimited", "3600", "rate limited (rateLimited): slow, not before 2026-11-20T13:00:00Z", 1},
		{429, "rateLimited", "0", "rate limited (rateLimited): slow", 1},
		{429, "rateLimited", "-1", "rate limited (rateLimited): slow", 1},
		{429, "rateLimited", "-99999999999999999999999", "rate limited (rateLimited): slow", 1},
		{429, "rateLimited", "315360000", "rate limited (rateLimited): slow" + tomorrow, 1},
		{429, "rateLimited", "99999999999999999999999", "rate limited (rateLimited): slow" + tomorrow, 1},
		{429, "rateLimited", "soon", "rate limited (rateLimited): slow", 1},
		{429, "rateLimited", "Fri, 20 Nov 2026 12:30:00 GMT", "rate limited (rateLimited): slow, not before 2026-11-20T12:30:00Z", 1},
		{429, "rateLimited", "Fri, 20 Nov 2099 12:30:00 GMT", "rate limited (rateLimited): slow" + tomorrow, 1},
		{429, "rateLimited", "Fri, 20 Nov 1999 12:30:00 GMT", "rate limited (rateLimited): slow", 1},
		{429, "malformed", "60", "rate limited (malformed): slow, not before 2026-11-20T12:01:00Z", 1},
		{503, "rateLimited", "60", "rate limited (rateLimited): slow, not before 2026-11-20T12:01:00Z", 1},
		{503, "serverInternal", "", "failed for the moment (serverInternal): slow", 3},
		{503, "serverInternal", "-5", "failed for the moment (serverInternal): slow", 3},
		{503, "serverInternal", "315360000", "failed for the moment (serverInternal): slow" + tomorrow, 1},
		{500, "malformed", "", "refused by the CA (malformed): slow", 3},
	} {
		t.Run(fmt.Sprint(row.status, row.typ, row.header), func(t *testing.T) {
			t.Parallel()
			f, z := newFakeCA(t), newZone(t)
			c := register(t, f, func(c *Config) { c.Now = func() time.Time { return now } })
			f.Take = lab.At("/newOrder", func(w http.ResponseWriter, r *http.Request) { lab.Refuse(w, row.status, row.header, row.typ, "slow") })
			request := Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}
			_, err := c.Obtain(t.Context(), z, request)
			want := "obtain a: order a certificate: " + row.want
			if row.status == 500 {
				want = "obtain a: order a certificate: failed for the moment (malformed): slow"
			}
			if err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			if n := f.Asked("/newOrder"); n != row.asked {
				t.Errorf("asked %d times, want %d", n, row.asked)
			}
			// What it asked for is kept to.
			_, until, waits := strings.Cut(row.want, ", not before ")
			_, err = c.Obtain(t.Context(), z, request)
			if want := "obtain a: rate limited: the CA has not been asked again, not before " + until; waits && (err == nil || err.Error() != want) {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			if n := f.Asked("/newOrder"); waits && n != row.asked {
				t.Errorf("asked %d times in all", n)
			}
		})
	}
}

// A CA that the roots do not vouch for gets no request.
func TestUntrusted(t *testing.T) {
	f := newFakeCA(t)
	c := newClient(t, f, func(c *Config) { c.RootsFile = "" })
	_, err := c.Register(t.Context(), Registration{TermsAgreed: true})
	if want := "register the account: read the CA's directory: failed for the moment: tls: failed to verify certificate: x509: certificate signed by unknown authority"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if n := f.Asked("/dir"); n != 0 {
		t.Errorf("%d requests", n)
	}
}
