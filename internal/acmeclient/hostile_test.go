package acmeclient

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHostileCA: what a CA can do wrong, and what is said of it. In want, HOST is that
// of the CA.
func TestHostileCA(t *testing.T) {
	const malformed = "malformed by the CA: "
	ordered := func(path string, change func(body map[string]any)) func(*fakeCA) {
		return func(f *fakeCA) {
			f.change = func(_ *fakeCA, p string, body map[string]any) {
				if p == path {
					change(body)
				}
			}
		}
	}
	answered := func(path string, answer func(http.ResponseWriter, *http.Request)) func(*fakeCA) {
		return func(f *fakeCA) { f.take = at(path, answer) }
	}
	leaf := func(change func(*x509.Certificate)) func(*fakeCA) { return func(f *fakeCA) { f.leaf = change } }
	chain := func(change func(string) string) func(*fakeCA) { return func(f *fakeCA) { f.chain = change } }
	token := func(token string) func(*fakeCA) {
		return ordered("/authz/0", func(b map[string]any) { b["challenges"].([]any)[1].(map[string]any)["token"] = token })
	}
	large := func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"x":"`+strings.Repeat("x", 10<<20)+`"}`)
	}
	stall := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil {
			io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			<-time.After(time.Millisecond)
		}
	}
	to := func(u string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, u, http.StatusFound) }
	}
	const fetch, refused = "fetch the certificate: " + malformed, "the certificate is not what was ordered: "
	for _, row := range []struct {
		name string
		set  func(*fakeCA)
		want string
		is   error
	}{
		// The order.
		{"no Location of the order", func(f *fakeCA) {
			f.take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/newOrder" {
					w.WriteHeader(201)
					io.WriteString(w, `{"status":"pending","identifiers":[{"type":"dns","value":"example.org"}]}`)
				}
				return r.URL.Path == "/newOrder"
			}
		}, "order a certificate: " + malformed + "no Location of the order", ErrMalformedByCA},
		{"order for another name", ordered("/newOrder", func(b map[string]any) {
			b["identifiers"] = []any{map[string]any{"type": "dns", "value": "example.net"}}
		}), "order a certificate: " + malformed + "the order is not what was asked for: it is for example.net too", ErrMalformedByCA},
		{"order for nothing", ordered("/order", func(b map[string]any) { b["identifiers"] = nil }),
			"look at the order: " + malformed + "the order is not what was asked for: it is not for example.org", ErrMalformedByCA},
		{"order for an address", ordered("/newOrder", func(b map[string]any) {
			b["identifiers"] = []any{map[string]any{"type": "ip\x1b[2J", "value": "example.org"}}
		}), "order a certificate: " + malformed + `an order for a "ip\\x1b[2J"`, ErrMalformedByCA},
		{"status of another world", ordered("/order", func(b map[string]any) { b["status"] = "maybe\n" }),
			"look at the order: " + malformed + `it is "maybe\\n"`, ErrMalformedByCA},
		{"order is invalid", ordered("/order", func(b map[string]any) {
			b["status"], b["error"] = "invalid", map[string]any{"type": acmeErrors + "caa", "detail": "CAA for\r\nexample.org"}
		}), `look at the order: forbidden by CAA (caa): CAA for\r\nexample.org`, ErrCAA},
		{"finalize elsewhere", ordered("/order", func(b map[string]any) { b["finalize"] = "https://other.example/f" }),
			"finalize the order: finalize URL: " + malformed + "it sends us to another host, other.example", ErrMalformedByCA},
		{"finalize nowhere", ordered("/order", func(b map[string]any) { delete(b, "finalize") }),
			"finalize the order: " + malformed + "no finalize URL", ErrMalformedByCA},
		{"certificate over http", ordered("/order", func(b map[string]any) {
			if b["status"] == "valid" {
				b["certificate"] = "http://HOST/cert"
			}
		}), "look at the order: certificate URL: " + malformed + `it sends us to "http", not to https`, ErrMalformedByCA},
		{"no certificate", ordered("/order", func(b map[string]any) { delete(b, "certificate") }),
			"look at the order: " + malformed + "no certificate URL", ErrMalformedByCA},
		{"never issued", ordered("/order", func(b map[string]any) {
			if b["status"] == "valid" {
				b["status"] = "processing"
			}
		}), `look at the order: failed for the moment: it is still "processing" after 100ms`, ErrTemporary},
		{"ready for ever", ordered("/order", func(b map[string]any) {
			if b["status"] == "valid" {
				b["status"] = "ready"
			}
		}), `look at the order: failed for the moment: it is still "ready" after 100ms`, ErrTemporary},
		{"never validated", ordered("/authz/0", func(b map[string]any) { b["status"] = "pending" }),
			`failed for the moment: the authorization of example.org is still "pending" after 100ms`, ErrTemporary},
		{"pending for ever", ordered("/order", func(b map[string]any) { b["status"] = "pending" }),
			`look at the order: failed for the moment: it is still "pending" after 100ms`, ErrTemporary},
		{"another profile", ordered("/newOrder", func(b map[string]any) { b["profile"] = "tls\x1bclient" }),
			"order a certificate: " + malformed + `the order is not what was asked for: its profile is "tls\\x1bclient"`, ErrMalformedByCA},
		// Authorizations.
		{"authorization elsewhere", ordered("/order", func(b map[string]any) { b["authorizations"] = []any{"https://[::1]/"} }),
			"read an authorization: authorization URL: " + malformed + "it sends us to another host, [::1]", ErrMalformedByCA},
		{"1000 authorizations", ordered("/order", func(b map[string]any) { b["authorizations"] = make([]any, 1000) }),
			"look at the order: " + malformed + "1000 authorizations for 1 names", ErrMalformedByCA},
		{"no authorization", ordered("/order", func(b map[string]any) { b["authorizations"] = nil }),
			"look at the order: " + malformed + "0 authorizations for 1 names", ErrMalformedByCA},
		{"authorization for another name", ordered("/authz/0", func(b map[string]any) { b["identifier"] = map[string]any{"type": "dns", "value": "evil.example\x00"} }),
			"read an authorization: " + malformed + `an authorization for evil.example\x00, which was not asked for`, ErrMalformedByCA},
		{"no dns-01", ordered("/authz/0", func(b map[string]any) { b["challenges"] = b["challenges"].([]any)[:1] }),
			"read an authorization: " + malformed + "no dns-01 challenge for example.org", ErrMalformedByCA},
		{"token that is a path", token("../../../../etc/passwd"),
			"read an authorization: " + malformed + `the token for example.org is none: "../../../../etc/passwd"`, ErrMalformedByCA},
		{"token with control characters", token("a\x1b]0;x\x07"),
			"read an authorization: " + malformed + `the token for example.org is none: "a\\x1b]0;x\\a"`, ErrMalformedByCA},
		{"no token", token(""), "read an authorization: " + malformed + `the token for example.org is none: ""`, ErrMalformedByCA},
		{"long token", token(strings.Repeat("a", 256)), "read an authorization: " + malformed + `the token for example.org is none: "` + strings.Repeat("a", 256) + `"`, ErrMalformedByCA},
		{"challenge elsewhere", ordered("/authz/0", func(b map[string]any) {
			b["challenges"].([]any)[1].(map[string]any)["url"] = "http://169.254.169.254/latest"
		}), "answer the challenge of example.org: " + malformed + `it sends us to "http", not to https`, ErrMalformedByCA},
		{"challenge is refused", answered("/challenge/0", func(w http.ResponseWriter, r *http.Request) { refuse(w, 400, "", "malformed", "no") }),
			"answer the challenge of example.org: refused by the CA (malformed): no", ErrRefused},
		{"validation fails", func(f *fakeCA) {
			f.change = func(f *fakeCA, path string, b map[string]any) {
				if path == "/authz/0" && f.proved {
					b["status"] = "invalid"
					b["challenges"] = []any{map[string]any{"type": "dns-01", "status": "invalid", "error": map[string]any{"type": acmeErrors + "dns", "detail": "NXDOMAIN \x1b[31m"}}}
				}
			}
		}, `example.org: validation failed (dns): NXDOMAIN \x1b[31m`, ErrValidation},
		// The certificate.
		{"foreign key", func(f *fakeCA) { f.public = func() crypto.PublicKey { return f.key.Public() } }, fetch + refused + "it is for another key", ErrMalformedByCA},
		{"extra name", leaf(func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "evil.example") }), fetch + refused + "it is for evil.example too", ErrMalformedByCA},
		{"missing name", leaf(func(c *x509.Certificate) { c.DNSNames = nil }), fetch + refused + "it is not for example.org", ErrMalformedByCA},
		{"an address", leaf(func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, []byte{192, 0, 2, 1}) }), fetch + refused + "it is for more than DNS names", ErrMalformedByCA},
		{"another common name", leaf(func(c *x509.Certificate) { c.Subject.CommonName = "evil.example" }), fetch + refused + "its common name is evil.example", ErrMalformedByCA},
		{"unknown critical extension", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), fetch + refused + "it has a critical extension that nobody knows", ErrMalformedByCA},
		{"another issuer's name", func(f *fakeCA) {
			f.chain = func(s string) string {
				renamed := *f.issuer
				renamed.Subject, renamed.RawSubject = pkix.Name{CommonName: "another"}, nil
				head, _, _ := strings.Cut(s, "-----END CERTIFICATE-----\n")
				return head + "-----END CERTIFICATE-----\n" + block("CERTIFICATE", sign(f.t, &renamed, &renamed, f.key.Public(), f.key).Raw)
			}
		}, fetch + "certificate 2 of the chain did not sign the one before it", ErrMalformedByCA},
		{"a CA", leaf(func(c *x509.Certificate) { c.IsCA = true }), fetch + refused + "it is a CA's", ErrMalformedByCA},
		{"for clients", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), fetch + refused + "it is not for servers", ErrMalformedByCA},
		{"expired", leaf(func(c *x509.Certificate) { c.NotAfter = day(1) }), fetch + refused + "it expired at 2001-01-01T00:00:00Z", ErrMalformedByCA},
		{"of the future", leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(90), day(91) }), fetch + refused + "it is not valid before 2090-01-01T00:00:00Z", ErrMalformedByCA},
		{"an old one", leaf(func(c *x509.Certificate) { c.NotBefore = day(10) }), fetch + refused + "it is an old one, of 2010-01-01T00:00:00Z", ErrMalformedByCA},
		{"for ever", leaf(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(5000 * 24 * time.Hour) }), fetch + refused + "it is valid for 5000 days", ErrMalformedByCA},
		{"junk before the chain", chain(func(s string) string { return "hello\n" + s }), fetch + "the chain holds something else than PEM blocks", ErrMalformedByCA},
		{"junk in the chain", chain(func(s string) string { return strings.Replace(s, "-----\n-----", "-----\n<b>\n-----", 1) }), fetch + "the chain holds something else than PEM blocks", ErrMalformedByCA},
		{"a private key in the chain", chain(func(s string) string { return s + block("EC PRIVATE KEY", []byte("0")) }), fetch + `the chain holds a PEM block "EC PRIVATE KEY"`, ErrMalformedByCA},
		{"a broken block", chain(func(s string) string { return strings.Replace(s, "-----END", "-----AND", 1) }), fetch + "the chain holds a broken PEM block", ErrMalformedByCA},
		{"no certificate in a block", chain(func(s string) string { return block("CERTIFICATE", []byte("0")) + s }), fetch + "certificate 1: malformed certificate", ErrMalformedByCA},
		{"100 certificates", func(f *fakeCA) {
			f.chain = func(s string) string { return s + strings.Repeat(block("CERTIFICATE", f.issuer.Raw), 98) }
		}, fetch + "a chain of more than 10 certificates", ErrMalformedByCA},
		{"a long chain", chain(func(s string) string { return s + strings.Repeat("\n", maxPEM) }), fetch + "a chain of more than 262144 octets", ErrMalformedByCA},
		{"a chain of another", func(f *fakeCA) {
			f.chain = func(s string) string {
				head, _, _ := strings.Cut(s, "-----END CERTIFICATE-----\n")
				return head + "-----END CERTIFICATE-----\n" + block("CERTIFICATE", f.server.Certificate().Raw)
			}
		}, fetch + "certificate 2 of the chain did not sign the one before it", ErrMalformedByCA},
		{"empty chain", chain(func(string) string { return "\n" }), fetch + "a chain without a certificate", ErrMalformedByCA},
		// Exchanges.
		{"10 MB directory", answered("/dir", large), "find the account: read the CA's directory: " + malformed + "an answer of more than 1048576 octets", ErrMalformedByCA},
		{"10 MB order", answered("/order", large), "look at the order: " + malformed + "an answer of more than 1048576 octets", ErrMalformedByCA},
		{"10 MB problem", answered("/order", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400); large(w, r) }), "look at the order: " + malformed + "an answer of more than 1048576 octets", ErrMalformedByCA},
		{"10 MB chain", chain(func(s string) string { return strings.Repeat(s, 10<<20/len(s)) }), "fetch the certificate: " + malformed + "an answer of more than 1048576 octets", ErrMalformedByCA},
		{"10 MB header", answered("/order", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 10<<20)) }),
			"look at the order: failed for the moment: net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 65536 bytes; aborted", ErrTemporary},
		{"no answer", answered("/order", stall), "look at the order: failed for the moment: no whole answer in time", ErrTemporary},
		{"slow answer", answered("/order", drip), "look at the order: failed for the moment: no whole answer in time", ErrTemporary},
		{"slow directory", answered("/dir", drip), "find the account: read the CA's directory: failed for the moment: no whole answer in time", ErrTemporary},
		{"broken connection", answered("/order", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "look at the order: failed for the moment: EOF", ErrTemporary},
		{"redirect to http", answered("/dir", to("http://HOST/dir")), "find the account: read the CA's directory: " + malformed + "redirect to http://HOST", ErrMalformedByCA},
		{"redirect to another host", answered("/dir", to("https://evil.example/dir")), "find the account: read the CA's directory: " + malformed + "redirect to https://evil.example", ErrMalformedByCA},
		{"redirect for ever", answered("/dir", to("/dir")), "find the account: read the CA's directory: " + malformed + "more than 3 redirects", ErrMalformedByCA},
		{"redirect of a signed request", answered("/order", to("/dir")), "look at the order: " + malformed + "a signed request was redirected", ErrMalformedByCA},
		{"directory over http", ordered("/dir", func(b map[string]any) { b["newOrder"] = "http://HOST/newOrder" }), "find the account: read the CA's directory: newOrder: " + malformed + `it sends us to "http", not to https`, ErrMalformedByCA},
		{"directory without newNonce", ordered("/dir", func(b map[string]any) { delete(b, "newNonce") }), "find the account: read the CA's directory: " + malformed + "no newNonce", ErrMalformedByCA},
		{"directory with a password", ordered("/dir", func(b map[string]any) { b["newOrder"] = "https://a:b@HOST/" }), "find the account: read the CA's directory: newOrder: " + malformed + "a URL with a password", ErrMalformedByCA},
		{"no nonce", func(f *fakeCA) {
			f.take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				w.Header().Del("Replay-Nonce")
				return false
			}
		}, "find the account: " + malformed + "nonce not found", ErrMalformedByCA},
		{"nonces are never right", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) { refuse(w, 400, "", "badNonce", "again") }),
			"order a certificate: failed for the moment (badNonce): again", ErrTemporary},
		{"directory is no JSON", answered("/dir", sent("<html>")), "find the account: read the CA's directory: " + malformed + "invalid character '<' looking for beginning of value", ErrMalformedByCA},
		{"account is no JSON", answered("/newAccount", sent("\x1b")), "find the account: " + malformed + `invalid account response: invalid character '\x1b' looking for beginning of value`, ErrMalformedByCA},
		{"order is no JSON", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://"+r.Host+"/order")
			io.WriteString(w, "[")
		}), "order a certificate: " + malformed + "unexpected end of JSON input", ErrMalformedByCA},
		{"order is no object", answered("/order", sent("[]")), "look at the order: " + malformed + "error reading order: json: cannot unmarshal array into Go value of type struct { Status string; Expires time.Time; Identifiers []acme.wireAuthzID; NotBefore time.Time; NotAfter time.Time; Error *acme.wireError; Authorizations []string; Finalize string; Certificate string; Profile string }", ErrMalformedByCA},
		{"authorization is nothing", answered("/authz/0", sent("")), "read an authorization: " + malformed + "invalid response: EOF", ErrMalformedByCA},
		{"account nowhere", answered("/newAccount", sent(`{"status":"valid"}`)), "find the account: " + malformed + "no account URL", ErrMalformedByCA},
		{"account is deactivated", ordered("/newAccount", func(b map[string]any) { b["status"] = "deactivated" }), `find the account: unauthorized: the account is "deactivated"`, ErrUnauthorized},
		// Refusals.
		{"problem with control characters", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 403, "", "rejectedIdentifier", "no\x1b[1m\nyes", map[string]any{"type": acmeErrors + "caa", "detail": "\u202eCAA", "identifier": map[string]any{"type": "dns", "value": "example.org\n"}})
		}), `order a certificate: identifier rejected (rejectedIdentifier): no\x1b[1m\nyes; example.org\n: forbidden by CAA (caa): \u202eCAA`, ErrRejectedIdentifier},
		{"compound problem", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 403, "", "compound", "several", map[string]any{"type": acmeErrors + "caa", "detail": "CAA", "identifier": map[string]any{"type": "dns", "value": "example.org"}})
		}), `order a certificate: forbidden by CAA (compound): several; example.org: forbidden by CAA (caa): CAA`, ErrCAA},
		{"problem that is a page", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<h1>\n"+strings.Repeat("x", 9999), http.StatusTeapot)
		}),
			`order a certificate: refused by the CA (status 418): <h1>\n` + strings.Repeat("x", 495) + "...", ErrRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f, z := newFakeCA(t), newZone(t)
			row.set(f)
			host := strings.TrimPrefix(f.server.URL, "https://")
			real := f.take
			f.take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				return real != nil && real(f, &rehosted{w, host}, r)
			}
			change := f.change
			f.change = func(f *fakeCA, path string, b map[string]any) {
				if change != nil {
					change(f, path, b)
				}
				for k, v := range b {
					if s, ok := v.(string); ok {
						b[k] = strings.ReplaceAll(s, "HOST", host)
					}
				}
			}
			c := newClient(t, f, func(c *Config) {
				c.Limits.Issue, c.Limits.Lifetime = 100*time.Millisecond, 400*24*time.Hour
				if strings.HasPrefix(row.name, "slow") || row.name == "no answer" {
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
			want := "obtain a: " + strings.ReplaceAll(row.want, "HOST", host)
			if err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			if row.is != nil && err != nil && !isClass(err, row.is) {
				t.Errorf("it is not of the class %v", row.is)
			}
			z.empty(t)
			if strings.Contains(row.name, "token") && len(z.calls) > 0 {
				t.Errorf("it went as far as %q", z.calls)
			}
		})
	}
}

func isClass(err, class error) bool {
	for _, c := range []error{ErrRateLimited, ErrUnauthorized, ErrCAA, ErrValidation, ErrRejectedIdentifier, ErrTemporary, ErrMalformedByCA, ErrRefused} {
		if errors.Is(err, c) != (c == class) {
			return false
		}
	}
	return true
}

// rehosted writes Location headers with the host of this CA.
type rehosted struct {
	http.ResponseWriter
	host string
}

func (w *rehosted) WriteHeader(status int) {
	if l := w.Header().Get("Location"); l != "" {
		w.Header().Set("Location", strings.ReplaceAll(l, "HOST", w.host))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *rehosted) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func day(year int) time.Time { return time.Date(2000+year, 1, 1, 0, 0, 0, 0, time.UTC) }

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
			f.take = at("/newOrder", func(w http.ResponseWriter, r *http.Request) { refuse(w, row.status, row.header, row.typ, "slow") })
			request := Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}
			_, err := c.Obtain(t.Context(), z, request)
			want := "obtain a: order a certificate: " + row.want
			if row.status == 500 {
				want = "obtain a: order a certificate: failed for the moment (malformed): slow"
			}
			if err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			if n := f.asked("/newOrder"); n != row.asked {
				t.Errorf("asked %d times, want %d", n, row.asked)
			}
			// What it asked for is kept to.
			_, until, waits := strings.Cut(row.want, ", not before ")
			_, err = c.Obtain(t.Context(), z, request)
			if want := "obtain a: rate limited: the CA has not been asked again, not before " + until; waits && (err == nil || err.Error() != want) {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
			if n := f.asked("/newOrder"); waits && n != row.asked {
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
	if n := f.asked("/dir"); n != 0 {
		t.Errorf("%d requests", n)
	}
}
