package acmeclient

import (
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

// What is accepted as a chain is, written anew, the same chain and nothing else.
func FuzzParseChain(f *testing.F) {
	ca := newFakeCA(f)
	one := lab.Block("CERTIFICATE", ca.Issuer.Raw)
	for _, seed := range []string{"", one, one + one, "\n" + one + "\r\n" + one, "x" + one, one + "x", strings.ReplaceAll(one, "\n", "\r\n"), one[:99], strings.Repeat(one, 11), lab.Block("EC PRIVATE KEY", nil), "-----BEGIN CERTIFICATE-----\nA: b\n\nAAAA\n-----END CERTIFICATE-----\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		chain, err := parseChain([]byte(text))
		if err != nil {
			return
		}
		if len(chain) == 0 || len(chain) > maxChain || strings.Contains(text, "PRIVATE") {
			t.Fatalf("%d certificates of %q", len(chain), text)
		}
		again := ""
		for _, c := range chain {
			again += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if squeeze(again) != squeeze(text) {
			t.Errorf("%q is %q", text, again)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, seed := range []string{"", "0", "1", "-1", "99999999999999999999", "-99999999999999999999", "Fri, 20 Nov 2026 12:30:00 GMT", "9223372036854775807", "1e9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if d := retryAfter(v, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %s", v, d)
		}
	})
}

// A window that is accepted lies before the end of the certificate, and its instant in it.
func FuzzWindow(f *testing.F) {
	leaf := lifetime(90)
	for _, seed := range []string{`{"suggestedWindow":{"start":"2026-02-01T00:00:00Z","end":"2026-02-02T00:00:00Z"}}`, `{"suggestedWindow":{"start":"0001-01-02T00:00:00Z","end":"9999-12-31T23:59:59Z"}}`, `{`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w, err := parseWindow(body, leaf)
		if err != nil {
			return
		}
		at := w.pick(body, "id")
		if !w.start.Before(w.end) || !w.end.Before(leaf.NotAfter) || at.Before(w.start.Truncate(time.Second)) || !at.Before(w.end) {
			t.Errorf("%s: %s in %s..%s", body, at, w.start, w.end)
		}
	})
}
