package acmeclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"zonebuild/internal/lab"
)

func TestAccount(t *testing.T) {
	for version, start := range pebbles() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			z := newZone(t)
			ca := start(t, z.addr)
			c := newClient(t, ca)
			ctx := t.Context()
			if _, err := c.Find(ctx); !errors.Is(err, ErrNoAccount) || err.Error() != "find the account: no such account" {
				t.Errorf("%v", err)
			}
			if _, err := c.Obtain(ctx, z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}); !errors.Is(err, ErrNoAccount) {
				t.Errorf("%v", err)
			}
			if _, err := c.Register(ctx, Registration{}); err == nil || err.Error() != "register the account: terms of service not agreed to: data:text/plain,Do%20what%20thou%20wilt" {
				t.Errorf("%v", err)
			}
			a, err := c.Register(ctx, Registration{TermsAgreed: true, Contact: []string{"mailto:a@example.org"}})
			if err != nil || !a.Created || a.Status != "valid" || !strings.HasPrefix(a.URL, "https://") {
				t.Fatalf("%+v %v", a, err)
			}
			again, err := c.Register(ctx, Registration{TermsAgreed: true})
			if err != nil || again.Created || again.URL != a.URL || !slices.Equal(again.Contact, []string{"mailto:a@example.org"}) {
				t.Errorf("%+v %v", again, err)
			}
			b, err := c.UpdateContact(ctx, []string{"mailto:b@example.org"})
			if err != nil || !slices.Equal(b.Contact, []string{"mailto:b@example.org"}) {
				t.Errorf("%+v %v", b, err)
			}

			old, next := c.key, p256(t)
			if err := c.RollOver(ctx, next); err != nil {
				t.Fatalf("%v\n%s", err, ca.Log())
			}
			if found, err := c.Find(ctx); err != nil || found.URL != a.URL {
				t.Errorf("%+v %v", found, err)
			}
			if _, err := c.Obtain(ctx, z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}); err != nil {
				t.Error(err)
			}
			stale := newClient(t, ca, func(c *Config) { c.Key = old })
			if _, err := stale.Find(ctx); !errors.Is(err, ErrNoAccount) {
				t.Errorf("the old key: %v", err)
			}
			// Killed after the CA had changed the key, before the caller knew.
			if err := stale.RollOver(ctx, next); err != nil {
				t.Error(err)
			}
			if found, err := stale.Find(ctx); err != nil || found.URL != a.URL {
				t.Errorf("%+v %v", found, err)
			}
			// A key that is another account's.
			taken := register(t, ca)
			if err := c.RollOver(ctx, taken.key); err == nil || c.key != next || version == "2.10" && !errors.Is(err, ErrRefused) {
				t.Errorf("%v", err)
			}

			if err := c.Deactivate(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Find(ctx); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%v", err)
			}
			if _, err := c.Register(ctx, Registration{TermsAgreed: true}); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestAccountKeys: Pebble is the oracle of our own signatures, with all algorithms.
func TestAccountKeys(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{})
	keys := map[string]crypto.Signer{}
	for _, curve := range []elliptic.Curve{elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[curve.Params().Name] = key
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys["RSA"] = key
	for name, key := range keys {
		c := register(t, ca, func(c *Config) { c.Key = key })
		if _, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Obtain(t.Context(), z, Request{Name: "b", Identifiers: []string{"example.org"}, Key: key}); err == nil ||
			err.Error() != "obtain b: the certificate request: the account's key must not be a certificate's (RFC 8555 §11.1)" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEAB(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	secret := []byte("a secret of the operator, 32 oct")
	ca := newPebble(t, z.addr, pebbleOptions{EAB: map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(secret)}})
	c := newClient(t, ca)
	if d, err := c.Directory(t.Context()); err != nil || !d.NeedsEAB || !d.RenewalInfo || !slices.Equal(d.CAA, []string{"ca.example"}) || d.Profiles["default"] != "of a test" {
		t.Errorf("%+v %v", d, err)
	}
	wrong := EAB{"kid-1", []byte("another secret of the operator..")}
	for _, row := range []struct {
		eab  *EAB
		want string
	}{
		{nil, "register the account: external account binding wanted"},
		{&wrong, "register the account: unauthorized (unauthorized): Bad "},
		{&EAB{"kid-2", secret}, "register the account: unauthorized (unauthorized): "},
	} {
		_, err := c.Register(t.Context(), Registration{TermsAgreed: true, EAB: row.eab})
		if err == nil || !strings.HasPrefix(err.Error(), row.want) && !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%v, want %s", err, row.want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), base64.RawURLEncoding.EncodeToString(secret)[:8])) {
			t.Errorf("the secret shows: %v", err)
		}
	}
	right := EAB{"kid-1", secret}
	if _, err := c.Register(t.Context(), Registration{TermsAgreed: true, EAB: &right}); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", right, right, right, &right); strings.Contains(got, "secret") || got != strings.TrimSpace(strings.Repeat(`external account "kid-1" `, 4)) {
		t.Error(got)
	}
}

func TestContact(t *testing.T) {
	c := newClient(t, newFakeCA(t))
	for _, contact := range []string{"a@example.org", "mailto:", "mailto:a", "mailto:a@b,c@d", "mailto:a@b?subject=x", "mailto:a@b\n", "tel:+1"} {
		_, err := c.Register(t.Context(), Registration{TermsAgreed: true, Contact: []string{contact}})
		if want := fmt.Sprintf("register the account: contact %q: mailto:NAME@DOMAIN is wanted", contact); err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	}
	if _, err := c.UpdateContact(t.Context(), nil); err == nil || err.Error() != "update the account: no contact" {
		t.Errorf("%v", err)
	}
}

// TestNonces: half of all nonces are rejected, as if others had used them.
func TestNonces(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{Nonces: 50})
	key := p256(t)
	got, err := register(t, ca).Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org", "*.example.org"}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	checkIssued(t, got, key, "example.org", "*.example.org")
	// And the rejections do end.
	f := newFakeCA(t)
	c := register(t, f)
	f.Take = lab.At("/order", func(w http.ResponseWriter, r *http.Request) { lab.Refuse(w, 400, "", "badNonce", "no") })
	_, err = c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: key})
	if err == nil || f.Asked("/order") != 3*20 { // tries of a step, each of so many nonces
		t.Errorf("%v after %d requests", err, f.Asked("/order"))
	}
}

// TestReuse: names that are proved need no challenge; Pebble's hints when to ask
// again are kept within bounds.
func TestReuse(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{Reuse: 100, RetryAfter: 3600})
	c := register(t, ca)
	for _, name := range []string{"a", "b"} {
		key := p256(t)
		got, err := c.Obtain(t.Context(), z, Request{Name: name, Identifiers: []string{"example.org"}, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		checkIssued(t, got, key, "example.org")
	}
	if len(z.calls) != 3 {
		t.Errorf("%q", z.calls)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	ca := newPebble(t, z.addr, pebbleOptions{})
	account := register(t, ca).key
	c := newClient(t, ca, func(c *Config) { c.Key = account })
	var all sync.WaitGroup
	for i := range 8 {
		key := p256(t)
		all.Go(func() {
			got, err := c.Obtain(t.Context(), z, Request{Name: fmt.Sprint("line", i), Identifiers: []string{"example.org", fmt.Sprint("h", i, ".example.org")}, Key: key})
			if err != nil {
				t.Error(err)
				return
			}
			checkIssued(t, got, key, "example.org", fmt.Sprint("h", i, ".example.org"))
		})
	}
	all.Wait()
	z.empty(t)
}

func TestRevoke(t *testing.T) {
	for version, start := range pebbles() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			z := newZone(t)
			ca := start(t, z.addr)
			c := register(t, ca)
			stranger := newClient(t, ca) // without an account
			for i, by := range []string{"account", "key"} {
				key := p256(t)
				got, err := c.Obtain(t.Context(), z, Request{Name: by, Identifiers: []string{"example.org"}, Key: key})
				if err != nil {
					t.Fatal(err)
				}
				leaf := got.Chain[0]
				if err := stranger.Revoke(t.Context(), leaf, Superseded, nil); !errors.Is(err, ErrNoAccount) {
					t.Errorf("%v", err)
				}
				if err := stranger.Revoke(t.Context(), leaf, Superseded, p256(t)); err == nil || err.Error() != "revoke the certificate: the key is not the certificate's" {
					t.Errorf("%v", err)
				}
				who, reason, with := c, Superseded, crypto.Signer(nil)
				if i == 1 {
					who, reason, with = stranger, KeyCompromise, key
				}
				for range 2 { // the second time it is revoked already
					if err := who.Revoke(t.Context(), leaf, reason, with); err != nil {
						t.Errorf("%s: %v", by, err)
					}
				}
				if p, ok := ca.(*lab.CA); ok && version == "2.10" {
					_, text := p.Manage("GET", fmt.Sprintf("/cert-status-by-serial/%x", leaf.SerialNumber), "")
					var said struct {
						Status string
						Reason Reason
					}
					if err := json.Unmarshal([]byte(text), &said); err != nil || said.Status != "Revoked" || said.Reason != reason {
						t.Errorf("%s: %v %s", by, err, text)
					}
				}
			}
		})
	}
	for _, name := range []string{"unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation"} {
		if _, err := ParseReason(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseReason("cACompromise"); err == nil || err.Error() != `reason "cACompromise": unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation is wanted` {
		t.Errorf("%v", err)
	}
}
